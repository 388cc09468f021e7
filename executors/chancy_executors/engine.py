"""What becomes of calls that are sent to Dask: begun, found again, cut off, answered."""

import logging
import math
from collections.abc import Callable
from typing import Any

import anyio
from anyio import CapacityLimiter

from chancy_core.errors import ChildDied, ExecutionError, UnknownFunction, Unprepared
from chancy_executors.connection import GONE, PAUSE, Connection, Task
from chancy_executors.crossing import Crossing

log = logging.getLogger("chancy.dask")

#: Seconds that closing may take.
CLOSING = 20.0
#: Seconds between two looks at a task that was found, which may be gone as it is.
LOOK = 5.0
#: How many times at once results are fetched; each time all that have come meanwhile.
FETCHES = 2


class Engine:
    """Sees tasks to their ends, on an event loop of asyncio in a thread of its own.

    `take`, `resize` and `stop` may be called from other threads; all else happens on that loop.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox: Crossing[Task | None] | None = None
        self._leaving = False
        #: What has ended, and whose results have not been fetched.
        self._finished: list[Task] = []

    def take(self, task: Task) -> None:
        """See to a task: to its end, or, if it was dropped, that it is released."""
        self._wake(task)

    def resize(self, concurrency: int) -> None:
        """Have room for as many calls at once, where that is ours to have."""
        self._connection.size = concurrency
        self._wake(None)

    def stop(self) -> None:
        """Leave, wherever it has come to."""
        self._leaving = True
        self._wake(None)

    def _wake(self, thing: Task | None) -> None:
        if self._inbox is not None:
            self._inbox.send(thing)

    async def run(
        self, tell: Callable[[Callable[[], None]], None], opened: Callable[[], None]
    ) -> None:
        """Serve until told to stop. What the worker's loop is to know is called there by *tell*."""
        self._tell = tell
        self._fetching = CapacityLimiter(FETCHES)
        try:
            with anyio.CancelScope() as self._scope:
                self._inbox = Crossing(self._receive)
                self._look()
                await self._connection.open()
                self._connection.grow()
                async with anyio.create_task_group() as self._tasks:
                    tell(opened)
                    await anyio.sleep_forever()
        finally:
            with anyio.move_on_after(CLOSING, shield=True) as late:
                await self._connection.close()
            if late.cancelled_caught:
                log.error("a Dask cluster or the way to it did not close within %g s", CLOSING)

    def _receive(self, things: list[Task | None]) -> None:
        fresh = []
        for task in things:
            if task is None:
                self._look()
            elif task.dropped:
                self._connection.let_go([task])
            elif task.earlier:
                self._tasks.start_soon(self._attach, task)
            else:
                fresh.append(task)
        if fresh:
            self._tasks.start_soon(self._start, fresh)

    def _look(self) -> None:
        if self._leaving:
            self._scope.cancel()
        else:
            self._connection.grow()

    # -- how a task begins -------------------------------------------------------------------------

    async def _start(self, tasks: list[Task]) -> None:
        try:
            client = await self._connection.client()
            tasks = [task for task in tasks if not task.dropped]
            if tasks:
                self._connection.submit(client, tasks)
        except Exception as exc:  # noqa: BLE001 - the outcome of all of them
            for task in tasks:
                await self._fail(task, exc)
            return
        for task in tasks:
            self._tasks.start_soon(self._follow, task)

    async def _attach(self, task: Task) -> None:
        """Wait for the task of an earlier claim, if there is one left; else begin this one."""
        try:
            states = await self._connection.states(task.earlier)
            client = await self._connection.client()
        except Exception as exc:  # noqa: BLE001 - its outcome
            await self._fail(task, exc)
            return
        left = [key for key in task.earlier if states.get(key) not in GONE]
        if task.dropped:
            return
        if not left:
            await self._start([task])
            return
        log.info("task %s is still there (%s): it is waited for", left[0], states[left[0]])
        task.key = left[0]
        self._connection.adopt(client, task)
        await self._follow(task)

    # -- how it goes on ----------------------------------------------------------------------------

    async def _follow(self, task: Task) -> None:
        """See a task to its end over there."""
        try:
            failure = await self._over(task)
            while not task.dropped and task.future.status not in {"finished", "error"}:
                await self._again(task)
                failure = await self._over(task)
        except Exception as exc:  # noqa: BLE001 - its outcome
            await self._fail(task, exc)
            return
        if task.dropped:
            return
        if task.future.status == "error":
            await self._fail(task, _error(failure))
        else:
            self._finished.append(task)
            await self._fetch()

    async def _over(self, task: Task) -> BaseException | None:
        """Wait until a task has ended, or was cut off; return what Dask raised, if it did."""
        while True:
            with anyio.move_on_after(LOOK if task.found else math.inf):
                failure: BaseException | None = await task.future.exception()
                return failure
            states = await self._connection.states([task.key])
            if not task.dropped and states.get(task.key) in GONE:
                raise _gone(task)

    async def _again(self, task: Task) -> None:
        """Find a task that was cut off from us, or cancelled over there. Raises if it is gone."""
        try:
            states = await self._connection.states([task.key])
            client = await self._connection.client()
        except Unprepared:
            self._connection.held.discard(task)  # it may run on, to be found by the next claim
            raise
        if task.dropped:
            return
        if states.get(task.key) in GONE:
            raise _gone(task)
        self._connection.adopt(client, task)

    # -- how it ends -------------------------------------------------------------------------------

    async def _fetch(self) -> None:
        """Fetch the results of all that has finished by now, together."""
        async with self._fetching:
            tasks, self._finished = self._finished, []
            if not tasks:
                return  # another was faster
            try:
                found = await self._connection.gather([task.key for task in tasks])
            except OSError as exc:
                log.debug("the results of %d tasks could not be fetched: %s", len(tasks), exc)
                found = {}
        done = []
        for task in tasks:
            if task.key not in found:
                self._tasks.start_soon(self._follow_later, task)
            elif isinstance(value := found[task.key], bytes):
                task.answer = value
                done.append(task)
            else:
                self._tasks.start_soon(self._fail, task, _refusal(value))
        await self._answer(done)

    async def _follow_later(self, task: Task) -> None:
        """Go on with a task whose result was lost before we had it: Dask is about to say so."""
        await anyio.sleep(PAUSE)
        await self._follow(task)

    async def _answer(self, tasks: list[Task]) -> None:
        """Let go of tasks that have their answers."""
        self._connection.let_go(tasks)
        for task in tasks:
            if task.answer.startswith(b"ok\n"):
                self._tell(task.ended.set)
            else:  # it may be tried again, and must not find this
                self._tasks.start_soon(self._end_surely, task)

    async def _fail(self, task: Task, exc: Exception) -> None:
        if not isinstance(exc, ExecutionError):
            log.debug("task %s failed", task.key, exc_info=exc)
            exc = Unprepared(f"Dask could not be given the job: {type(exc).__name__}: {exc}")
        if task.once and task.future is not None and isinstance(exc, Unprepared):
            exc = ChildDied(f"{exc}; it may have begun, and must not begin again")
        task.error = exc
        if task in self._connection.held:
            self._connection.let_go([task])
            await self._end_surely(task)
        else:
            self._tell(task.ended.set)

    async def _end_surely(self, task: Task) -> None:
        await self._connection.forgotten(task.key)
        self._tell(task.ended.set)


def _refusal(value: Any) -> ExecutionError:
    """Return what is meant by what is no answer."""
    if isinstance(value, str):
        return UnknownFunction(f"a Dask worker could not load the jobs: {value}")
    return ChildDied("the Dask worker that ran it ended before its answer was here")


def _gone(task: Task) -> ExecutionError:
    return Unprepared(
        f"its task {task.key} is gone: the Dask scheduler was started anew, or somebody has "
        "cancelled it there"
    )


def _error(failure: BaseException | None) -> ExecutionError:
    """Return what is meant by an error that is Dask's own: calls raise none."""
    if type(failure).__name__ == "KilledWorker":
        last = getattr(getattr(failure, "last_worker", None), "address", "unknown")
        return ChildDied(f"the Dask workers that had it have died, the last of them {last}")
    what = f"{type(failure).__name__}: {failure}"
    return Unprepared(f"a Dask worker could not be given the job: {what:.1000}")
