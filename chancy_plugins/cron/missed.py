"""What becomes of runs whose time has passed while there was nobody to start them.

`skip`          they are not made up for
`run_once`      one run makes up for all of them
`catch_up(5)`   the last five of them are made up for
"""

import re
from collections import deque
from datetime import datetime, timedelta

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue
from chancy_plugins.cron.schedule import Schedule, just_before

SKIP, RUN_ONCE = "skip", "run_once"
#: By how much a run may be late, and yet is not one that was missed.
LATE = timedelta(seconds=60)
#: What was missed longer ago is not made up for.
FURTHEST = timedelta(days=366)
#: The most runs that can be made up for.
MOST = 1000
_CATCH_UP = re.compile(r"catch_up\(([1-9][0-9]{0,3})\)")


def catch_up(most: int) -> str:
    """Return the policy by which so many missed runs are made up for: the last ones, 1 to 1,000.

    Raises `InvalidValue`.
    """
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= MOST:
        raise InvalidValue(f"catch_up: it is 1 to {MOST:,} runs, not {shown(most)}")
    return f"catch_up({most})"


def allowance(missed: str) -> int:
    """Return how many missed runs a policy makes up for. Raises `InvalidValue`."""
    if missed in (SKIP, RUN_ONCE):
        return int(missed == RUN_ONCE)
    found = _CATCH_UP.fullmatch(missed) if isinstance(missed, str) else None
    if found is None or int(found[1]) > MOST:
        raise InvalidValue(
            f"missed must be {SKIP!r}, {RUN_ONCE!r} or catch_up(1) to catch_up({MOST}), "
            f"not {shown(missed)}"
        )
    return int(found[1])


def due(schedule: Schedule, missed: str, since: datetime, now: datetime) -> list[datetime]:
    """Return those ticks from *since* to *now* that are to be fired, the oldest first."""
    edge = now - LATE
    timely = list(schedule.between(just_before(max(since, edge)), now))
    most = allowance(missed)
    if since >= edge or most == 0 or (missed == RUN_ONCE and timely):
        return timely
    return [*_last(schedule, max(since, now - FURTHEST), edge, most), *timely]


def _last(schedule: Schedule, since: datetime, edge: datetime, most: int) -> list[datetime]:
    """Return the last *most* ticks from *since* on, before *edge*: looked for from its end."""
    span = timedelta(minutes=1)
    while True:
        begin = edge - min(span, edge - since)
        found = deque(schedule.between(just_before(begin), just_before(edge)), maxlen=most)
        if len(found) == most or begin == since:
            return list(found)
        span *= 2
