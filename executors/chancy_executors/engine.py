"""What becomes of calls that are sent to Dask: begun, found again, cut off, answered, ended."""

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import anyio
from anyio import CapacityLimiter

from chancy_core.errors import ChildDied, ExecutionError, UnknownFunction, Unprepared
from chancy_executors.connection import GONE, PAUSE, Connection, Task
from chancy_executors.crossing import Crossing
from chancy_executors.fetching import Pace

log = logging.getLogger("chancy.dask")

#: Seconds that closing may take.
CLOSING = 20.0
#: Seconds between two looks at a task that was found, which may be gone as it is.
LOOK = 5.0


class Engine:
    """Sees tasks to their ends, on an event loop of asyncio in a thread of its own.

    What has no underscore, but `run`, may be called from other threads; all else happens there.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._inbox: Crossing[Task | Callable[[], object]] | None = None
        self._leaving = False
        #: What has ended, and whose results have not been fetched.
        self._finished: list[Task] = []

    def take(self, task: Task) -> None:
        """See to a task, to its end."""
        self._send(task)

    def drop(self, task: Task) -> None:
        """End a task that nobody waits for: as far as that can be done, which is told."""
        task.dropped = True
        self._send(lambda: self._tasks.start_soon(self._end, task))

    def leave(self, task: Task) -> None:
        """Let a task be found by whoever claims its job next."""
        task.dropped = True
        self._send(partial(self._connection.leave, task))

    def let_go(self, tasks: Sequence[Task]) -> None:
        """Release answers that were kept."""
        self._send(partial(self._connection.let_go, tasks))

    def resize(self, concurrency: int) -> None:
        """Have room for as many calls at once, where that is ours to have."""
        if self._connection.local is not None:
            self._connection.local.size = concurrency
            self._send(self._connection.local.grow)

    def stop(self) -> None:
        """Leave, wherever it has come to."""
        self._leaving = True
        self._send(lambda: self._scope.cancel())  # noqa: PLW0108 - there may be none yet

    def _send(self, thing: Task | Callable[[], object]) -> None:
        if self._inbox is not None:
            self._inbox.send(thing)

    async def run(
        self, tell: Callable[[Callable[[], object]], None], opened: Callable[[], None]
    ) -> None:
        """Serve until told to stop. What the worker's loop is to know is called there by *tell*."""
        self._tell = tell
        self._pace = Pace()
        # A process of our own may be killed between two fetches, and not during one.
        self._fetching = CapacityLimiter(math.inf if self._connection.local is None else 1)
        try:
            with anyio.CancelScope() as self._scope:
                self._inbox = Crossing(self._receive)
                if self._leaving:
                    self._scope.cancel()
                await self._connection.open()
                async with anyio.create_task_group() as self._tasks:
                    tell(opened)
                    await self._fetch_on()
        finally:
            with anyio.move_on_after(CLOSING, shield=True) as late:
                await self._connection.close()
            if late.cancelled_caught:
                log.error("a Dask cluster or the way to it did not close within %g s", CLOSING)

    def _receive(self, things: list[Task | Callable[[], object]]) -> None:
        tasks = [thing for thing in things if isinstance(thing, Task)]
        if tasks:
            self._tasks.start_soon(self._begin, tasks)
        for thing in things:
            if not isinstance(thing, Task):
                thing()

    # -- how a task begins -------------------------------------------------------------------------

    async def _begin(self, tasks: list[Task]) -> None:
        """Send tasks; but where one of an earlier claim is left, wait for that one."""
        try:
            left = await self._left(tasks)
            client = await self._connection.client()
            tasks = [task for task in tasks if not task.dropped]
            fresh = [task for task in tasks if task not in left]
            if fresh:
                self._connection.submit(client, fresh)
        except Exception as exc:  # noqa: BLE001 - the outcome of all of them
            for task in tasks:
                await self._fail(task, exc)
            return
        for task in tasks:
            if task in left:
                task.key = left[task]
                self._connection.adopt(client, task)
            self._tasks.start_soon(self._follow, task)

    async def _left(self, tasks: list[Task]) -> dict[Task, str]:
        """Return which tasks of earlier claims are left, but for those that were told to end."""
        keys = [key for task in tasks for key in task.earlier]
        if not keys:
            return {}
        states = await self._connection.states(keys)
        there = [key for key in keys if states.get(key) not in GONE]
        running = await self._connection.look(there, end=False) if there else {}
        over = {key for key, (is_over, _) in running.items() if is_over}
        left = {}
        for task in tasks:
            for key in task.earlier:
                if key in there and key not in over:
                    log.info("task %s is still there (%s): it is waited for", key, states[key])
                    left[task] = key
                    break
        return left

    # -- how it goes on ----------------------------------------------------------------------------

    async def _follow(self, task: Task) -> None:
        """See a task to its end over there."""
        self._pace.running += 1
        try:
            failure = await self._over(task)
            while not task.dropped and task.future.status not in {"finished", "error"}:
                await self._again(task)
                failure = await self._over(task)
        except Exception as exc:  # noqa: BLE001 - its outcome
            await self._fail(task, exc)
            return
        finally:
            self._pace.running -= 1
        if task.dropped:
            self._connection.let_go([task])
        elif task.future.status == "error":
            await self._fail(task, _error(failure))
        else:
            self._finished.append(task)
            self._pace.ended(task.since, self._connection.threads)

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
            self._connection.leave(task)  # it may run on, to be found by the next claim
            raise
        if task.dropped:
            return
        if states.get(task.key) in GONE:
            raise _gone(task)
        self._connection.adopt(client, task)

    # -- how it ends -------------------------------------------------------------------------------

    async def _end(self, task: Task) -> None:
        """Have a function end, if it runs; where it cannot, its thread is left to it."""
        connection = self._connection
        if task.future is not None and task.future.status == "pending":
            if connection.local is not None:
                await self._fetch()  # what has ended there would be lost with the process
                await connection.kill(task.key)
            else:
                found = await connection.look([task.key], end=True)
                _, task.where = found.get(task.key, (True, ""))
        if task.where:
            connection.tell_nobody(task)
        else:
            connection.let_go([task])
        self._tell(task.ended.set)

    async def _fetch_on(self) -> None:
        """Fetch results, for as long as we serve."""
        while True:
            await self._pace.turn()
            self._tasks.start_soon(self._fetch)

    async def _fetch(self) -> None:
        """Fetch the results of all that has finished by now."""
        async with self._fetching:
            tasks, self._finished = self._finished, []
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
        self._answer(done)

    async def _follow_later(self, task: Task) -> None:
        """Go on with a task whose result was lost before we had it: Dask is about to say so."""
        await anyio.sleep(PAUSE)
        await self._follow(task)

    def _answer(self, tasks: Sequence[Task]) -> None:
        """Tell of answers. What ends a job for good is kept until that is written."""
        failed = [task for task in tasks if not task.answer.startswith(b"ok\n")]
        for task in tasks:
            if task not in failed:
                task.kept = task in self._connection.held and not task.once
                self._tell(task.ended.set)
            if task.kept:
                task.future.release()  # it stays all the same
        self._connection.let_go(task for task in tasks if not task.kept)
        if failed:
            self._tasks.start_soon(self._end_surely, failed)

    async def _fail(self, task: Task, exc: Exception) -> None:
        if not isinstance(exc, ExecutionError):
            log.debug("task %s failed", task.key, exc_info=exc)
            exc = Unprepared(f"Dask could not be given the job: {type(exc).__name__}: {exc}")
        if task.once and task.future is not None and isinstance(exc, Unprepared):
            exc = ChildDied(f"{exc}; it may have begun, and must not begin again")
        task.error = exc
        self._connection.let_go([task])
        await self._end_surely([task])

    async def _end_surely(self, tasks: Sequence[Task]) -> None:
        """Tell of the ends of tasks that may be tried again, once nobody can find them any more."""
        await self._connection.forgotten([task.key for task in tasks])
        for task in tasks:
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
