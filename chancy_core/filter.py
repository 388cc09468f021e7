"""Which jobs are meant: `JobFilter`; what lists and bulk calls answer: `Page` and `Answer`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import field, frozen

from chancy_core.codec import encode, shown, unstorable
from chancy_core.errors import InvalidValue
from chancy_core.job import QueuedJob, State


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


@frozen(kw_only=True)
class JobFilter:
    """Jobs, live or finished, that have all of these properties; what is None does not matter.

    Where one value is taken, several are as well: `JobFilter(state=["failed", "lost"])`.

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

    def __attrs_post_init__(self) -> None:
        for name in ("queue", "func", "unique_key"):
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
