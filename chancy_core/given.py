"""What callers give, brought to one form and refused here if it cannot be."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from chancy_core.codec import unstorable
from chancy_core.errors import InvalidJob, InvalidValue
from chancy_core.filter import JobFilter
from chancy_core.hint import LONGEST, Hint
from chancy_core.job import Job, Reference
from chancy_core.queue import Queue
from chancy_core.registry import JobFunction

#: A job, by what `push` answered, its id, or the id's text.
Named = Reference | UUID | str
#: What can be pushed: `my_job` means `my_job.bind()`.
Pushable = Job | JobFunction[..., Any]

#: How far ahead a queue's resuming may lie.
_LONGEST_PAUSE = timedelta(days=36_500)


def job(value: Any) -> Job:
    """Return the job to be pushed. Raises `InvalidJob` that says what to give."""
    if isinstance(value, JobFunction):
        value = value.bind()
    if not isinstance(value, Job):
        raise InvalidJob(f"push takes a Job, such as my_job.bind(x=1), not {value!r}")
    return _checked(value)


def _checked(value: Job) -> Job:
    """Look at a job as a whole: whether its arguments fit its function would be asked here."""
    return value


def size(value: int) -> int:
    """Return how many jobs one batch has."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10_000:
        raise InvalidValue(f"batch_size must be 1 to 10,000 jobs, not {value!r}")
    return value


def iterator(values: Iterable[Any]) -> Iterator[Any]:
    """Begin to iterate over jobs. Raises `InvalidJob` for what is one job, or none."""
    try:
        return iter(values)
    except TypeError:
        raise InvalidJob(
            f"push_many takes an iterable of jobs, such as a list or a generator, not {values!r}"
        ) from None


def batches(values: Iterable[Any], batch_size: int) -> Iterator[list[Job]]:
    """Take jobs batch by batch, each when the last has been dealt with."""
    taken = iterator(values)
    most = size(batch_size)
    return iter(lambda: [job(value) for value in islice(taken, most)], [])


def id_of(value: Any) -> UUID:
    """Return a job's id. Raises `InvalidValue` for what names no job."""
    if isinstance(value, Reference):
        return value.id
    if isinstance(value, UUID):
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass
    raise InvalidValue(
        "a job is named by the Reference that push answers, its id (a UUID) or the id's text, "
        f"not {value!r}"
    )


def ids_of(values: Iterable[Any]) -> list[UUID]:
    """Return the ids of jobs, in this order."""
    if isinstance(values, str | Reference | UUID):
        raise InvalidValue(f"several jobs are given as a list, such as [{values!r}], not as one")
    try:
        found = iter(values)
    except TypeError:
        raise InvalidValue(f"jobs are given as a list of references, not {values!r}") from None
    return [id_of(value) for value in found]


def which(values: Iterable[Any] | JobFilter) -> list[UUID] | JobFilter:
    """Return which jobs a bulk call is about."""
    return values if isinstance(values, JobFilter) else ids_of(values)


def page(which: JobFilter, limit: int, before: Any) -> tuple[JobFilter, int, UUID | None]:
    """Return which page of a list is wanted."""
    if not isinstance(which, JobFilter):
        raise InvalidValue(f"a list takes a JobFilter, such as JobFilter(queue='q'), not {which!r}")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 10_000:
        raise InvalidValue(f"limit must be 1 to 10,000 jobs a page, not {limit!r}")
    return which, limit, None if before is None else id_of(before)


def resumption(value: datetime | timedelta | None) -> datetime | timedelta | None:
    """Return when a paused queue becomes active. Raises `InvalidValue` for a naive datetime."""
    if value is None:
        return None
    if isinstance(value, timedelta):
        if not timedelta(0) < value <= _LONGEST_PAUSE:
            raise InvalidValue(f"resume_at must be in up to 100 years from now, not in {value!r}")
        return value
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidValue(
            "resume_at must be a timedelta, or a datetime with a time zone such as "
            f"datetime.now(UTC), not {value!r}"
        )
    if value > datetime.now(UTC) + _LONGEST_PAUSE:
        raise InvalidValue(f"resume_at must be in up to 100 years from now, not {value!r}")
    return value


def queue(value: Queue, *, check: bool) -> Queue:
    """Return the queue to be declared, its executor looked up if *check*."""
    from chancy_core.installed import find_executor

    if not isinstance(value, Queue):
        raise InvalidValue(f"declare takes a Queue, such as Queue('mail'), not {value!r}")
    if check:
        find_executor(value)
    return value


def wake(value: str) -> bool:
    """Return whether a push in the caller's transaction sends its hints inside of it."""
    if value not in {"poll", "notify"}:
        raise InvalidValue(f"wake must be 'poll' or 'notify', not {value!r}")
    return value == "notify"


def own_hint(name: str, subject: str) -> Hint:
    """Return a hint of the caller's own. Raises `InvalidValue` for one that could be ours."""
    for what, text in (("name", name), ("subject", subject)):
        problem = unstorable(text) if isinstance(text, str) else f"is {text!r}, which is no string"
        if problem is not None:
            raise InvalidValue(f"notify: {what}: {problem}")
    if "." not in name or ":" in name or name.startswith(("queue.", "job.")):
        raise InvalidValue(
            "notify: name must have a dot and no colon, and not begin with 'queue.' or 'job.', "
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
