"""An event loop beside a plain test, whose own thread calls the plain functions among its jobs."""

import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from anyio import from_thread, to_thread
from anyio.lowlevel import checkpoint_if_cancelled, current_token

T = TypeVar("T")

_Calls = SimpleQueue[Callable[[], object] | None]
#: Where the thread that waits for this work on the loop takes what it is to call.
_calls: contextvars.ContextVar[_Calls | None] = contextvars.ContextVar("_calls", default=None)


async def call(func: Callable[[], T]) -> T:
    """Call a plain function, away from the event loop.

    In the thread of the plain test if the loop runs for one, so that what belongs to that thread
    (a connection in a transaction, say) is there; else in a thread of its own, which cancellation
    leaves behind, as the executor for threads does.
    """
    calls = _calls.get()
    if calls is None:
        return await to_thread.run_sync(func, abandon_on_cancel=True)
    answer: Future[T] = Future()
    done, token = anyio.Event(), current_token()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            answer.set_result(context.run(func))
        except BaseException as exc:  # noqa: BLE001 - it is raised where it is awaited
            answer.set_exception(exc)
        from_thread.run_sync(done.set, token=token)

    calls.put(run)
    with anyio.CancelScope(shield=True):
        await done.wait()
    await checkpoint_if_cancelled()  # it took too long, which nobody could tell it
    return answer.result()


def apart(func: Callable[[], T]) -> T:
    """Call a function that blocks in a thread of its own, and wait for it.

    For fixtures, which are set up on the loop's own thread where that is a guest (trio's is).
    """
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(func).result()


class LoopThread:
    """An event loop in a thread of its own, for code without one.

        with LoopThread("asyncio") as loop:
            loop.run(coroutine_function, argument)

    Any thread may run something on it, and calls the plain functions of that itself.
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._portal = self._stack.enter_context(from_thread.start_blocking_portal(self._backend))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def enter(self, manager: Any) -> AbstractContextManager[Any]:
        """Return an asynchronous context manager as a plain one, entered and left on the loop."""
        return self._portal.wrap_async_context_manager(manager)

    def run(self, func: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine function to its end; its plain functions are called in this thread."""
        calls: _Calls = SimpleQueue()

        async def serve() -> T:
            _calls.set(calls)
            return await func(*args)

        work = self._portal.start_task_soon(serve)
        work.add_done_callback(lambda _: calls.put(None))
        try:
            while (wanted := calls.get()) is not None:
                wanted()
        except BaseException:  # Ctrl-C, in this thread
            work.cancel()
            raise
        return work.result()
