"""A batch as it is written down: jobs that wait for nothing, and what is run at the end."""

from collections.abc import Iterable

from attrs import Attribute, field, frozen

from chancy_core import codec
from chancy_core.function import JobFunction
from chancy_core.job import Job
from chancy_plugins.workflow.errors import InvalidWorkflow
from chancy_plugins.workflow.flow import Given, check_name, job_of

#: The most jobs that are pushed, or added, in one call.
MOST = 100_000


def jobs_of(given: Iterable[Given], who: str) -> tuple[Job, ...]:
    """Return jobs, where functions may stand for them. Raises `InvalidWorkflow`."""
    if isinstance(given, Job | JobFunction) or not isinstance(given, Iterable):
        raise InvalidWorkflow(f"{who}: give several jobs, not {codec.shown(given)}")
    jobs = tuple(job_of(one, who) for one in given)
    if len(jobs) > MOST:
        raise InvalidWorkflow(
            f"{who}: {len(jobs):,} jobs, where {MOST:,} are taken at a time; push it with "
            "open=True, add the others, and close it"
        )
    return jobs


def _jobs(given: Iterable[Given]) -> tuple[Job, ...]:
    return jobs_of(given, "a batch")


@frozen
class Batch:
    """Jobs that are watched together: how far they are, and that all have ended.

        batch = Batch("import", [load.bind(file=one) for one in files], then=report)

    *then* is a job that is pushed once all have ended, however that was; its meta has the counts.
    *on_failure* is one that is pushed when the first has failed for good. An *open* batch does not
    end before `Workflows.close`, so that more can be added until then.

    Raises `InvalidWorkflow` for what is no name and no job, for more than 100,000 jobs, and for
    none unless it is open.
    """

    name: str = field()
    jobs: tuple[Job, ...] = field(default=(), converter=_jobs, repr=False)
    then: Given | None = field(default=None, kw_only=True)
    on_failure: Given | None = field(default=None, kw_only=True)
    open: bool = field(default=False, kw_only=True)

    @name.validator
    def _is_name(self, _: "Attribute[str]", name: str) -> None:
        check_name(name, "a batch")

    def __attrs_post_init__(self) -> None:
        if not self.jobs and not self.open:
            raise InvalidWorkflow(f"batch {self.name!r} has no jobs, and is not open for any")
