"""Times as they are typed: `90`, `10m`, `1h30m`, `2026-12-24T18:00`."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from cyclopts import Parameter

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
_MOST = timedelta(days=36_500)


def duration(text: str) -> timedelta:
    """Read seconds, or numbers with s, m, h, d or w behind each. Raises `ValueError`."""
    parts = [(text, "s")] if re.fullmatch(r"\d+(\.\d+)?", text) else _PART.findall(text)
    if not parts or (parts != [(text, "s")] and not _WHOLE.fullmatch(text)):
        raise ValueError(f"{text!r} is no duration, such as 90, 10m, 1h30m or 7d")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _MOST.total_seconds():
        raise ValueError(f"{text!r} is more than a hundred years")
    return timedelta(seconds=seconds)


def instant(text: str) -> datetime:
    """Read a date and time, in the terminal's time zone if it names none. Raises `ValueError`."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError) as exc:
        raise ValueError(
            f"{text!r} is no date and time, such as 2026-12-24T18:00 or 2026-12-24T17:00Z"
        ) from exc


def past(text: str) -> datetime:
    """Read a time as `instant` does, or as how long ago it was. Raises `ValueError`."""
    try:
        return datetime.now(UTC) - duration(text)
    except ValueError:
        pass
    try:
        return instant(text)
    except ValueError as exc:
        raise ValueError(f"{exc}, and no duration, such as 10m or 7d") from exc


def _reading(read: Any) -> Any:
    return lambda _, tokens: read(tokens[0].value)


Duration = Annotated[timedelta | None, Parameter(converter=_reading(duration), n_tokens=1)]
Instant = Annotated[datetime | None, Parameter(converter=_reading(instant), n_tokens=1)]
Past = Annotated[datetime | None, Parameter(converter=_reading(past), n_tokens=1)]
