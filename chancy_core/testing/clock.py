"""The clock of a test's database: every statement asks it, and the kit may move it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from chancy_core import hint
from chancy_core.errors import InvalidValue, KitError
from chancy_core.hint import Hint
from chancy_core.statement import Names, Row, Statement, nothing
from chancy_core.testing.databases import MARK

if TYPE_CHECKING:
    from chancy_core.app import Chancy
    from chancy_core.store.carrying import Request

_LOOK = """
SELECT (SELECT coalesce(shobj_description(oid, 'pg_database') = %(mark)s, false)
          FROM pg_database WHERE datname = current_database()),
       prosrc LIKE '%%now()%%', {now}(), {now}() - now()
  FROM pg_proc WHERE oid = '{now}()'::regprocedure
"""
_SET = (
    "CREATE OR REPLACE FUNCTION {now}() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS "
)


@frozen
class Hands:
    """Where a clock stands: how far it is ahead, or at which instant it stands still."""

    now: datetime
    ahead: timedelta
    goes: bool = True

    def moved(self, by: timedelta) -> "Hands":
        """Return the hands after a move. Raises `InvalidValue` for a move back."""
        if by < timedelta(0):
            raise InvalidValue(
                f"the clock stands at {self.now}: it is moved forward only, since jobs that have "
                f"ended are looked for from the day on when they were pushed; not by {by}"
            )
        return evolve(self, now=self.now + by, ahead=self.ahead + by)

    def moved_to(self, at: datetime) -> "Hands":
        """Return the hands at an instant. Raises `InvalidValue` for one in the past, or naive."""
        if not isinstance(at, datetime) or at.utcoffset() is None:
            raise InvalidValue(f"the clock is moved to a datetime with a time zone, not to {at!r}")
        return self.moved(at - self.now)


def moved(names: Names, change: Callable[[Hands], Hands]) -> "Request[datetime]":
    """Ask that the clock be set to what *change* makes of its hands; answers what it shows then.

    Workers are told, since jobs may be due and pauses over. Raises `KitError` in a database that
    the kit has not made.
    """
    own, hands = yield _look(names)
    if not own:
        raise KitError(
            "the clock is moved in a database of a test's own and nowhere else: in one that the "
            "fixture chancy_dsn, or chancy_core.testing.database, has made"
        )
    yield _set(names, change(hands))
    yield Hint(hint.SCHEDULED, "")
    yield Hint(hint.RESUMED, "")
    _, hands = yield _look(names)
    now: datetime = hands.now
    return now


def _look(names: Names) -> Statement[tuple[bool, Hands]]:
    def read(found: Sequence[Row]) -> tuple[bool, Hands]:
        own, goes, now, ahead = found[0]
        # In UTC, where time is not put forward and back: it is reckoned with.
        return own, Hands(now.astimezone(UTC), ahead, goes)

    return Statement(names.render(_LOOK).encode(), {"mark": MARK}, read)


def _set(names: Names, hands: Hands) -> Statement[None]:
    from psycopg import sql

    body: sql.Composable = sql.SQL("SELECT now()")
    if not hands.goes:
        body = sql.SQL("SELECT {}").format(sql.Literal(hands.now))
    elif hands.ahead:
        # Seconds, since days would depend on the time zone of whoever asks.
        ahead = sql.Literal(hands.ahead.total_seconds())
        body = sql.SQL("SELECT now() + make_interval(secs => {})").format(ahead)
    made = sql.SQL(names.render(_SET)) + sql.Literal(body.as_string())
    return Statement(made.as_string().encode(), {}, nothing)


class Clock:
    """The clock of the database of one test's application, as everybody who uses that sees it.

        chancy_clock.advance(hours=1)

    What was to happen meanwhile is due now, and workers are told. The leases of workers live by
    this clock too: one that runs renews its own within seconds, before another may declare it
    dead; one that was killed is dead as soon as a living worker looks.

    Each call is short, blocks, and is the same in coroutines and in plain tests. Each raises
    `KitError` in a database that the kit has not made.
    """

    def __init__(self, chancy: "Chancy") -> None:
        self._chancy = chancy

    def now(self) -> datetime:
        """Return what the clock shows."""
        from chancy_core.store import requests

        return self._chancy.ask_sync(requests.one(_look(self._chancy.names)))[1].now

    def advance(
        self,
        by: timedelta | None = None,
        /,
        *,
        days: float = 0,
        hours: float = 0,
        minutes: float = 0,
        seconds: float = 0,
    ) -> datetime:
        """Move the clock forward; answers what it shows then.

        Raises `InvalidValue` for a move back.
        """
        by = by or timedelta()
        by += timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        return self._set(lambda hands: hands.moved(by))

    def advance_to(self, at: datetime) -> datetime:
        """Move the clock forward to *at*, an aware datetime.

        Raises `InvalidValue` if that is in the past.
        """
        return self._set(lambda hands: hands.moved_to(at))

    def freeze(self, at: datetime | None = None) -> datetime:
        """Stop the clock, at *at* or where it stands; it moves by `advance` alone.

        Nothing that waits for time then happens by itself: no lease runs out, no retry is due.
        Raises `InvalidValue` if *at* is in the past.
        """
        return self._set(
            lambda hands: evolve(hands if at is None else hands.moved_to(at), goes=False)
        )

    def unfreeze(self) -> datetime:
        """Let the clock go on from where it stands."""
        return self._set(lambda hands: evolve(hands, goes=True))

    def reset(self) -> datetime:
        """Let the clock show the real time again."""
        return self._set(lambda hands: evolve(hands, ahead=timedelta(), goes=True))

    def _set(self, change: Callable[[Hands], Hands]) -> datetime:
        return self._chancy.ask_sync(moved(self._chancy.names, change))
