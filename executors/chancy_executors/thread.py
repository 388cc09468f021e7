"""Runs functions in threads of the worker's process."""

import logging
import math
import threading
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import anyio
from anyio import CapacityLimiter, to_thread
from attrs import field, frozen

from chancy_core.errors import InvalidValue
from chancy_core.executor import Call, Capability, Executor, ExecutorHost, Left, Running
from chancy_executors.work import Work

log = logging.getLogger("chancy.thread")

#: Seconds that what was told to end may take when its executor closes, before it is named; and
#: seconds between two looks.
_CLOSING, _LOOK = 0.1, 0.005
#: Seconds after which a function that nobody waits for is stuck, and its end is news.
_LATE = 1.0


@frozen
class ThreadOptions:
    """What a queue can set for this executor."""

    #: How many functions may go on after their attempts were closed, without keeping their slots.
    #: Each beyond that keeps one until it ends: so threads are never more than slots and these.
    max_stuck: int = field(default=8)

    @max_stuck.validator
    def _not_negative(self, _: Any, value: int) -> None:
        if value < 0:
            raise InvalidValue(f"max_stuck must be 0 or more, not {value}")


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
        #: Held for what the event loop and the threads change: `_left`, and where a work is.
        self._lock = threading.Lock()
        self._left: dict[Work, Left] = {}
        self._works: dict[UUID, Work] = {}
        super().__init__(options, concurrency, host)

    @property
    def concurrency(self) -> int:
        """How many calls may run at once: fewer while more than `max_stuck` functions are stuck.

        The worker claims no more than that, and others have what this one has no threads for.
        """
        beyond = len(self._left) - self.options.max_stuck
        return self._slots if beyond <= 0 else max(0, self._slots - beyond)

    @concurrency.setter
    def concurrency(self, slots: int) -> None:
        self._slots = slots

    @property
    def left(self) -> Iterable[Left]:
        """The functions that go on although their attempts are closed."""
        with self._lock:
            return tuple(self._left.values())

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
        with anyio.move_on_after(_CLOSING, shield=True):
            while self._left:
                await anyio.sleep(_LOOK)
        for left in self.left:
            log.warning(
                "job %s (%s) goes on in its thread, although its queue is not run here any more. "
                "It is here:\n%s",
                left.job.id,
                left.job.func,
                left.where(),
            )

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
            del self._works[call.job.id]
            if not work.ended:
                self._leave(call, work)

    def _perform(self, work: Work) -> Any:
        """Do the work, in its thread, unless that was given up before it had begun."""
        with self._lock:
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
            with self._lock:
                work.ended = True
                left = self._left.pop(work, None)
            if left is not None:
                log.log(
                    logging.INFO if left.overdue > _LATE else logging.DEBUG,
                    "job %s (%s) %s %.1f s after its attempt was closed; that is thrown away",
                    left.job.id,
                    left.job.func,
                    how,
                    left.overdue,
                )

    def _leave(self, call: Call, work: Work) -> None:
        """Wait no longer for what a thread does, and tell it so."""
        was = work.where()  # before it is told, which changes that
        with self._lock:
            if work.begun and not work.ended:
                call.left = self._left[work] = Left(call.job, work.where, was)
            work.end()
        if call.left is None:
            return
        # Those that were told just now may be about to end.
        stuck = Counter(
            left.job.func for left in self.left if left is call.left or left.overdue > _LATE
        )
        beyond = stuck.total() - self.options.max_stuck
        if beyond > 0:
            log.error(
                "queue %s: more functions go on although their attempts are closed than its "
                "max_stuck, %d: %s. Until they end it does without so many of its slots: %d",
                call.job.queue,
                self.options.max_stuck,
                ", ".join(f"{number} x {func}" for func, number in stuck.most_common(4)),
                beyond,
            )
