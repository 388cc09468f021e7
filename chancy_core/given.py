"""What callers give, brought to one form and refused here if it cannot be."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Protocol

from chancy_core import registry
from chancy_core.codec import shown, unstorable
from chancy_core.errors import InvalidJob, InvalidValue
from chancy_core.function import JobFunction
from chancy_core.hint import LONGEST, OURS, Hint
from chancy_core.job import Job, Reference, State

#: What can be pushed: `my_job` means `my_job.bind()`.
Pushable = Job | JobFunction[..., Any]


class Follower(Protocol):
    """Who does something with each batch of jobs once it is stored; the push waits for it."""

    async def follow(self, references: Sequence[Reference]) -> None:
        """Do it on the event loop of the push."""

    def follow_sync(self, references: Sequence[Reference]) -> None:
        """Do it in the thread of the push."""


#: How many jobs are pushed in one transaction, if nobody says.
BATCH = 1000


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
