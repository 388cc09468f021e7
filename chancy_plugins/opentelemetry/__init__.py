"""Traces jobs through OpenTelemetry, by its conventions for messaging: for programs that set it up.

    trace.set_tracer_provider(TracerProvider(...))  # yours, from the SDK
    async with Chancy() as chancy: ...

A push within a span has the trace in the job's meta, and each attempt at the job is a span, which
is linked with it. `Chancy(plugins=[OpenTelemetry(parent=True)])` makes it part of that trace.
Without a provider nothing is done.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import define, field
from attrs.validators import instance_of

from chancy_core.errors import MissingExtra
from chancy_core.hookspecs import hookimpl
from chancy_core.host import WorkerHost
from chancy_core.job import Job, QueuedJob, Reference
from chancy_core.outcome import Settlement

if TYPE_CHECKING:
    from chancy_plugins.opentelemetry.attempts import Attempts

__all__ = ["OpenTelemetry"]


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.trace") is not None
    except ImportError:
        return False


if not _is_installed():
    raise MissingExtra(
        "opentelemetry needs opentelemetry-api, which is not installed: pip install 'chancy[otel]'"
    )


def _in_use() -> bool:
    """Whether anybody has set it up here: who has, has loaded it."""
    return "opentelemetry.trace" in sys.modules


@define(eq=False, kw_only=True)
class OpenTelemetry:
    """The plugin `opentelemetry`, with other settings than those of the one that is installed.

        Chancy(plugins=[OpenTelemetry(parent=True)])

    Give it where jobs are pushed and where they are run. It stands in the installed one's place.
    """

    replaces: ClassVar = "opentelemetry"
    elsewhere: ClassVar = "chancy_plugins.opentelemetry"

    #: Whether the span of an attempt is a child of that in which the job was pushed, and in its
    #: trace. It is linked with it in any case; without, each attempt has a trace of its own.
    parent: bool = field(default=False, validator=instance_of(bool))
    #: Whether each job that is pushed within a span is given one of its own, `create`.
    create: bool = field(default=True, validator=instance_of(bool))
    _made: "Attempts | None" = field(default=None, init=False, repr=False)

    @hookimpl
    def chancy_job_meta(self, job: Job) -> Mapping[str, Any] | None:
        """Add the trace in which a job is pushed."""
        if not _in_use():
            return None
        from chancy_plugins.opentelemetry import pushing

        return pushing.meta(job, create=self.create)

    @hookimpl
    def chancy_jobs_pushed(self, references: Sequence[Reference]) -> None:
        """Count jobs that were pushed."""
        if _in_use():
            from chancy_plugins.opentelemetry import pushing

            pushing.count(references)

    @hookimpl
    def chancy_job_context(
        self, job: QueuedJob, worker: WorkerHost
    ) -> AbstractAsyncContextManager[None] | None:
        """Have a span around an attempt, and the function in it."""
        return self._attempts().context(job, worker.name) if _in_use() else None

    @hookimpl
    def chancy_call_context(self, job: QueuedJob) -> AbstractContextManager[None] | None:
        """Have the function in the span of its attempt in another process, too."""
        if not (job.carried or job.meta) or not _in_use():
            return None
        return self._attempts().beside(job)

    def awake(self) -> bool:
        """Whether anybody has set it up, so that there is something to do around jobs."""
        return _in_use()

    def heeds_settled(self, _: Sequence[Settlement]) -> bool:
        """Whether there are spans that may wait for outcomes."""
        return self._made is not None

    @hookimpl
    async def chancy_jobs_settled(self, settled: Sequence[Settlement]) -> None:
        """End the spans of attempts that went wrong, with what has become of the jobs."""
        if self._made is not None:
            self._made.settle(settled)

    def _attempts(self) -> "Attempts":
        if self._made is None:
            from chancy_plugins.opentelemetry.attempts import Attempts

            self._made = Attempts(parent=self.parent)
        return self._made


_installed = OpenTelemetry()


@hookimpl
def chancy_job_meta(job: Job) -> Mapping[str, Any] | None:
    """Add the trace in which a job is pushed."""
    return _installed.chancy_job_meta(job)


@hookimpl
def chancy_jobs_pushed(references: Sequence[Reference]) -> None:
    """Count jobs that were pushed."""
    _installed.chancy_jobs_pushed(references)


@hookimpl
def chancy_job_context(
    job: QueuedJob, worker: WorkerHost
) -> AbstractAsyncContextManager[None] | None:
    """Have a span around an attempt, and the function in it."""
    return _installed.chancy_job_context(job, worker)


@hookimpl
def chancy_call_context(job: QueuedJob) -> AbstractContextManager[None] | None:
    """Have the function in the span of its attempt in another process, too."""
    return _installed.chancy_call_context(job) if job.carried or job.meta else None


awake = _in_use
heeds_settled = _installed.heeds_settled


@hookimpl
async def chancy_jobs_settled(settled: Sequence[Settlement]) -> None:
    """End the spans of attempts that went wrong, with what has become of the jobs."""
    await _installed.chancy_jobs_settled(settled)
