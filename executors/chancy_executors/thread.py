"""Runs functions in threads of the worker's process."""

import logging
import math
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from anyio import CapacityLimiter, to_thread
from attrs import field, frozen

from chancy_core.executor import Call, Capability, Executor, ExecutorHost, Left, Running
from chancy_executors.stragglers import Stragglers, not_negative
from chancy_executors.work import Work

log = logging.getLogger("chancy.thread")


@frozen
class ThreadOptions:
    """What a queue can set for this executor."""

    #: How many functions may go on after their attempts were closed, without keeping their slots.
    #: Each beyond that keeps one until it ends: so threads are never more than slots and these.
    max_stuck: int = field(default=8, validator=not_negative)


class ThreadExecutor(Executor):
    """For functions that block without computing: files, drivers, requests.

    Coroutine functions get an event loop of their own in their thread. Context variables are
    carried into it. A thread cannot be ended from outside: at its deadline, or when it is
    cancelled, the attempt is closed, and what the function returns later is thrown away. Until
    then it is stuck, and `max_stuck` says how many may be. A function can ask `checkpoint()` of
    its job, and a coroutine function is cancelled on its loop.
    """

    Options = ThreadOptions
    capabilities = Capability.SYNC | Capability.ASYNC
    default_concurrency = 32

    def __init__(self, options: Any, concurrency: int, host: ExecutorHost) -> None:
        self._left = Stragglers(log, options.max_stuck)
        self._works: dict[UUID, Work] = {}
        super().__init__(options, concurrency, host)

    @property
    def concurrency(self) -> int:
        """How many calls may run at once: fewer while more than `max_stuck` functions are stuck."""
        return self._left.room(self._slots)

    @concurrency.setter
    def concurrency(self, slots: int) -> None:
        self._slots = slots

    @property
    def left(self) -> Iterable[Left]:
        """The functions that go on although their attempts are closed."""
        return tuple(self._left)

    async def __aenter__(self) -> Self:
        # The slots of the queue bound how many run; a thread left behind must not hold up others.
        self._limiter = CapacityLimiter(math.inf)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Name those functions that go on: from now on nobody looks after them."""
        await self._left.close("its thread")

    def running(self) -> list[Running]:
        """Return the threads of the calls that have begun."""
        works = tuple(self._works.items())
        return [Running(job, thread=work.thread) for job, work in works if work.thread]

    async def run(self, call: Call) -> Any:
        """Call the function in a thread."""
        func, arguments = call.resolve(self.capabilities)
        work = Work(call.job.func, func, arguments, self.host.backend)
        self._works[call.job.id] = work
        try:
            return await to_thread.run_sync(
                self._perform, work, limiter=self._limiter, abandon_on_cancel=True
            )
        finally:
            self._works.pop(call.job.id, None)
            if not work.ended:
                self._leave(call, work)

    def _perform(self, work: Work) -> Any:
        """Do the work, in its thread, unless that was given up before it had begun."""
        with self._left.lock:
            if work.over:
                return None
            work.begun = True
        how = "returned"
        try:
            return work.run()
        except BaseException as exc:
            how = f"raised {type(exc).__qualname__}"
            raise
        finally:
            work.ended = True  # before it is taken away: then nobody adds it any more
            self._left.ended(work, how)

    def _leave(self, call: Call, work: Work) -> None:
        """Wait no longer for what a thread does, and tell it so."""
        was = work.where()  # before it is told, which changes that
        with self._left.lock:
            if work.begun and not work.ended:
                call.left = Left(call.job, work.where, was)
                self._left.add(work, call.left)
            work.end()
        if call.left is not None:
            self._left.complain(call.left)
