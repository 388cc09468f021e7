"""One attempt at a claimed job: from its call to its outcome."""

import logging
from typing import Any

import anyio
from attrs import define, evolve, field

from chancy_core import codec, errors
from chancy_core.beside import NOBODY
from chancy_core.executor import Call, Executor
from chancy_core.job import LimitKind, QueuedJob
from chancy_core.outcome import COUNTED, Kind, Outcome
from chancy_core.perform import Raised, describe
from chancy_core.plugins import WorkerPlugins
from chancy_core.plugins.contexts import AttemptContexts
from chancy_core.store.rows import Claimed

log = logging.getLogger("chancy.run")

_KINDS: dict[type[Exception], Kind] = {
    errors.UnknownFunction: Kind.UNKNOWN_FUNCTION,
    errors.Unprepared: Kind.UNPREPARED,
    errors.Unsupported: Kind.UNSUPPORTED,
    errors.MemoryLimitExceeded: Kind.MEMORY,
    errors.ChildDied: Kind.CHILD_DIED,
}


@define(eq=False)
class Attempt:
    """A job that runs here: cancelling its scope ends it, with the outcome *ends_as*."""

    claimed: Claimed
    #: The task that makes it.
    task: anyio.TaskInfo | None = None
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    ends_as: Kind = Kind.TIMEOUT
    _told_at: float | None = None

    @property
    def job(self) -> QueuedJob:
        """The job that is being attempted."""
        return self.claimed.job

    def end(self, how: Kind) -> None:
        """End it from outside; what it has not finished by then counts as *how*."""
        self.ends_as = how
        if self._told_at is None:
            self._told_at = anyio.current_time()
        self.scope.cancel()

    @property
    def overdue(self) -> float:
        """Seconds since it was told to end, or should have; 0 for what may go on."""
        told = self.scope.deadline if self._told_at is None else self._told_at
        return max(0.0, anyio.current_time() - told)

    async def run(self, executor: Executor, plugins: WorkerPlugins | None = None) -> Outcome:
        """Let *executor* run the job, and say what happened; only outer cancellation raises."""
        if self.claimed.unreadable is not None:
            return Outcome(Kind.UNREADABLE, failure=self.claimed.unreadable)
        return await self._begin(executor, plugins)

    async def _begin(self, executor: Executor, plugins: WorkerPlugins | None) -> Outcome:
        limit = self.job.limit(LimitKind.TIME)
        if limit is not None:
            self.scope.deadline = anyio.current_time() + limit
        hooks = plugins.beside if plugins else NOBODY
        contexts = plugins.contexts(self.job) if plugins else None
        call = Call(self.job, self.claimed.arguments, time_left=limit, hooks=hooks)
        outcome = await self._ended(executor, call, contexts)
        meta = call.changed_meta()
        return outcome if meta is None else evolve(outcome, meta=meta)

    async def _ended(
        self, executor: Executor, call: Call, contexts: AttemptContexts | None
    ) -> Outcome:
        with self.scope:
            try:
                result = await _called(executor, call, contexts)
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
            except GeneratorExit:
                raise
            except BaseException as exc:
                if not self.scope.cancel_called:
                    return self._failed(exc)
                if isinstance(exc, BaseExceptionGroup):
                    raise  # with cancellations, from a task group of the job's own
                log.debug("job %s raised when it was cancelled", self.job.id, exc_info=exc)
        if self.ends_as is not Kind.TIMEOUT:
            return Outcome(self.ends_as)
        return self._failed(errors.TimeLimitExceeded(f"it took longer than {call.time_left} s"))

    def _failed(self, exc: BaseException) -> Outcome:
        kind = _KINDS.get(type(exc), Kind.ERROR) if isinstance(exc, Exception) else Kind.ERROR
        if isinstance(exc, errors.TimeLimitExceeded):
            kind = Kind.TIMEOUT
        number = self.job.attempts + 1 if kind in COUNTED else 0
        failure = exc.failure if isinstance(exc, Raised) else describe(exc)
        return Outcome(kind, failure=evolve(failure, attempt=number, kind=kind.value))


async def _called(executor: Executor, call: Call, contexts: AttemptContexts | None) -> Any:
    """Let *executor* run a call, within the contexts of plugins if there are any."""
    if contexts is None:
        return await executor.run(call)
    async with contexts:
        return await executor.run(call)
