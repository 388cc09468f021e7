"""Drops days: takes each out of the history while everybody reads and writes it, then drops it.

First it is written down which table is to go. Taking it out is one statement that waits, holding
nothing, for the transactions that have the history open. If that takes too long it is interrupted:
the day is invisible by then, and is taken out for good the next time. Then the table is dropped,
by nobody missed. Whoever dies in between has left a note of what is to be done.
"""

import logging
from collections.abc import Callable
from datetime import date

import anyio

from chancy_core.host import Application
from chancy_plugins.retention import statements
from chancy_plugins.retention.calendar import Day
from chancy_plugins.retention.statements import Begun, NotOurs

log = logging.getLogger("chancy.retention")

#: Seconds for which other transactions are waited for, that have the history open.
PATIENCE = 25.0
#: A lock that somebody holds; a day that somebody else is taking out; a table that is gone.
_LOCKED, _BUSY, _GONE = frozenset({"55P03", "57014"}), "55000", "42P01"


class Kept(Exception):
    """A day could not be dropped, for the reason that this says."""


class Dropping:
    """Drops days of one application's history, for as long as one run takes."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._names = app.database.names

    async def finish(self, goes: Callable[[date], bool]) -> tuple[list[Begun], list[str]]:
        """Finish what somebody has begun, and was interrupted; answers what went, and problems.

        *goes* says whether a day that is there as before is to be dropped: else it is kept.
        """
        done: list[Begun] = []
        problems: list[str] = []
        for one in await self._app.database.run(statements.begun(self._names)):
            if not one.there or (one.attached and not one.leaving and not goes(one.day)):
                await self._app.database.run(statements.forget(self._names, one.day, one.oid))
            elif one.leaving or not one.attached:
                try:
                    if one.leaving:
                        await self._finalize(one.day)
                    await self._drop(one.day, one.oid)
                except Kept as exc:
                    problems.append(str(exc))
                else:
                    done.append(one)
        return done, problems

    async def drop(self, day: Day) -> None:
        """Drop a day. Raises `Kept` if that has to wait."""
        await self._app.database.run(statements.mean(self._names, day.day, day.oid))
        await self._detach(day)
        await self._drop(day.day, day.oid)

    async def _detach(self, day: Day) -> None:
        with anyio.move_on_after(PATIENCE) as waited:
            try:
                await self._app.database.run(statements.detach(self._names, day.day))
            except Exception as exc:
                state = getattr(exc, "sqlstate", None)
                if state == _BUSY:
                    raise Kept(
                        f"{day.table} stays: somebody is taking another day out of the history, or "
                        f"was interrupted, and then ALTER TABLE … FINALIZE ends it ({exc})"
                    ) from exc
                if state in {*_LOCKED, _GONE}:  # by a role that may not wait; by somebody else
                    raise Kept(f"{day.table} stays for now: {exc}") from exc
                raise
        if waited.cancelled_caught:
            raise Kept(
                f"{day.table} is dropped later: a transaction has had the history open for "
                f"{PATIENCE:g} s"
            )

    async def _finalize(self, day: date) -> None:
        run, names = self._app.database.run, self._names
        try:
            await run(statements.gently(names), statements.finalize(names, day))
        except Exception as exc:
            state = getattr(exc, "sqlstate", None)
            if state in {*_LOCKED, _BUSY, _GONE}:
                raise Kept(f"the day {day} is dropped later: {exc}") from exc
            raise

    async def _drop(self, day: date, oid: int) -> None:
        try:
            await self._app.database.run(*statements.drop(self._names, day, oid))
        except NotOurs:
            await self._app.database.run(statements.forget(self._names, day, oid))
            raise Kept(
                f"the table of {day} stays: it is not the one that was taken out of the history"
            ) from None
        except Exception as exc:
            state = getattr(exc, "sqlstate", None)
            if state in _LOCKED:
                raise Kept(f"the table of {day} is dropped later: {exc}") from exc
            if state != _GONE:
                raise
            await self._app.database.run(statements.forget(self._names, day, oid))
