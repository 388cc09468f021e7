"""When something is to run: a cron expression in a time zone, and its ticks.

What happens where clocks are put forward or back is Debian's rule. An entry that is for certain
times (neither its minute nor its hour begins with `*`) runs when the clocks first show the time: a
time that is skipped runs when the clocks have been put past it, all that are skipped together run
once, and a time that comes twice runs the first time. Any other runs whenever the clocks show a
time that it matches: not in what is skipped, and in both passes of what comes twice.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from types import ModuleType
from typing import Any

from attrs import Factory, field, frozen

from chancy_core.codec import said, shown
from chancy_core.errors import InvalidValue, MissingExtra
from chancy_plugins.cron.zones import reached, turn, wall, zone

#: What the usual names stand for.
NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
#: The most characters of an expression.
LONGEST = 200
#: What never runs within this time never runs.
HORIZON = timedelta(days=50 * 366)
_FORM = (
    "five fields are minute, hour, day of month, month and day of week, as '30 3 * * MON-FRI'; "
    "of six, seconds come first"
)
_SECOND, _MICROSECOND = timedelta(seconds=1), timedelta(microseconds=1)


def cronsim() -> ModuleType:
    """Return the library that reads expressions. Raises `MissingExtra`, which says what to do."""
    try:
        import cronsim
    except ImportError as exc:
        raise MissingExtra(
            "cron needs cronsim, which is not installed: pip install 'chancy[cron]'"
        ) from exc
    return cronsim


def fields_of(expression: str) -> str:
    """Return the five or six fields of an expression, or of a name. Raises `InvalidValue`."""
    who = f"cron expression {shown(expression)}"
    if not isinstance(expression, str) or len(expression) > LONGEST:
        raise InvalidValue(f"{who}: it must be a text of up to {LONGEST} characters; {_FORM}")
    fields = expression.strip()
    if fields.startswith("@"):
        if fields.lower() not in NAMES:
            raise InvalidValue(f"{who}: the names are {', '.join(NAMES)}")
        return NAMES[fields.lower()]
    count = len(fields.split())
    if count not in {5, 6}:
        raise InvalidValue(f"{who}: it has {count} fields; {_FORM}")
    library = cronsim()
    try:
        library.CronSim(fields, datetime(2000, 1, 1))  # noqa: DTZ001 - a wall has no zone
    except Exception as exc:  # whatever it makes of nonsense
        raise InvalidValue(f"{who}: {said(exc) or 'it makes no sense'}; {_FORM}") from exc
    return fields


def _is_fixed(schedule: "Schedule") -> bool:
    minute, hour = schedule.fields.split()[-5:-3]
    return not minute.startswith("*") and not hour.startswith("*")


@frozen
class Schedule:
    """A cron expression in a time zone.

        Schedule("0 3 * * *", "Europe/Paris").next(datetime.now(UTC))

    Raises `InvalidValue` for one that makes no sense.
    """

    expression: str
    tz: str = "UTC"
    #: The fields that the expression has, or stands for.
    fields: str = field(
        init=False,
        eq=False,
        repr=False,
        default=Factory(lambda self: fields_of(self.expression), takes_self=True),
    )
    zone: tzinfo = field(
        init=False,
        eq=False,
        repr=False,
        default=Factory(lambda self: zone(self.tz), takes_self=True),
    )
    #: Whether it is for certain times, and not for all that match.
    fixed: bool = field(
        init=False, eq=False, repr=False, default=Factory(_is_fixed, takes_self=True)
    )

    def next(self, after: datetime) -> datetime | None:
        """Return the first tick later than an instant, in UTC; None if there is none for 50 years.

        *after* has a time zone.
        """
        after = after.astimezone(UTC)
        try:
            return self._reached(after) if self.fixed else self._matching(after)
        except OverflowError:  # beyond the year 9999
            return None

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the ticks later than one instant, up to the other."""
        tick = self.next(after)
        while tick is not None and tick <= until:
            yield tick
            tick = self.next(tick)

    def explain(self) -> str:
        """Return what the expression means, in English; itself, if there are no words for it."""
        try:
            return str(self._walls(datetime(2000, 1, 1)).explain())  # noqa: DTZ001 - as above
        except Exception:  # noqa: BLE001 - whatever somebody else's grammar stumbles on
            return self.expression

    def _walls(self, after: datetime) -> Any:
        """Return the times on a wall that match, later than one: where no clock is ever put."""
        return cronsim().CronSim(self.fields, after)

    def _reached(self, after: datetime) -> datetime | None:
        for time in self._walls(wall(after, self.zone)):
            tick = reached(time, self.zone)
            if tick > after:
                return tick
            # It is in the second pass of what comes twice, and was reached in the first.
        return None

    def _matching(self, after: datetime) -> datetime | None:
        """Look from one turn of the clocks to the next: in between time passes as on a wall."""
        since, time = after, wall(after, self.zone)
        while since - after < HORIZON:
            match = next(self._walls(time), None)
            if match is None:
                return None
            tick: datetime = since + (match - wall(since, self.zone))
            turned = turn(since, tick, self.zone)
            if turned is None:
                return tick
            since, time = turned, wall(turned, self.zone) - _SECOND
        return None


def just_before(at: datetime) -> datetime:
    """Return an instant before *at*, and after all ticks before it."""
    return at - _MICROSECOND
