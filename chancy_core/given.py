"""What callers give, brought to one form and refused here if it cannot be."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, Union
from uuid import UUID

from chancy_core import registry
from chancy_core.codec import shown, unstorable
from chancy_core.errors import InvalidJob, InvalidValue
from chancy_core.function import JobFunction
from chancy_core.hint import LONGEST, OURS, Hint
from chancy_core.job import Job, Reference, State

if TYPE_CHECKING:
    from chancy_core.filter import JobFilter

#: What can be pushed: `my_job` means `my_job.bind()`.
Pushable = Job | JobFunction[..., Any]
#: A job, by what `push` answered, its id, or the id's text.
Named = Reference | UUID | str
#: Which jobs a bulk call is about.
Which = Union[Iterable[Named], "JobFilter"]


class Follower(Protocol):
    """Who does something with each batch of jobs once it is stored; the push waits for it."""

    async def follow(self, references: Sequence[Reference]) -> None:
        """Do it on the event loop of the push."""

    def follow_sync(self, references: Sequence[Reference]) -> None:
        """Do it in the thread of the push."""


#: How many jobs are pushed in one transaction, if nobody says.
BATCH = 5000


def job(value: Any) -> Job:
    """Return the job to be pushed.

    Raises `InvalidJob` if it is none, or its arguments are not those of its function.
    """
    if isinstance(value, JobFunction):
        value = value.bind()
    if not isinstance(value, Job):
        raise InvalidJob(f"push takes a Job, such as my_job.bind(x=1), not {shown(value)}")
    registry.check_call(value)
    return value


def size(value: int) -> int:
    """Return how many jobs one batch has."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
        raise InvalidValue(f"batch_size must be 1 to 10,000 jobs, not {shown(value)}")
    return value


def iterator(values: Iterable[Any]) -> Iterator[Any]:
    """Begin to iterate over jobs. Raises `InvalidJob` for what is one job, or none."""
    try:
        return iter(values)
    except TypeError:
        raise InvalidJob(
            "push_many takes an iterable of jobs, such as a list or a generator, "
            f"not {shown(values)}"
        ) from None


def states(names: Iterable[str]) -> frozenset[State]:
    """Return the states that are meant. Raises `InvalidValue` for one that does not exist."""
    if isinstance(names, str):
        raise InvalidValue(f"states must be a collection, such as [{str(names)!r}]")
    try:
        return frozenset(State(name) for name in names)
    except ValueError as exc:
        raise InvalidValue(f"states: {exc}; there are {', '.join(State)}") from exc


def batches(values: Iterable[Any], batch_size: int) -> Iterator[list[Job]]:
    """Take jobs batch by batch, each when the last has been dealt with."""
    taken = iterator(values)
    most = size(batch_size)
    return iter(lambda: [job(value) for value in islice(taken, most)], [])


def own_hint(name: str, subject: str) -> Hint:
    """Return a hint of the caller's own. Raises `InvalidValue` for one that could be ours."""
    for what, text in (("name", name), ("subject", subject)):
        problem = (
            unstorable(text) if isinstance(text, str) else f"is {shown(text)}, which is no string"
        )
        if problem is not None:
            raise InvalidValue(f"notify: {what}: {problem}")
    if "." not in name or ":" in name or name.startswith(OURS):
        raise InvalidValue(
            f"notify: name must have a dot and no colon, and not begin with {', '.join(OURS)}, "
            f"which are ours: 'acme.refresh', say, not {name!r}"
        )
    made = Hint(name, subject)
    length = len(made.payload.encode())
    if length > LONGEST:
        raise InvalidValue(
            f"notify: name and subject must have at most {LONGEST - 1:,} bytes together, "
            f"not {length - 1:,}"
        )
    return made


def identity(reference: Named) -> UUID:
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
            f"not by {shown(reference)}"
        ) from exc


def identities(which: Which) -> "list[UUID] | JobFilter":
    """Return the ids that are meant, or the filter that finds them."""
    from chancy_core.filter import JobFilter

    if isinstance(which, JobFilter):
        return which
    if isinstance(which, Reference | UUID | str):
        raise InvalidValue(
            f"give several references, or a JobFilter, not the single {shown(which)}"
        )
    if not isinstance(which, Iterable):
        raise InvalidValue(f"give several references, or a JobFilter, not {shown(which)}")
    return [identity(reference) for reference in which]


def several(references: Iterable[Named]) -> list[UUID]:
    """Return the ids of several jobs, which no filter finds."""
    ids = identities(references)
    if not isinstance(ids, list):
        raise InvalidValue(f"give several references, not {ids!r}; list_jobs takes a JobFilter")
    return ids


def page(which: "JobFilter | None", limit: int) -> "JobFilter":
    """Return the filter of a list. Raises `InvalidValue` for no filter, or a page of no size."""
    from chancy_core.filter import JobFilter

    if not isinstance(which, JobFilter | None):
        raise InvalidValue(
            f"a list takes a JobFilter, such as JobFilter(queue='q'), not {shown(which)}"
        )
    if not isinstance(limit, int) or not 1 <= limit <= 10_000:
        raise InvalidValue(f"a page has 1 to 10,000 jobs, not {shown(limit)}")
    return which or JobFilter()


def check_resume(resume_at: datetime | timedelta | None) -> None:
    """Raise `InvalidValue` if a queue cannot become active then."""
    if resume_at is None:
        return
    if isinstance(resume_at, timedelta):
        fits = timedelta(0) <= resume_at <= timedelta(days=36_500)
    else:
        aware = isinstance(resume_at, datetime) and resume_at.utcoffset() is not None
        fits = aware and 1 < resume_at.year < 9999
    if not fits:
        raise InvalidValue(
            "resume_at must be a timedelta of up to 100 years, or a datetime with a time zone in "
            f"the years 2 to 9998, not {shown(resume_at)}"
        )
