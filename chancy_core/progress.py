"""How far a job has come, as its function says it while it runs."""

from typing import Any

from attrs import field, frozen

from chancy_core.codec import as_text, decode, shown, unstorable
from chancy_core.errors import InvalidValue

#: Where it stands in the job's meta.
PROGRESS = "progress"
#: The most characters of a note, and what no sensible count exceeds.
_LONGEST, _MOST = 200, 1e300


def _number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value <= _MOST


@frozen
class Progress:
    """So many steps *done*, *of* so many if that is known, and a note for people."""

    done: float = field()
    of: float | None = field(default=None)
    note: str = field(default="")

    @done.validator
    def _counts(self, _: Any, value: float) -> None:
        if not _number(value):
            raise InvalidValue(f"progress: done is a number, 0 or more, not {shown(value)}")

    @of.validator
    def _bounds(self, _: Any, value: float | None) -> None:
        if value is not None and not (value and _number(value)):
            raise InvalidValue(f"progress: of is a number above 0, or None, not {shown(value)}")

    @note.validator
    def _is_short(self, _: Any, value: str) -> None:
        if not isinstance(value, str) or len(value) > _LONGEST or unstorable(value):
            raise InvalidValue(
                f"progress: note is a text of at most {_LONGEST} characters, not {shown(value)}"
            )

    def plain(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        return {"done": self.done, "of": self.of, "note": self.note}

    @staticmethod
    def read(plain: Any) -> "Progress | None":
        """Return what `plain` wrote; None for anything else that somebody has put there."""
        try:
            return Progress(**plain)
        except (TypeError, InvalidValue):
            return None

    def text(self) -> str:
        """Return it as JSON."""
        return as_text(self.plain())

    @staticmethod
    def parse(text: str | bytes) -> "Progress | None":
        """Return what `text` wrote; None for anything else."""
        try:
            return Progress.read(decode(text))
        except (ValueError, RecursionError):
            return None

    def __str__(self) -> str:
        """Return it for people: `3 of 12 (25%) resizing`."""
        if self.of is None:
            return f"{self.done:g} {self.note}".rstrip()
        return f"{self.done:g} of {self.of:g} ({self.done / self.of:.0%}) {self.note}".rstrip()
