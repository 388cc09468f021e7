"""All that is looked at, in its order."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import psycopg

from chancy_core.diagnosis import fleet, server, tables
from chancy_core.diagnosis.finding import Finding

if TYPE_CHECKING:
    from chancy_core.app import Chancy


async def diagnose(chancy: "Chancy") -> list[Finding]:
    """Look for what threatens the promise in the database of an open *chancy*.

        async with Chancy() as chancy:
            wrong = [found for found in await diagnose(chancy) if found.ok is False]

    A schema that does not fit this code is told without looking at what is in it.
    """
    return [finding async for finding in _all(chancy)]


async def _all(chancy: "Chancy") -> AsyncIterator[Finding]:
    fits = True
    async for finding in _allowed(tables.lines(chancy)):
        fits = fits and finding.ok is not False
        yield finding
    for look in (server.look, tables.look, fleet.look) if fits else (server.look,):
        async for finding in _allowed(look(chancy)):
            yield finding


async def _allowed(findings: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    """Pass findings on, as far as our user may look."""
    try:
        async for finding in findings:
            yield finding
    except psycopg.errors.InsufficientPrivilege as exc:
        says = f"not all could be looked at: {exc.diag.message_primary}"
        yield Finding("rights", None, says, "look as the owner of the tables")
