"""What a queue is: a global row of settings that every worker sees."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from attrs import evolve, field, frozen

from chancy_core.errors import InvalidQueue
from chancy_core.tags import check_pattern

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


def _patterns(tags: Iterable[str]) -> frozenset[str]:
    if isinstance(tags, str):
        raise InvalidQueue(f"tags must be a set of patterns, such as {{{tags!r}}}, not one string")
    return frozenset(tags)


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
        if self.concurrency is not None and not 1 <= self.concurrency <= 10_000:
            raise InvalidQueue(
                f"queue {self.name!r}: concurrency must be 1 to 10,000 or None, "
                f"not {self.concurrency}"
            )
        if not 0.01 <= self.polling_interval <= 3600:
            raise InvalidQueue(
                f"queue {self.name!r}: polling_interval must be 0.01 to 3,600 seconds, "
                f"not {self.polling_interval}"
            )
        for pattern in self.tags:
            check_pattern(pattern, self.name)
        try:
            json.dumps(dict(self.executor_options), allow_nan=False)
        except (TypeError, ValueError) as exc:
            raise InvalidQueue(f"queue {self.name!r}: executor_options are no JSON: {exc}") from exc

    def options(self, **changes: Any) -> "Queue":
        """Return this queue with other settings, such as `concurrency=20`."""
        return evolve(self, **changes)
