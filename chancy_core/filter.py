"""Which jobs are meant: `JobFilter`; what lists and bulk calls answer: `Page` and `Answer`."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from attrs import field, frozen

from chancy_core.codec import encode, shown, unstorable
from chancy_core.errors import InvalidValue
from chancy_core.job import QueuedJob, State

#: Of how many filters one may be put together.
MOST = 100


def _texts(given: str | Iterable[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    if isinstance(given, str):
        return (given,)
    if not isinstance(given, Iterable):
        raise InvalidValue(f"a filter takes a string or several, not {shown(given)}")
    return tuple(given)


def _states(given: str | Iterable[str] | None) -> tuple[State, ...] | None:
    try:
        return None if given is None else tuple(State(state) for state in _texts(given) or ())
    except ValueError as exc:
        raise InvalidValue(f"state: {exc}; there are {', '.join(State)}") from exc


def _instant(_: Any, attribute: Any, value: datetime | None) -> None:
    if value is not None and (not isinstance(value, datetime) or value.utcoffset() is None):
        raise InvalidValue(
            f"{attribute.name} must be a datetime with a time zone, not {shown(value)}"
        )


def _age(_: Any, attribute: Any, value: timedelta | None) -> None:
    if value is not None and not isinstance(value, timedelta):
        raise InvalidValue(f"{attribute.name} must be a timedelta, not {shown(value)}")


def _number(_: Any, attribute: Any, value: int | None) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (whole and abs(value) < 2**31):
        raise InvalidValue(f"{attribute.name} must be a whole number, not {shown(value)}")


def _filters(given: "Iterable[JobFilter]") -> "tuple[JobFilter, ...]":
    if isinstance(given, Iterable):
        return tuple(given)
    raise InvalidValue(f"a filter is put together of several filters, not of {shown(given)}")


@frozen(kw_only=True)
class JobFilter:
    """Jobs, live or finished, that have all of these properties; what is None does not matter.

    Where one value is taken, several are as well: `JobFilter(state=["failed", "lost"])`. Filters
    are put together by `&`, `|` and `~`: the last is for the jobs that do not pass.

        JobFilter(func_like="acme.mail.*") & ~JobFilter(queue="slow") | JobFilter(priority_from=5)

    Raises `InvalidValue` for what no job can have.
    """

    queue: tuple[str, ...] | None = field(default=None, converter=_texts)
    func: tuple[str, ...] | None = field(default=None, converter=_texts)
    state: tuple[State, ...] | None = field(default=None, converter=_states)
    unique_key: tuple[str, ...] | None = field(default=None, converter=_texts)
    #: Whether it is live after at least one attempt; see `QueuedJob.retrying`.
    retrying: bool | None = None
    #: The incarnation that holds it, or held it last.
    worker: UUID | None = None
    created_after: datetime | None = field(default=None, validator=_instant)
    created_before: datetime | None = field(default=None, validator=_instant)
    #: Entries that the job's meta has, among others (`jsonb @>`).
    meta: Mapping[str, Any] | None = None
    #: Patterns, in which `*` stands for any text, and upper and lower case are one.
    queue_like: tuple[str, ...] | None = field(default=None, converter=_texts)
    func_like: tuple[str, ...] | None = field(default=None, converter=_texts)
    #: Pushed longer ago than this, by the database's clock.
    older_than: timedelta | None = field(default=None, validator=_age)
    scheduled_after: datetime | None = field(default=None, validator=_instant)
    scheduled_before: datetime | None = field(default=None, validator=_instant)
    #: The least, and the most.
    priority_from: int | None = field(default=None, validator=_number)
    priority_to: int | None = field(default=None, validator=_number)
    attempts_from: int | None = field(default=None, validator=_number)
    attempts_to: int | None = field(default=None, validator=_number)
    #: Each of these filters is passed; at least one of those; none of these. See `&`, `|`, `~`.
    all_of: tuple["JobFilter", ...] = field(default=(), converter=_filters)
    any_of: tuple["JobFilter", ...] = field(default=(), converter=_filters)
    none_of: tuple["JobFilter", ...] = field(default=(), converter=_filters)

    def __and__(self, other: "JobFilter") -> "JobFilter":
        return JobFilter(all_of=(self, other)) if isinstance(other, JobFilter) else NotImplemented

    def __or__(self, other: "JobFilter") -> "JobFilter":
        return JobFilter(any_of=(self, other)) if isinstance(other, JobFilter) else NotImplemented

    def __invert__(self) -> "JobFilter":
        return JobFilter(none_of=(self,))

    @property
    def parts(self) -> "Iterator[JobFilter]":
        """This filter, and all that it is put together of."""
        yield self
        for one in (*self.all_of, *self.any_of, *self.none_of):
            yield from one.parts

    def __attrs_post_init__(self) -> None:
        within = (*self.all_of, *self.any_of, *self.none_of)
        for one in within:
            if not isinstance(one, JobFilter):
                raise InvalidValue(f"a filter is put together of filters, not of {shown(one)}")
        if within and sum(1 for _ in self.parts) > MOST:
            raise InvalidValue(f"a filter is put together of {MOST} filters at most")
        for name in ("queue", "func", "unique_key", "queue_like", "func_like"):
            for value in getattr(self, name) or ():
                problem = unstorable(value) if isinstance(value, str) else "it is no string"
                if problem is not None:
                    raise InvalidValue(
                        f"{name} must be a string or several, not {shown(value)}: {problem}"
                    )
        if not isinstance(self.retrying, bool | None):
            raise InvalidValue(f"retrying must be a bool, not {shown(self.retrying)}")
        if self.worker is not None and not isinstance(self.worker, UUID):
            raise InvalidValue(
                f"worker must be the UUID of an incarnation, not {shown(self.worker)}"
            )
        if self.meta is not None:
            encode(self.meta, "meta")


@frozen
class Page:
    """Some jobs, the newest first, and where the next page begins."""

    jobs: list[QueuedJob]
    #: What to give as `before` for the next page; None when this is the last.
    next: UUID | None


@frozen
class Answer:
    """What became of one job of a bulk call: *done*, or skipped; *what* says how, or why."""

    id: UUID
    done: bool
    what: str
