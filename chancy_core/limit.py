"""What bounds an attempt: `Limit`, on time or on memory."""

import enum
from typing import Any

from attrs import field, frozen

from chancy_core.codec import shown
from chancy_core.errors import InvalidJob

#: The largest limits: some thirty years, and what a process could ever address.
_MOST = {"time": 1_000_000_000, "memory": 1 << 62}


class LimitKind(enum.StrEnum):
    """What a limit bounds."""

    TIME = "time"  #: seconds
    MEMORY = "memory"  #: bytes


def _limit_kind(kind: str) -> LimitKind:
    try:
        return LimitKind(kind)
    except ValueError as exc:
        raise InvalidJob(f"a limit is of Limit.Type.TIME or MEMORY, not {shown(kind)}") from exc


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
        most = _MOST[self.kind]
        if not number or not 0 < value <= most:
            raise InvalidJob(
                f"a {self.kind} limit must be a number above 0, at most {most:,}, "
                f"not {shown(value)}"
            )
