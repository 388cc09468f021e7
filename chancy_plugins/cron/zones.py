"""Time zones by name, what the clocks in them show, and where these are put forward or back."""

import difflib
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, available_timezones

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue

#: Within so much time no clock is put forward and back again.
_STEP = timedelta(days=1)
_SECOND = timedelta(seconds=1)
#: Names that mean another zone on each machine.
_OWN = frozenset({"localtime", "posixrules"})


def zone(name: str) -> tzinfo:
    """Return a time zone by its name, such as `Europe/Paris`. Raises `InvalidValue`."""
    if name == "UTC":  # which is there where no database of time zones is
        return UTC
    try:
        if isinstance(name, str) and name not in _OWN:
            return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as exc:
        raise InvalidValue(f"time zone {shown(name)}: {_advice(name)}") from exc
    raise InvalidValue(f"time zone {shown(name)}: it must be one such as 'Europe/Paris' or 'UTC'")


def _advice(name: str) -> str:
    known = {one.lower(): one for one in available_timezones()}
    if not known:
        return "there is no database of time zones here: `pip install tzdata`"
    close = difflib.get_close_matches(name[:100].lower(), known, n=3)
    meant = " or ".join(repr(known[one]) for one in close) or "'Europe/Paris'"
    return f"there is none of this name here; names are like {meant}"


def wall(at: datetime, where: tzinfo) -> datetime:
    """Return what the clocks of a zone show at an instant: a time without a zone."""
    return at.astimezone(where).replace(tzinfo=None, fold=0)


def turn(after: datetime, until: datetime, where: tzinfo) -> datetime | None:
    """Return the first instant, later than one and up to the other, at which the clocks are put.

    They are put at whole seconds. None if that does not happen.
    """
    if where is UTC:
        return None
    low = after.replace(microsecond=0)
    ahead = _ahead(low, where)
    while low < until:
        high = min(low + _STEP, until)
        if _ahead(high, where) != ahead:
            return _between(low, high, where)
        low = high
    return None


def _between(low: datetime, high: datetime, where: tzinfo) -> datetime:
    ahead = _ahead(low, where)
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if _ahead(middle, where) == ahead:
            low = middle
        else:
            high = middle
    return high


def _ahead(at: datetime, where: tzinfo) -> timedelta | None:
    return at.astimezone(where).utcoffset()


def reached(time: datetime, where: tzinfo) -> datetime:
    """Return the instant at which the clocks of a zone first show *time*, or are put past it."""
    first = time.replace(tzinfo=where).astimezone(UTC)
    if wall(first, where) == time:
        return first
    # As if the clocks had been put already, and as if they never were: they are in between.
    past = turn(time.replace(tzinfo=where, fold=1).astimezone(UTC), first, where)
    assert past is not None, f"{time} is shown in {where} neither before nor after"
    return past
