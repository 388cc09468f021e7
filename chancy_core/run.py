"""From a claimed job to its verdict: one attempt, and the slots of one queue that make them."""

import logging
from collections import deque
from collections.abc import Callable, Iterable

import anyio
from anyio.abc import TaskGroup
from attrs import define, evolve, field

from chancy_core import codec, errors
from chancy_core.executor import Call, Executor
from chancy_core.job import LimitKind, QueuedJob
from chancy_core.outcome import COUNTED, Kind, Outcome, settle
from chancy_core.perform import Raised, describe
from chancy_core.queue import Queue
from chancy_core.store.rows import Claimed
from chancy_core.store.statements import Settlement

log = logging.getLogger("chancy.run")

_KINDS: dict[type[Exception], Kind] = {
    errors.UnknownFunction: Kind.UNKNOWN_FUNCTION,
    errors.Unsupported: Kind.UNSUPPORTED,
    errors.MemoryLimitExceeded: Kind.MEMORY,
    errors.ChildDied: Kind.CHILD_DIED,
}


@define(eq=False)
class Attempt:
    """A job that runs here: cancelling its scope ends it, with the outcome *ends_as*."""

    claimed: Claimed
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    ends_as: Kind = Kind.TIMEOUT

    @property
    def job(self) -> QueuedJob:
        """The job that is being attempted."""
        return self.claimed.job

    async def run(self, executor: Executor) -> Outcome:
        """Let *executor* run the job, and say what happened; only outer cancellation raises."""
        if self.claimed.unreadable is not None:
            return Outcome(Kind.UNREADABLE, failure=self.claimed.unreadable)
        return await self._begin(executor)

    async def _begin(self, executor: Executor) -> Outcome:
        limit = self.job.limit(LimitKind.TIME)
        if limit is not None:
            self.scope.deadline = anyio.current_time() + limit
        call = Call(self.job, self.claimed.arguments, time_left=limit)
        outcome = await self._ended(executor, call)
        meta = call.changed_meta()
        return outcome if meta is None else evolve(outcome, meta=meta)

    async def _ended(self, executor: Executor, call: Call) -> Outcome:
        with self.scope:
            try:
                result = await executor.run(call)
                kept = codec.salvage(result) if self.job.keep_result else None
                return Outcome(Kind.SUCCESS, kept)
            except Exception as exc:
                if not self.scope.cancel_called:
                    return self._failed(exc)
                log.debug("job %s raised when it was cancelled", self.job.id, exc_info=exc)
            except anyio.get_cancelled_exc_class() as exc:
                if anyio.current_effective_deadline() == float("-inf"):
                    raise
                return self._failed(exc)  # nobody cancelled it: the job raised this itself
            except (SystemExit, KeyboardInterrupt) as exc:
                return self._failed(exc)
        if self.ends_as is Kind.SHUTDOWN:
            return Outcome(Kind.SHUTDOWN)
        return self._failed(errors.TimeLimitExceeded(f"it took longer than {call.time_left} s"))

    def _failed(self, exc: BaseException) -> Outcome:
        kind = _KINDS.get(type(exc), Kind.ERROR) if isinstance(exc, Exception) else Kind.ERROR
        if isinstance(exc, errors.TimeLimitExceeded):
            kind = Kind.TIMEOUT
        number = self.job.attempts + 1 if kind in COUNTED else 0
        failure = exc.failure if isinstance(exc, Raised) else describe(exc)
        return Outcome(kind, failure=evolve(failure, attempt=number, kind=kind.value))


class Lane:
    """One queue on one worker: its executor, its slots, and what they run.

    A slot is a task that lives as long as the lane; a new task for each job costs three times
    as much. Slots are started when they are first needed.
    """

    def __init__(
        self,
        queue: Queue,
        executor: Executor,
        *,
        settled: Callable[[Settlement], None],
        wake: Callable[[], None],
    ) -> None:
        self.queue = queue
        #: Whether the queue may hold more than was claimed: nobody asks a queue that ran dry.
        self.hungry = True
        self.next_poll = 0.0
        self.running: set[Attempt] = set()
        self._executor = executor
        self._settled = settled
        self._wake = wake
        self._waiting: deque[Claimed] = deque()
        self._idle: list[anyio.Event] = []
        self._slots = 0
        self._tasks: TaskGroup | None = None
        self._quiet = anyio.Event()

    @property
    def opened(self) -> bool:
        """Whether the executor is open, and jobs can be run."""
        return self._tasks is not None

    @property
    def free(self) -> int:
        """How many more jobs this lane can take."""
        if self._tasks is None:
            return 0
        return self._executor.concurrency - len(self.running) - len(self._waiting)

    def give(self, claims: Iterable[Claimed]) -> None:
        """Hand jobs to the slots; no more than are free."""
        assert self._tasks is not None, "a lane takes jobs only while it runs"
        for claimed in claims:
            self._waiting.append(claimed)
            if self._idle:
                self._idle.pop().set()
            elif self._slots < self._executor.concurrency:
                self._slots += 1
                self._tasks.start_soon(self._slot)

    async def run(self) -> None:
        """Serve the queue until cancelled. An executor that cannot be opened is an error here."""
        async with self._executor, anyio.create_task_group() as self._tasks:
            self._wake()
            await anyio.sleep_forever()

    async def _slot(self) -> None:
        while True:
            while not self._waiting:
                self._quiet.set()
                turn = anyio.Event()
                self._idle.append(turn)
                await turn.wait()
            attempt = Attempt(self._waiting.popleft())
            self.running.add(attempt)
            try:
                outcome = await attempt.run(self._executor)
                verdict = settle(attempt.job, outcome)
                self._settled(Settlement(attempt.job, outcome, verdict))
            finally:
                self.running.remove(attempt)
            if self.hungry:
                self._wake()

    def hand_back(self) -> None:
        """Settle what has not begun: it goes back into the queue, uncounted."""
        while self._waiting:
            job = self._waiting.popleft().job
            outcome = Outcome(Kind.SHUTDOWN)
            self._settled(Settlement(job, outcome, settle(job, outcome)))

    def cancel(self) -> None:
        """End all attempts; what they did not finish goes back into the queue, uncounted."""
        for attempt in self.running:
            attempt.ends_as = Kind.SHUTDOWN
            attempt.scope.cancel()

    async def drained(self) -> None:
        """Return when nothing runs here any more."""
        while self.running or self._waiting:
            self._quiet = anyio.Event()
            await self._quiet.wait()
