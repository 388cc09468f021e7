"""What is made of workers that die: how many deaths a job may cost, and what the log says of them.

CHANCY_CRASH_LIMIT=5            # a job is quarantined when its worker died for the fifth time
CHANCY_RECOVERY_REPORT=ended    # say only which jobs are not run again; or `all`, or `none`
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from chancy_core.codec import shown
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Application, WorkerHost
from chancy_core.job import State
from chancy_core.outcome import Rescued

log = logging.getLogger("chancy.recovery")

LIMIT, REPORT = "CHANCY_CRASH_LIMIT", "CHANCY_RECOVERY_REPORT"
REPORTS = ("all", "ended", "none")
#: How many ids one line names.
NAMED = 20
#: What becomes of jobs that only a person can bring back.
_STOPPED = (State.QUARANTINED, State.LOST)


@hookimpl
def chancy_configure(app: Application) -> None:
    """Take the crash limit from the environment: whoever runs it overrules whoever wrote it."""
    given, report = os.environ.get(LIMIT), _report()
    if given:
        try:
            app.crash_limit = int(given)
        except ValueError:
            log.error(
                "%s must be a whole number from 1 to 32,767, not %s: the limit stays %d",
                *(LIMIT, shown(given), app.crash_limit),
            )
    if report not in REPORTS:
        log.error(
            "%s must be one of %s, not %s: all is reported",
            *(REPORT, ", ".join(REPORTS), shown(report)),
        )


def _report() -> str:
    return os.environ.get(REPORT) or "all"


@hookimpl
async def chancy_jobs_rescued(rescued: Sequence[Rescued], worker: WorkerHost) -> None:
    """Say how many jobs were taken back from the dead, and which of them wait for somebody."""
    report = _report()
    if report == "none":
        return
    if report != "ended":
        log.warning(
            "worker %s took back jobs whose workers had died: %s; by queue: %s",
            worker.name,
            _counted(str(job.state) for job in rescued),
            _counted(job.queue for job in rescued),
        )
    stopped = [job for job in rescued if job.state in _STOPPED]
    if stopped:
        log.error(
            "workers died with these jobs, which are not run again until somebody says so: %s. "
            "`chancy job list --state quarantined --state lost` shows them; `chancy job retry`, or "
            "retry_jobs, runs them again",
            _listed(stopped),
        )


def _counted(things: Iterable[str]) -> str:
    return ", ".join(f"{count:,} {thing}" for thing, count in Counter(things).most_common())


def _listed(jobs: Sequence[Rescued]) -> str:
    named = ", ".join(f"{job.job} ({job.state})" for job in jobs[:NAMED])
    more = len(jobs) - NAMED
    return f"{named} and {more:,} more" if more > 0 else named
