"""Which jobs a command is for: by their ids, or by what they have in common."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

from attrs import frozen
from cyclopts import Parameter

from chancy_core.cli import arguments
from chancy_core.cli.failing import Refused
from chancy_core.cli.output import Output
from chancy_core.cli.times import Past

if TYPE_CHECKING:
    from chancy_core.app import Chancy
    from chancy_core.filter import Answer, JobFilter

#: How many jobs are looked up, or changed, in one call.
BATCH = 1000


@Parameter(name="*")
@frozen(kw_only=True)
class Which:
    """What the jobs that are meant have in common; where one value is taken, several are as well.

    Parameters
    ----------
    state
        scheduled, pending, running, succeeded, failed, cancelled, quarantined or lost.
    queue
        The queue.
    function
        The function's name.
    unique_key
        The unique key.
    retrying
        Whether it is live after at least one attempt.
    worker
        The id of the worker's incarnation that holds it, or held it last.
    since
        Pushed after this time, or at most so long ago: 10m, 7d, 2026-12-24T18:00.
    before
        Pushed before this time, or longer ago than that.
    meta
        What its meta has: tenant=acme, or level:=3.
    """

    state: tuple[str, ...] = ()
    queue: tuple[str, ...] = ()
    function: Annotated[tuple[str, ...], Parameter(name="--func")] = ()
    unique_key: tuple[str, ...] = ()
    retrying: bool | None = None
    worker: UUID | None = None
    since: Past = None
    before: Past = None
    meta: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing was said."""
        return self == Which()

    def filter(self) -> "JobFilter":
        """Return the filter. Raises `InvalidValue` for what no job can have."""
        from chancy_core.filter import JobFilter

        return JobFilter(
            state=self.state or None,
            queue=self.queue or None,
            func=self.function or None,
            unique_key=self.unique_key or None,
            retrying=self.retrying,
            worker=self.worker,
            created_after=self.since,
            created_before=self.before,
            meta=arguments.read(self.meta) or None,
        )


@frozen(kw_only=True)
class Choice:
    """The jobs of a bulk command: those of *ids*, or those that *which* finds."""

    ids: Sequence[UUID]
    which: Which
    everything: bool

    def __attrs_post_init__(self) -> None:
        if self.ids and (self.everything or not self.which.empty):
            raise Refused("say which jobs by their ids, or by what they have in common: not both")
        if self.everything and not self.which.empty:
            raise Refused("--all is all jobs: leave it out to mean those with --state, --queue, …")
        if not self.ids and self.which.empty and not self.everything:
            raise Refused("say which jobs: ids, or --state failed and the like, or --all")

    async def find(self, chancy: "Chancy", output: Output) -> list[UUID]:
        """Return the ids of the jobs that are meant at this moment."""
        if self.ids:
            return list(self.ids)
        found: list[UUID] = []
        with output.progress("looking for them") as advance:
            async for ids in _pages(chancy, self.which.filter()):
                found += ids
                advance(len(ids))
        return found


async def _pages(chancy: "Chancy", which: "JobFilter") -> AsyncIterator[list[UUID]]:
    page = await chancy.list_jobs(which, limit=BATCH)
    while True:
        yield [job.id for job in page.jobs]
        if page.next is None:
            return
        page = await chancy.list_jobs(which, limit=BATCH, before=page.next)


async def each(
    ids: Sequence[UUID],
    act: Callable[[Sequence[UUID]], Awaitable["list[Answer]"]],
    what: str,
    output: Output,
) -> "AsyncIterator[Answer]":
    """Do it to the jobs of these ids, a batch at a time, and yield the answer for each."""
    with output.progress(what, len(ids)) as advance:
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            for answer in await act(batch):
                yield answer
            advance(len(batch))


Flag = Annotated[bool, Parameter(negative=())]
Yes = Annotated[bool, Parameter(negative=(), alias="-y")]
