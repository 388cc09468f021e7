"""What a queue is: a global row of settings that every worker sees."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from chancy_core.codec import encode, unstorable
from chancy_core.errors import InvalidQueue, InvalidValue
from chancy_core.tags import check_pattern

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


def _patterns(tags: Iterable[str]) -> frozenset[str]:
    if isinstance(tags, str):
        raise InvalidQueue(f"tags must be a set of patterns, such as {{{tags!r}}}, not one string")
    return frozenset(tags)


def _require(condition: object, message: str) -> None:
    if not condition:
        raise InvalidQueue(message)


def _is_number(value: Any, kind: Any, least: float, most: float) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and bool(least <= value <= most)


@frozen
class Queue:
    """How the jobs of one queue are run, and on which workers.

    Settings are stored when the queue is declared, and persist. *concurrency* holds for each
    worker; None leaves it to the executor. *tags* are regular expressions: a worker runs the
    queue if any of them matches any of its tags as a whole.

    Raises `InvalidQueue` when a setting makes no sense.
    """

    name: str
    concurrency: int | None = field(default=None, kw_only=True)
    tags: frozenset[str] = field(default=frozenset({".*"}), converter=_patterns, kw_only=True)
    #: The name of an installed executor (entry-point group `chancy.executors`).
    executor: str = field(default="process", kw_only=True)
    executor_options: Mapping[str, Any] = field(factory=dict, kw_only=True)
    #: Seconds after which a worker looks for jobs even if nothing woke it.
    polling_interval: float = field(default=5, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InvalidQueue(f"a queue's name has 1 to 100 printable characters: {self.name!r}")
        who = f"queue {self.name!r}"
        _require(unstorable(self.name) is None, f"{who}: a lone surrogate is no text")
        _require(
            self.concurrency is None or _is_number(self.concurrency, int, 1, 10_000),
            f"{who}: concurrency must be 1 to 10,000 or None, not {self.concurrency!r}",
        )
        _require(
            isinstance(self.executor, str) and _NAME.fullmatch(self.executor),
            f"{who}: executor must be the name of one that is installed, not {self.executor!r}",
        )
        _require(
            _is_number(self.polling_interval, int | float, 0.01, 3600),
            f"{who}: polling_interval must be 0.01 to 3,600 seconds, not {self.polling_interval!r}",
        )
        for pattern in self.tags:
            check_pattern(pattern, self.name)
        _require(
            isinstance(self.executor_options, Mapping),
            f"{who}: executor_options must be a mapping, not {self.executor_options!r}",
        )
        try:
            encode(self.executor_options, f"{who}: executor_options")
        except InvalidValue as exc:
            raise InvalidQueue(str(exc)) from exc

    def options(self, **changes: Any) -> "Queue":
        """Return this queue with other settings, such as `concurrency=20`."""
        return evolve(self, **changes)
