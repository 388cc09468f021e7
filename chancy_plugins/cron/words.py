"""Times as a person says them: in how long, and on which day."""

from datetime import datetime

from chancy_plugins.cron.schedule import Schedule
from chancy_plugins.cron.zones import wall

#: Whatever the locale of this process is.
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def in_words(seconds: float) -> str:
    """Return in how long something is: `in 40 s`, `in 5 min`, `in 3 h`, `in 12 days`."""
    if seconds < 0.5:
        return "now"
    for size, unit, most in ((1, "s", 90), (60, "min", 90), (3600, "h", 48)):
        if round(seconds / size) < most:
            return f"in {round(seconds / size)} {unit}"
    return f"in {round(seconds / 86_400):,} days"


def on_the_wall(at: datetime, now: datetime, schedule: Schedule) -> str:
    """Return what the clocks of an entry's zone show then: `Mon 3 Aug 03:00 Europe/Paris`."""
    time = wall(at, schedule.zone)
    year = "" if time.year == wall(now, schedule.zone).year else f" {time.year}"
    seconds = f"{time:%S}"
    clock = f"{time:%H:%M}" + ("" if seconds == "00" else f":{seconds}")
    day = f"{_DAYS[time.weekday()]} {time.day} {_MONTHS[time.month - 1]}{year}"
    return f"{day} {clock} {schedule.tz}"


def run_in_words(at: datetime, now: datetime, schedule: Schedule) -> str:
    """Return both: `in 3 h, Mon 3 Aug 03:00 Europe/Paris`."""
    return f"{in_words((at - now).total_seconds())}, {on_the_wall(at, now, schedule)}"
