"""Tells Sentry of jobs that failed, and how long they waited and took: where that is set up.

    sentry_sdk.init("https://...", traces_sample_rate=0.1)  # yours
    async with Chancy() as chancy: ...

A job that has failed for good is an event. `Chancy(plugins=[Sentry(when="each")])` has one of each
failed attempt. Before `sentry_sdk.init` nothing is done.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import define, field
from attrs.validators import instance_of

from chancy_core.codec import shown
from chancy_core.errors import InvalidPlugin, MissingExtra
from chancy_core.hookspecs import hookimpl
from chancy_core.host import WorkerHost
from chancy_core.job import Job, QueuedJob
from chancy_core.outcome import Settlement

if TYPE_CHECKING:
    from chancy_plugins.sentry.attempts import Attempts

__all__ = ["Sentry"]

#: When an event is made: of a job that has failed for good, or of each attempt that failed.
WHEN = ("failed", "each")


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("sentry_sdk") is not None
    except (ImportError, ValueError):
        return False


if not _is_installed():
    raise MissingExtra(
        "sentry needs sentry-sdk, which is not installed: pip install 'chancy[sentry]'"
    )


def _in_use() -> bool:
    """Whether anybody has set it up here, and wants to hear something."""
    sdk = sys.modules.get("sentry_sdk")
    return sdk is not None and sdk.is_initialized()


@define(eq=False, kw_only=True)
class Sentry:
    """The plugin `sentry`, with other settings than those of the one that is installed.

        Chancy(plugins=[Sentry(when="each", monitors=True)])

    It stands in the installed one's place. Raises `InvalidPlugin` for a *when* that there is not.
    """

    replaces: ClassVar = "sentry"
    elsewhere: ClassVar = "chancy_plugins.sentry"

    #: `"failed"`: an event is made of a job that has failed for good. `"each"`: of each attempt.
    when: str = field(default="failed")
    #: Whether events have the arguments of jobs, and the local variables of functions.
    send_arguments: bool = field(default=False, validator=instance_of(bool))
    #: Whether the runs of cron entries are checked in, each entry as a monitor.
    monitors: bool = field(default=False, validator=instance_of(bool))
    _made: "Attempts | None" = field(default=None, init=False, repr=False)

    @when.validator
    def _is_known(self, _: Any, when: str) -> None:
        if when not in WHEN:
            raise InvalidPlugin(f"sentry: when must be {' or '.join(WHEN)}, not {shown(when)}")

    @hookimpl
    def chancy_job_meta(self, job: Job) -> Mapping[str, Any] | None:
        """Add the trace in which a job is pushed."""
        if not _in_use():
            return None
        from chancy_plugins.sentry import tracing

        return tracing.meta(job)

    @hookimpl
    def chancy_job_context(
        self, job: QueuedJob, worker: WorkerHost
    ) -> AbstractAsyncContextManager[None] | None:
        """Keep what an attempt tells Sentry to itself, and measure it."""
        return self._attempts().context(job, worker) if _in_use() else None

    @hookimpl
    def chancy_call_context(self, job: QueuedJob) -> AbstractContextManager[None] | None:
        """Do the same in another process that has set Sentry up itself."""
        if not _in_use():
            return None
        from chancy_plugins.sentry import tracing

        return tracing.beside(job)

    def awake(self) -> bool:
        """Whether anybody has set it up, so that there is something to do around jobs."""
        return _in_use()

    def heeds_settled(self, _: Sequence[Settlement]) -> bool:
        """Whether anybody would hear of failures."""
        return _in_use()

    @hookimpl
    async def chancy_jobs_settled(self, settled: Sequence[Settlement], worker: WorkerHost) -> None:
        """Make events of failures."""
        if _in_use():
            await self._attempts().settle(settled, worker)

    def _attempts(self) -> "Attempts":
        if self._made is None:
            from chancy_plugins.sentry.attempts import Attempts

            self._made = Attempts(
                each=self.when == "each",
                send_arguments=self.send_arguments,
                monitors=self.monitors,
            )
        return self._made


_installed = Sentry()


@hookimpl
def chancy_job_meta(job: Job) -> Mapping[str, Any] | None:
    """Add the trace in which a job is pushed."""
    return _installed.chancy_job_meta(job)


@hookimpl
def chancy_job_context(
    job: QueuedJob, worker: WorkerHost
) -> AbstractAsyncContextManager[None] | None:
    """Keep what an attempt tells Sentry to itself, and measure it."""
    return _installed.chancy_job_context(job, worker)


@hookimpl
def chancy_call_context(job: QueuedJob) -> AbstractContextManager[None] | None:
    """Do the same in another process that has set Sentry up itself."""
    return _installed.chancy_call_context(job) if _in_use() else None


awake = _in_use
heeds_settled = _installed.heeds_settled


@hookimpl
async def chancy_jobs_settled(settled: Sequence[Settlement], worker: WorkerHost) -> None:
    """Make events of failures."""
    await _installed.chancy_jobs_settled(settled, worker)
