"""Fires what is due: on any worker, by nobody's clock but the database's.

An entry is read with the time; what is to be fired, and when the next tick is, is worked out here;
then one transaction moves the entry on to that tick, stores the jobs and writes the fires down. It
does so only if the entry is still as it was read, so of all workers that have read it one
succeeds. One that dies has done all of it, or nothing, and the next who looks does it.
"""

import logging
import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import frozen

from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.host import Application
from chancy_core.statement import Statement
from chancy_plugins.cron import statements
from chancy_plugins.cron.entry import Entry, Listed
from chancy_plugins.cron.missed import LATE, due
from chancy_plugins.cron.statements import Fired, Held, Overtaken

log = logging.getLogger("chancy.cron")

#: What the database says of a value that it does not take: classes 22 (data) and 23 (integrity).
_REFUSED = ("22", "23")
#: What a row that makes no sense may raise where it is worked out; `InvalidValue` is among these.
_NONSENSE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError)


@frozen
class Turn:
    """What came of one look at what is due."""

    #: The key and the tick of each fire.
    fired: list[tuple[str, datetime]]
    #: Seconds until the next entry is due; None if there is none, as far as could be seen.
    next_in: float | None
    #: Whether some that were due were moved on, or taken by somebody else: there may be more.
    again: bool


class Firing:
    """Fires the entries of one application, and remembers those that it has to leave alone."""

    def __init__(self, app: Application) -> None:
        self._app = app
        #: Entries that cannot be fired here, in which revision.
        self._left: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()

    async def fire(self) -> Turn:
        """Fire what is due now. An entry that makes no sense is told of, and hinders no other."""
        database = self._app.database
        look = await database.run(statements.look(database.names, self._left))
        fired: list[tuple[str, datetime]] = []
        again = len(look.due) >= statements.BATCH  # there may be more than these
        for listed in random.sample(look.due, len(look.due)):  # not all in the same order
            try:
                ticks = await self._decide(listed, look.now)
                fired += [(listed.key, tick) for tick in ticks or ()]
                again |= ticks is not None
            except Overtaken:
                again = True
            except Exception as exc:
                if not is_of_the_entry(exc):
                    raise
                self._leave(listed, exc)
        return Turn(fired, look.next_in, again)

    async def _decide(self, listed: Listed, now: datetime) -> Sequence[datetime] | None:
        """Fire what is due of one entry, and move it on; None if that is not to be done here."""
        if listed.entry is None:
            self._leave(listed, listed.problem or "")
            return None
        entry, since = listed.entry, listed.next_at
        next_at = entry.schedule.next(now)
        if since is None:
            if next_at is None:  # and never will be
                self._left[listed.key] = listed.revision
                return None
            return await self._commit(listed, entry, [], next_at)
        ticks = due(entry.schedule, entry.missed, since, now)
        fired = await self._commit(listed, entry, ticks, next_at)
        if now - since > LATE:
            log.warning(
                "cron %s: nobody was there at %s; now, %s later, %d of its runs are begun (%s)",
                *(listed.key, since, now - since, len(fired), entry.missed),
            )
        return fired

    async def _commit(
        self,
        listed: Listed,
        entry: Entry,
        ticks: Sequence[datetime],
        next_at: datetime | None,
    ) -> Sequence[datetime]:
        """Move an entry on and fire these ticks, all or nothing; answers those that were fired."""
        app, names = self._app, self._app.names
        held: set[datetime] = set()
        while True:
            free = [tick for tick in ticks if tick not in held]
            push = app.pushing([entry.job_of(tick) for tick in free])
            jobs: dict[datetime, UUID | None] = dict.fromkeys(ticks)
            jobs |= dict(zip(free, push.jobs, strict=True))
            asked: list[Statement[Any]] = [statements.take(names, listed, next_at)]
            if free:
                asked.append(statements.whole(push))
            if ticks:
                asked.append(statements.record(names, entry.key, jobs))
            try:
                await app.database.run(*asked)
            except Held as exc:
                held |= {tick for tick, job in jobs.items() if job in exc.ids}
            except Fired as exc:  # before the database's clock was put back, or by an entry before
                ticks = [tick for tick in ticks if tick not in exc.ticks]
            else:
                await app.pushed(push, push.jobs)
                return ticks

    def _leave(self, listed: Listed, problem: Exception | str) -> None:
        """Leave an entry alone until somebody changes it, and say so once."""
        self._left[listed.key] = listed.revision
        text = problem if isinstance(problem, str) else codec.said(problem)
        if (listed.key, text) not in self._told:
            self._told.add((listed.key, text))
            trace = None if isinstance(problem, str | InvalidValue) else problem
            log.error("cron %s is not run by this worker: %s", listed.key, text, exc_info=trace)


def is_of_the_entry(exc: Exception) -> bool:
    """Whether an error is about one entry alone, and not about the database or the way to it."""
    state = getattr(exc, "sqlstate", None)
    return isinstance(exc, _NONSENSE) or (state is not None and state[:2] in _REFUSED)
