"""What an application asks of queues and of jobs that are there, on the pool of its `Chancy`."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar, Union
from uuid import UUID

from chancy_core.errors import InvalidValue
from chancy_core.job import Reference
from chancy_core.queue import Queue
from chancy_core.statement import Names

if TYPE_CHECKING:
    from chancy_core.filter import Answer, JobFilter, Page
    from chancy_core.store.requests import Request
    from chancy_core.store.rows import WorkerInfo

T = TypeVar("T")

#: Which jobs a bulk call is about.
Which = Union[Iterable[Reference | UUID | str], "JobFilter"]


def identity(reference: Reference | UUID | str) -> UUID:
    """Return the id that *reference* is, or holds.

    Raises `InvalidValue` for anything else.
    """
    if isinstance(reference, Reference):
        return reference.id
    if isinstance(reference, UUID):
        return reference
    try:
        return UUID(reference)
    except (ValueError, AttributeError, TypeError) as exc:
        raise InvalidValue(
            f"a job is referred to by what push answered, its UUID, or that as text, "
            f"not by {reference!r}"
        ) from exc


def identities(which: Which) -> "list[UUID] | JobFilter":
    """Return the ids that are meant, or the filter that finds them."""
    from chancy_core.filter import JobFilter

    if isinstance(which, JobFilter):
        return which
    if isinstance(which, Reference | UUID | str):
        raise InvalidValue(f"give several references, or a JobFilter, not the single {which!r}")
    return [identity(reference) for reference in which]


def check_resume(resume_at: datetime | timedelta | None) -> None:
    """Raise `InvalidValue` if a queue cannot become active then."""
    if resume_at is None or isinstance(resume_at, timedelta):
        return
    if not isinstance(resume_at, datetime) or resume_at.utcoffset() is None:
        raise InvalidValue(
            f"resume_at must be a timedelta, or a datetime with a time zone, not {resume_at!r}"
        )


class Asking(Protocol):
    """Who can carry out a request."""

    names: Names

    async def ask(self, request: "Request[T]") -> T:
        """Carry out a request."""


class Calls(Asking):
    """Calls about queues and about jobs that are there; a part of `Chancy`."""

    async def get_queue(self, name: str) -> Queue:
        """Return a queue's settings. Raises `QueueNotFound`."""
        from chancy_core.store import requests

        return await self.ask(requests.get_queue(self.names, name))

    async def get_all_queues(self) -> list[Queue]:
        """Return all queues, by name."""
        from chancy_core.store import requests, statements

        return await self.ask(requests.one(statements.queues(self.names)))

    async def get_all_workers(self) -> "list[WorkerInfo]":
        """Return the rows of all workers: the living, the late, and those declared dead."""
        from chancy_core.store import requests, statements

        return await self.ask(requests.one(statements.workers(self.names)))

    async def pause_queue(
        self, name: str, *, resume_at: datetime | timedelta | None = None
    ) -> None:
        """Have no more jobs of a queue begun: from now on, until *resume_at* if it is given.

        What runs comes to its end. A timedelta is counted by the database's clock. Raises
        `QueueNotFound`, and `InvalidValue` for a datetime without a time zone.
        """
        from chancy_core.store import requests

        check_resume(resume_at)
        await self.ask(requests.pause_queue(self.names, name, resume_at))

    async def resume_queue(self, name: str) -> None:
        """Make a queue active. Raises `QueueNotFound`."""
        from chancy_core.store import requests

        await self.ask(requests.resume_queue(self.names, name))

    async def delete_queue(self, name: str, *, purge_jobs: bool = True) -> int:
        """Delete a queue; with *purge_jobs* its waiting jobs too. Returns how many these were.

        What runs comes to its end. Raises `QueueNotFound`.
        """
        from chancy_core.store import requests

        return await self.ask(requests.delete_queue(self.names, name, purge_jobs=purge_jobs))

    async def list_jobs(
        self, which: "JobFilter | None" = None, *, limit: int = 100, before: UUID | None = None
    ) -> "Page":
        """Return a page of jobs, live and finished, the newest first.

        The next page begins *before* the id that this one names as `next`.
        """
        from chancy_core.filter import JobFilter
        from chancy_core.store import requests

        if not isinstance(limit, int) or not 1 <= limit <= 10_000:
            raise InvalidValue(f"a page has 1 to 10,000 jobs, not {limit!r}")
        return await self.ask(requests.list_jobs(self.names, which or JobFilter(), limit, before))

    async def cancel_job(self, reference: Reference | UUID | str) -> "Answer":
        """Cancel a job that is not finished.

        One that waits is `cancelled` at once. One that runs is `cancelling`: its worker ends the
        attempt, and what comes first, the job's own end or this, is its outcome.
        """
        return (await self.cancel_jobs([reference]))[0]

    async def cancel_jobs(self, which: Which) -> "list[Answer]":
        """Cancel jobs, by reference or by filter; answers for each."""
        from chancy_core.store import requests

        return await self.ask(requests.cancel(self.names, identities(which)))

    async def retry_jobs(self, which: Which) -> "list[Answer]":
        """Bring finished jobs back into their queues, by reference or by filter.

        Their counters begin at zero, their errors are kept. Answers for each: one that is live, or
        whose unique key a live job holds, is skipped.
        """
        from chancy_core.store import requests

        return await self.ask(requests.retry(self.names, identities(which)))

    async def purge_jobs(self, which: Which) -> "list[Answer]":
        """Delete jobs that do not run, live or finished, by reference or by filter.

        Answers for each: one that runs is skipped, cancel it first.
        """
        from chancy_core.store import requests

        return await self.ask(requests.purge(self.names, identities(which)))
