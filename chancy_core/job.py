"""What a job is: `Job` as it is asked for, `QueuedJob` as it is stored, `Reference` to find it."""

import enum
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from attrs import evolve, field, frozen

from chancy_core.codec import unstorable
from chancy_core.errors import InvalidJob, JobFailed


class State(enum.StrEnum):
    """Where a job stands. The first three are live, the others final.

    A live job with `attempts > 0` is being retried; that is shown, not stored.
    """

    SCHEDULED = "scheduled"  #: due later: pushed so, or waiting for its next attempt
    PENDING = "pending"  #: due, waiting for a worker
    RUNNING = "running"  #: claimed by a worker, under a lease
    SUCCEEDED = "succeeded"
    FAILED = "failed"  #: its last attempt failed (an error, a limit, a dead child)
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"  #: its workers died too often while they ran it
    LOST = "lost"  #: begun, never to be begun again, and its worker died

    @property
    def finished(self) -> bool:
        """Whether this state is final (but for an operator's explicit retry)."""
        return self not in _LIVE


_LIVE = frozenset({State.SCHEDULED, State.PENDING, State.RUNNING})


class LimitKind(enum.StrEnum):
    """What a limit bounds."""

    TIME = "time"  #: seconds
    MEMORY = "memory"  #: bytes


def _limit_kind(kind: str) -> LimitKind:
    try:
        return LimitKind(kind)
    except ValueError as exc:
        raise InvalidJob(f"a limit is of Limit.Type.TIME or MEMORY, not {kind!r}") from exc


@frozen
class Limit:
    """The most that one attempt of a job may use.

    Time is kept by the worker on every executor; memory only where a job has a process of its
    own. An attempt that goes beyond its limit fails, and may be tried again.

        Limit(Limit.Type.TIME, 30)
    """

    Type = LimitKind

    kind: LimitKind = field(converter=_limit_kind)
    value: float = field()

    @value.validator
    def _positive(self, _: Any, value: float) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        _require(
            number and 0 < value < float("inf"),
            f"a {self.kind} limit must be a number above 0, not {value!r}",
        )


def _require(condition: object, message: str) -> None:
    if not condition:
        raise InvalidJob(message)


def _check_text(job: "Job", name: str, most: int) -> None:
    value = getattr(job, name)
    problem = unstorable(value) if isinstance(value, str) else f"is {value!r}, which is no string"
    if problem is None:
        size = len(value) if value.isascii() else len(value.encode())
        if 1 <= size <= most:
            return
        problem = f"must have 1 to {most} bytes, not {size}"
    raise InvalidJob(f"job {job.func!r}: {name}: {problem}")


def _check_integer(job: "Job", name: str, least: int) -> None:
    value = getattr(job, name)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= 32_767:
        return
    raise InvalidJob(
        f"job {job.func!r}: {name} must be a whole number from {least:,} to 32,767, not {value!r}"
    )


def _check_due(job: "Job", due: datetime) -> None:
    who = f"job {job.func!r}"
    _require(
        isinstance(due, datetime) and due.utcoffset() is not None,
        f"{who}: scheduled_at has no time zone; use datetime.now(UTC) or an aware one",
    )
    # In another time zone a year beyond these could not be read back.
    _require(1 < due.year < 9999, f"{who}: scheduled_at must be in the years 2 to 9998")


def _tuple(limits: Iterable[Limit]) -> tuple[Limit, ...]:
    return tuple(limits)


@frozen(kw_only=True)
class Job:
    """A call of a registered function, as a producer asks for it.

    *func* is the name that the function was registered under and *kwargs* its arguments, which
    must be JSON or structured by the function's annotations. Made best by `JobFunction.bind`.

    Raises `InvalidJob` when a value cannot be.
    """

    func: str = field(kw_only=False)
    kwargs: Mapping[str, Any] = field(factory=dict)
    queue: str = "default"
    #: Higher runs first, within its queue; -32,768 to 32,767.
    priority: int = 0
    max_attempts: int = 1
    #: Not before this instant; an aware datetime.
    scheduled_at: datetime | None = None
    limits: tuple[Limit, ...] = field(default=(), converter=_tuple)
    #: No two live jobs have the same; at most 512 bytes.
    unique_key: str | None = None
    #: Whatever travels with the job: for plugins, and for people.
    meta: Mapping[str, Any] = field(factory=dict)
    #: Once begun, never again, whatever happens to its worker: then it is `lost`.
    at_most_once: bool = False
    #: End the attempt while its lease is still sure: before another worker could begin the next.
    exclusive: bool = False
    #: Whether what the function returns is stored.
    keep_result: bool = True

    def __attrs_post_init__(self) -> None:
        _check_text(self, "func", 1000)
        _check_text(self, "queue", 400)
        if self.unique_key is not None:
            _check_text(self, "unique_key", 512)
        _check_integer(self, "priority", -32_768)
        _check_integer(self, "max_attempts", 1)
        for name in ("at_most_once", "exclusive", "keep_result"):
            given = getattr(self, name)
            _require(isinstance(given, bool), f"job {self.func!r}: {name} is a bool, not {given!r}")
        _require(
            not self.at_most_once or self.max_attempts == 1,
            f"job {self.func!r}: at_most_once leaves no second attempt: max_attempts must be 1, "
            f"not {self.max_attempts}",
        )
        for name, given in (("kwargs", self.kwargs), ("meta", self.meta)):
            if not isinstance(given, Mapping):
                raise InvalidJob(f"job {self.func!r}: {name} must be a mapping, not {type(given)}")
        for limit in self.limits:
            if not isinstance(limit, Limit):
                raise InvalidJob(f"job {self.func!r}: limits must be of Limit, not {limit!r}")
        if self.scheduled_at is not None:
            _check_due(self, self.scheduled_at)

    def options(self, **changes: Any) -> Self:
        """Return this job with other settings, such as `queue="mail"` or `priority=5`."""
        return evolve(self, **changes)

    def limit(self, kind: LimitKind) -> float | None:
        """Return the first limit of this kind, or None."""
        return next((limit.value for limit in self.limits if limit.kind is kind), None)


@frozen(kw_only=True)
class Failure:
    """How one attempt went wrong, as it is kept with the job."""

    #: Which attempt, from 1; 0 where none was counted.
    attempt: int
    #: `error`, `timeout`, `memory`, `child-died`, `unsupported`, `unknown-function`, `unreadable`
    kind: str
    #: The exception's class, and its text.
    type: str
    message: str
    traceback: str = ""


@frozen(kw_only=True)
class QueuedJob(Job):
    """A job as the database has it: live, running here, or finished."""

    id: UUID
    state: State
    #: How often it was claimed; never less. `(id, claims)` names one execution.
    claims: int = 0
    #: How many attempts have an outcome of the job's own making.
    attempts: int = 0
    #: How often a worker died while it ran the job.
    crashes: int = 0
    #: Who holds it, and by which lease: an outcome counts only with the lease that is current.
    worker: UUID | None = None
    lease_id: UUID | None = None
    #: Whether somebody asked for the running attempt to be ended.
    cancelling: bool = False
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    errors: tuple[Failure, ...] = ()
    #: What the function returned, as plain JSON data.
    returned: Any = None

    def __attrs_post_init__(self) -> None:
        """A row is taken as it is: what is in it was checked when it was pushed."""

    def result(self) -> Any:
        """Return what the function returned, as plain JSON data.

        Raises `JobFailed` when the job has not succeeded; the message carries the last error.
        """
        if self.state is State.SUCCEEDED:
            return self.returned
        last = f": {self.errors[-1].type}: {self.errors[-1].message}" if self.errors else ""
        raise JobFailed(f"job {self.id} ({self.func}) is {self.state}{last}")


@frozen
class Reference:
    """What `push` answers: the identity of a job, and whether this push made it."""

    id: UUID
    #: False when a live job already held the unique key: this refers to that one.
    new: bool = field(default=True, eq=False)

    def __str__(self) -> str:
        return str(self.id)
