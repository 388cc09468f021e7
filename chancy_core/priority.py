"""How priorities are changed: to one that is told, or by so much. No I/O."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from attrs import frozen

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue

#: The priorities that a job can have.
LOWEST, HIGHEST = -32_768, 32_767
#: By how much one can be changed.
FARTHEST = HIGHEST - LOWEST


@frozen
class Priority:
    """Another priority: *to* this one, or *by* so much."""

    to: int | None = None
    by: int = 0

    @classmethod
    def asked(cls, priority: int | None, by: int | None) -> "Priority":
        """Return what is meant. Raises `InvalidValue` unless it is one of both, and a number."""
        if (priority is None) == (by is None):
            raise InvalidValue(
                "say to which priority, or by=... by how much it is to be changed, and not both: "
                f"not priority={shown(priority)}, by={shown(by)}"
            )
        if priority is not None:
            return cls(to=_number("priority", priority, LOWEST, HIGHEST))
        return cls(by=_number("by", by, -FARTHEST, FARTHEST))


def changes(more: Mapping[UUID, int], most: int) -> Mapping[UUID, int]:
    """Return by how much jobs are changed. Raises `InvalidValue` for what is no such thing."""
    _number("most", most, LOWEST, HIGHEST)
    for id_, by in more.items():
        if not isinstance(id_, UUID):
            raise InvalidValue(f"a job is changed by its UUID, not by {shown(id_)}")
        _number("a change of priority", by, -FARTHEST, FARTHEST)
    return more


def _number(what: str, given: Any, least: int, most: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not least <= given <= most:
        raise InvalidValue(
            f"{what} must be a whole number from {least:,} to {most:,}, not {shown(given)}"
        )
    return given
