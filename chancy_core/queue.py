"""What a queue is: a global row of settings that every worker sees."""

import enum
import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from attrs import asdict, evolve, field, fields, frozen

from chancy_core.codec import decode, encode, shown, unstorable
from chancy_core.errors import InvalidQueue, InvalidValue
from chancy_core.tags import check_pattern

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


class QueueState(enum.StrEnum):
    """Whether workers claim the jobs of a queue. What runs already is never interrupted."""

    ACTIVE = "active"
    PAUSED = "paused"


def _state(state: str | None) -> QueueState | None:
    try:
        return None if state is None else QueueState(state)
    except ValueError as exc:
        raise InvalidQueue(
            f"a queue's state is Queue.State.ACTIVE or PAUSED, not {shown(state)}"
        ) from exc


def _patterns(tags: Iterable[str]) -> frozenset[str]:
    if isinstance(tags, str):
        raise InvalidQueue(
            f"tags must be a set of patterns, such as {{{shown(tags)}}}, not one string"
        )
    try:
        return frozenset(tags)
    except Exception as exc:  # the given value's own code may raise anything
        raise InvalidQueue(f"tags must be a set of patterns, not {shown(tags)}") from exc


def _require(condition: object, message: str) -> None:
    if not condition:
        raise InvalidQueue(message)


def _is_number(value: Any, kind: Any, least: float, most: float) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and bool(least <= value <= most)


def named(name: str) -> str:
    """Return the name of a queue that somebody asks for. Raises `InvalidValue` for what is none."""
    problem = unstorable(name) if isinstance(name, str) else "the name of a queue is a string"
    if problem is not None:
        raise InvalidValue(f"queue {shown(name)}: {problem}")
    return name


@frozen
class Queue:
    """How the jobs of one queue are run, and on which workers.

    Settings are stored when the queue is declared, and persist. *concurrency* holds for each
    worker; None leaves it to the executor. *tags* are regular expressions: a worker runs the
    queue if any of them matches any of its tags as a whole.

    Raises `InvalidQueue` when a setting makes no sense.
    """

    State = QueueState

    name: str
    concurrency: int | None = field(default=None, kw_only=True)
    tags: frozenset[str] = field(default=frozenset({".*"}), converter=_patterns, kw_only=True)
    #: None leaves it as it is; a new queue is active.
    state: QueueState | None = field(default=None, converter=_state, kw_only=True)
    #: The name of an installed executor (entry-point group `chancy.executors`).
    executor: str = field(default="process", kw_only=True)
    executor_options: Mapping[str, Any] = field(factory=dict, kw_only=True)
    #: Seconds after which a worker looks for jobs even if nothing woke it.
    polling_interval: float = field(default=5, kw_only=True)
    #: At most so many jobs are begun in any `rate_limit_window` seconds, by all workers together,
    #: and at most `rate_limit_burst` more.
    rate_limit: int | None = field(default=None, kw_only=True)
    rate_limit_window: float | None = field(default=None, kw_only=True)
    #: When a paused queue becomes active by itself; an aware datetime.
    resume_at: datetime | None = field(default=None, kw_only=True)
    #: Look for jobs after each that ends, even if the queue had run dry.
    eager_polling: bool = field(default=False, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InvalidQueue(
                f"a queue's name has 1 to 100 printable characters, unlike {shown(self.name)}"
            )
        who = f"queue {self.name!r}"
        _require(unstorable(self.name) is None, f"{who}: a lone surrogate is no text")
        _require(
            self.concurrency is None or _is_number(self.concurrency, int, 1, 10_000),
            f"{who}: concurrency must be 1 to 10,000 or None, not {shown(self.concurrency)}",
        )
        _require(
            isinstance(self.executor, str)
            and _NAME.fullmatch(self.executor)
            and unstorable(self.executor) is None,
            f"{who}: executor must be the name of one that is installed, "
            f"not {shown(self.executor)}",
        )
        _require(
            _is_number(self.polling_interval, int | float, 0.01, 3600),
            f"{who}: polling_interval must be 0.01 to 3,600 seconds, "
            f"not {shown(self.polling_interval)}",
        )
        for pattern in self.tags:
            check_pattern(pattern, self.name)
        _require(
            isinstance(self.eager_polling, bool),
            f"{who}: eager_polling is a bool, not {shown(self.eager_polling)}",
        )
        self._check_rate_limit(who)
        self._check_resume_at(who)
        self._check_options(who)

    def _check_rate_limit(self, who: str) -> None:
        limit, window = self.rate_limit, self.rate_limit_window
        _require(
            (limit is None) == (window is None),
            f"{who}: rate_limit and rate_limit_window go together: so many jobs in so many seconds",
        )
        _require(
            limit is None or _is_number(limit, int, 1, 1_000_000),
            f"{who}: rate_limit must be 1 to 1,000,000 jobs, not {shown(limit)}",
        )
        _require(
            window is None or _is_number(window, int | float, 0.01, 31 * 86_400),
            f"{who}: rate_limit_window must be 0.01 seconds to 31 days, not {shown(window)}",
        )

    def _check_resume_at(self, who: str) -> None:
        due = self.resume_at
        if due is None:
            return
        _require(
            isinstance(due, datetime) and due.utcoffset() is not None,
            f"{who}: resume_at has no time zone; use datetime.now(UTC) or an aware one",
        )
        _require(1 < due.year < 9999, f"{who}: resume_at must be in the years 2 to 9998")
        _require(
            self.state is QueueState.PAUSED,
            f"{who}: resume_at is for a paused queue: state must be Queue.State.PAUSED",
        )

    def _check_options(self, who: str) -> None:
        _require(
            isinstance(self.executor_options, Mapping),
            f"{who}: executor_options must be a mapping, not {shown(self.executor_options)}",
        )
        try:
            encode(self.executor_options, f"{who}: executor_options")
        except InvalidValue as exc:
            raise InvalidQueue(str(exc)) from exc

    @property
    def rate_limit_burst(self) -> int:
        """How many jobs may be begun at once after a pause: a tenth of the limit, at least one."""
        return math.ceil((self.rate_limit or 0) / 10)

    def options(self, **changes: Any) -> "Queue":
        """Return this queue with other settings, such as `concurrency=20`."""
        return evolve(self, **changes)

    def pack(self) -> dict[str, Any]:
        """Return this queue as plain JSON data, to be kept in a file, say, and unpacked later."""
        packed = asdict(self, recurse=False)
        packed["tags"] = sorted(self.tags)
        packed["state"] = None if self.state is None else self.state.value
        packed["executor_options"] = decode(encode(self.executor_options, "executor_options"))
        packed["resume_at"] = None if self.resume_at is None else self.resume_at.isoformat()
        return packed

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> "Queue":
        """Return the queue that `pack` wrote; what is missing has its default.

        Raises `InvalidQueue` when it makes no sense, or has settings that this version lacks.
        """
        known = [attribute.name for attribute in fields(cls)]
        if not isinstance(packed, Mapping) or "name" not in packed or set(packed) - set(known):
            raise InvalidQueue(f"{shown(packed)} is no packed queue, which has {', '.join(known)}")
        values = dict(packed)
        try:
            if values.get("resume_at") is not None:
                values["resume_at"] = datetime.fromisoformat(values["resume_at"])
            return cls(**values)
        except InvalidQueue:
            raise
        except (TypeError, ValueError) as exc:
            raise InvalidQueue(f"the packed queue {shown(packed['name'])}: {exc}") from exc
