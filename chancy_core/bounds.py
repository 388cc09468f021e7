"""What the fields of a job may be: each check names the job, and what would have been right."""

from datetime import datetime
from typing import TYPE_CHECKING

from chancy_core import codec
from chancy_core.errors import InvalidJob

if TYPE_CHECKING:
    from chancy_core.job import Job


def check_text(job: "Job", name: str, most: int) -> None:
    """Refuse what is no text that can be stored, of 1 to *most* bytes."""
    value = getattr(job, name)
    problem = (
        codec.unstorable(value)
        if isinstance(value, str)
        else f"is {codec.shown(value)}, which is no string"
    )
    if problem is None:
        size = len(value) if value.isascii() else len(value.encode())
        if 1 <= size <= most:
            return
        problem = f"must have 1 to {most} bytes, not {size}"
    raise InvalidJob(f"job {codec.shown(job.func)}: {name}: {problem}")


def check_integer(job: "Job", name: str, least: int) -> None:
    """Refuse what is no whole number, or does not fit into two bytes."""
    value = getattr(job, name)
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= 32_767:
        return
    raise InvalidJob(
        f"job {job.func!r}: {name} must be a whole number from {least:,} to 32,767, "
        f"not {codec.shown(value)}"
    )


def check_due(job: "Job", due: datetime) -> None:
    """Refuse an instant that is none everywhere, or could not be read back."""
    who = f"job {job.func!r}"
    if not isinstance(due, datetime) or due.utcoffset() is None:
        raise InvalidJob(
            f"{who}: scheduled_at has no time zone; use datetime.now(UTC) or an aware one"
        )
    # In another time zone a year beyond these could not be read back.
    if not 1 < due.year < 9999:
        raise InvalidJob(f"{who}: scheduled_at must be in the years 2 to 9998")


def check_flag(job: "Job", name: str) -> None:
    """Refuse what is neither true nor false."""
    given = getattr(job, name)
    if not isinstance(given, bool):
        raise InvalidJob(f"job {job.func!r}: {name} is a bool, not {codec.shown(given)}")
