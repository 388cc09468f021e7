"""One call in its thread: what runs there, where that is, and how it is told to end."""

import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
from anyio.lowlevel import EventLoopToken, current_token

from chancy_core.executor import JOB_THREAD
from chancy_core.showing import stack_of, stack_within


class Work:
    """A function, by its name, and its arguments, on their way through a thread."""

    def __init__(
        self, name: str, func: Callable[..., Any], arguments: Mapping[str, Any], backend: str
    ) -> None:
        self._name = name
        self._func = func
        self._arguments = arguments
        self._backend = backend
        #: Whether the function was called, and whether it has come to its end.
        self.begun = self.ended = False
        #: Whether nobody waits for it any more.
        self.over = False
        #: The number that the system gives to its thread; 0 before it has begun.
        self.thread = 0
        self._thread = 0
        self._coro: Any = None
        self._cancel: Callable[[], object] | None = None

    def run(self) -> Any:
        """Call the function in this thread; a coroutine function gets an event loop of its own."""
        thread = threading.current_thread()
        self._thread, self.thread = thread.ident or 0, thread.native_id or 0
        name, thread.name = thread.name, JOB_THREAD + self._name
        try:
            if inspect.iscoroutinefunction(self._func):
                return anyio.run(self._await, backend=self._backend)
            return self._func(**self._arguments)
        finally:
            thread.name = name

    async def _await(self) -> Any:
        with anyio.CancelScope() as scope:
            self._cancel = partial(_soon, current_token(), scope.cancel)
            if self.over:  # it was told before it could be
                scope.cancel()
            self._coro = self._func(**self._arguments)
            return await self._coro
        return None

    def end(self) -> None:
        """Tell it, from another thread, that it is over: a coroutine is cancelled. Never waits."""
        self.over = True
        if self._cancel is not None:
            self._cancel()

    def where(self) -> str:
        """Return the stack of the function at this moment; nothing once it has ended."""
        if getattr(self._coro, "cr_running", True):  # or it is no coroutine
            frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - there is no other way
            stack = stack_within(frame, _OURS)
        else:
            stack = stack_of(self._coro)
        return "" if self.ended else stack  # by now the thread may be another's


#: What calls the function: of a stack, only what is called from there tells anything.
_OURS = (Work.run.__code__, Work._await.__code__)  # noqa: SLF001 - they are of this module


def _soon(loop: EventLoopToken, call: Callable[[], object]) -> None:
    """Have the event loop of another thread make a call soon. Nothing happens if it has ended.

    What anyio has for this waits for the answer, and that loop may be blocked.
    """
    native: Any = loop.native_token
    soon = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
    with suppress(RuntimeError):
        soon(call)
