"""One attempt at a claimed job: from its call to its outcome."""

import logging
import math
from typing import Any

import anyio
from attrs import define, evolve, field

from chancy_core import codec, errors, versions
from chancy_core.beside import NOBODY
from chancy_core.executor import Call, Executor
from chancy_core.job import LimitKind, QueuedJob
from chancy_core.outcome import COUNTED, REFUSED, Kind, Outcome, refused_by
from chancy_core.perform import Raised
from chancy_core.plugins import WorkerPlugins
from chancy_core.plugins.contexts import AttemptContexts
from chancy_core.progress import Progress
from chancy_core.showing import stack_of
from chancy_core.store.rows import Claimed

log = logging.getLogger("chancy.run")

_KINDS: dict[type[Exception], Kind] = {
    errors.UnknownFunction: Kind.UNKNOWN_FUNCTION,
    errors.Unprepared: Kind.UNPREPARED,
    errors.Unsupported: Kind.UNSUPPORTED,
    errors.MemoryLimitExceeded: Kind.MEMORY,
    errors.ChildDied: Kind.CHILD_DIED,
}
#: Under which name the meta of a job says how often it has snoozed.
SNOOZED = "snoozed"
#: The outcome of nearly all jobs: nothing went wrong, and there is nothing to tell.
_DONE = Outcome(Kind.SUCCESS, "null")


@define(eq=False)
class Attempt:
    """A job that runs here: cancelling its scope ends it, with the outcome *ends_as*."""

    claimed: Claimed
    #: The task that makes it.
    task: anyio.TaskInfo | None = None
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    ends_as: Kind = Kind.TIMEOUT
    #: What was written last of its progress.
    reported: Progress | None = None
    _call: Call | None = None
    _plugins: WorkerPlugins | None = None
    _told_at: float | None = None

    @property
    def job(self) -> QueuedJob:
        """The job that is being attempted."""
        return self.claimed.job

    @property
    def progress(self) -> Progress | None:
        """How far it has come, as its function said last."""
        return None if self._call is None else self._call.progress

    def end(self, how: Kind) -> None:
        """End it from outside; what it has not finished by then counts as *how*."""
        self.ends_as = how
        if self._told_at is None:
            self._told_at = anyio.current_time()
        if self._call is not None:
            self._call.end(unwanted=how is not Kind.SHUTDOWN)
        self.scope.cancel()

    @property
    def overdue(self) -> float:
        """Seconds since it was told to end, or should have; 0 for what may go on."""
        told = self.scope.deadline if self._told_at is None else self._told_at
        return max(0.0, anyio.current_time() - told)

    async def run(self, executor: Executor, plugins: WorkerPlugins | None = None) -> Outcome:
        """Let *executor* run the job, and say what happened; only outer cancellation raises."""
        with self.scope:
            return await self.within(executor, plugins)
        return self.cut()

    async def within(self, executor: Executor, plugins: WorkerPlugins | None = None) -> Outcome:
        """Do the same in the attempt's scope, which the caller has entered.

        If that is cancelled, the cancellation is raised: `cut` says what happened.
        """
        claimed = self.claimed
        if claimed.unreadable is not None:
            return Outcome(Kind.UNREADABLE, failure=claimed.unreadable)
        job = claimed.job
        self._plugins = plugins
        limit = job.limit(LimitKind.TIME) if job.limits else None
        hooks = plugins.beside if plugins else NOBODY
        contexts = plugins.contexts(job) if plugins else None
        self._call = call = Call(job, claimed.arguments, time_left=limit, hooks=hooks)
        if limit is None:
            return await self._made(executor, call, contexts)
        self.scope.deadline = anyio.current_time() + limit
        try:
            return await self._made(executor, call, contexts)
        finally:
            self.scope.deadline = math.inf

    async def _made(
        self, executor: Executor, call: Call, contexts: AttemptContexts | None
    ) -> Outcome:
        try:
            if contexts is None:
                result = await executor.run(call)
            else:
                async with contexts:
                    result = await executor.run(call)
            return self._told(self._succeeded(result))
        except Exception as exc:
            if not self.scope.cancel_called:
                return self._told(self._failed(exc))
            log.debug("job %s raised when it was cancelled", self.job.id, exc_info=exc)
        except anyio.get_cancelled_exc_class() as exc:
            if anyio.current_effective_deadline() == float("-inf"):
                call.end()
                raise
            return self._told(self._failed(exc))  # nobody cancelled it: the job raised this itself
        except GeneratorExit:
            raise
        except BaseException as exc:
            if not self.scope.cancel_called:
                return self._told(self._failed(exc))
            if isinstance(exc, BaseExceptionGroup):
                raise  # with cancellations, from a task group of the job's own
            log.debug("job %s raised when it was cancelled", self.job.id, exc_info=exc)
        return self.cut()

    def where(self) -> str:
        """Return where it is at this moment, by the stack of its task."""
        return stack_of(self.task.coro) if self.task else ""

    def cut(self) -> Outcome:
        """Say what happened to an attempt whose scope was cancelled before it had ended."""
        call = self._call
        if call is not None:
            call.end()
        if self.ends_as is not Kind.TIMEOUT:
            return self._told(Outcome(self.ends_as))
        limit = self.job.limit(LimitKind.TIME)
        late = errors.TimeLimitExceeded(f"it took longer than {limit} s")
        if call is not None and call.left is not None:
            late.add_note(f"When its time was over its function was here:\n{call.left.was}")
        return self._told(self._failed(late))

    def _succeeded(self, result: Any) -> Outcome:
        if not self.job.keep_result:
            return Outcome(Kind.SUCCESS)
        return _DONE if result is None else Outcome(Kind.SUCCESS, codec.salvage(result))

    def _told(self, outcome: Outcome) -> Outcome:
        """Add to an outcome what the function, or its snoozing, has made of the job's meta."""
        meta = None if self._call is None else self._call.changed_meta()
        if outcome.kind is Kind.SNOOZED:
            meta = _snoozed_again(self.job, meta)
        if meta is None:
            return outcome
        return evolve(outcome, meta=versions.kept(meta, self.job.version))

    def _failed(self, exc: BaseException) -> Outcome:
        raised = Raised.of(exc)
        if errors.Snooze.__name__ in raised.classes and raised.retry_after:
            if not self.job.at_most_once:
                return Outcome(Kind.SNOOZED, retry_after=raised.retry_after)
            raised = Raised.of(_never_again(self.job, exc))
        kind = _KINDS.get(type(exc), Kind.ERROR) if isinstance(exc, Exception) else Kind.ERROR
        if isinstance(exc, errors.TimeLimitExceeded):
            kind = Kind.TIMEOUT
        number = self.job.attempts + 1 if kind in COUNTED else 0
        failure = raised.failure
        if self._call is not None and self._call.output:
            trace, printed = failure.traceback.rstrip(), self._call.output
            failure = evolve(failure, traceback=f"{trace}\n--- output of the child ---\n{printed}")
        if kind in REFUSED and self._plugins is not None:
            failure = refused_by(failure, self._plugins.worker_name)
        failure = evolve(failure, attempt=number, kind=kind.value)
        return Outcome(
            kind, failure=failure, classes=raised.classes, retry_after=raised.retry_after
        )


def _never_again(job: QueuedJob, snooze: BaseException) -> errors.InvalidJob:
    """Return the error of a job that snoozed, and that may not begin again."""
    never = errors.InvalidJob(
        f"job {job.func!r}: at_most_once leaves no second beginning, so that it cannot be snoozed: "
        "let it push another job for later, or do without at_most_once"
    )
    never.__cause__ = snooze
    return never


def _snoozed_again(job: QueuedJob, changed: str | None) -> str | None:
    """Return the meta of a job, in which it is counted how often it has snoozed, as JSON."""
    meta = dict(job.meta) if changed is None else codec.as_object(changed)
    before = meta.get(SNOOZED)
    meta[SNOOZED] = before + 1 if type(before) is int else 1
    try:
        return codec.encode(meta, f"meta of {job.func}")
    except errors.InvalidValue as exc:
        log.warning("job %s: it is not counted that it snoozes: %s", job.id, exc)
        return changed
