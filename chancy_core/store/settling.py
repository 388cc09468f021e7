"""Writes what became of attempts, and what plugins want to be written with it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from attrs import evolve, frozen

from chancy_core import codec
from chancy_core.hooks import Plugin
from chancy_core.job import Failure, State
from chancy_core.outcome import Settlement, Verdict
from chancy_core.postgres import Connection
from chancy_core.statement import Names, Statement
from chancy_core.store import statements
from chancy_core.store.running import run_on

if TYPE_CHECKING:
    from chancy_core.store.store import Store

#: Statements of plugins.
Wanted = Sequence[tuple[Plugin, Sequence[Statement[Any]]]]
#: Asks each plugin for statements to run along with the settling of these jobs.
Along = Callable[[Sequence[Settlement], Names], Wanted]

#: Errors that a value of one job's can cause: bad data, beyond a limit, a broken CHECK, no text.
_VALUE_ERRORS = (
    psycopg.DataError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.IntegrityError,
    UnicodeEncodeError,
)


#: How long one statement of a plugin's may take: other jobs wait behind it.
_LIMITS = (
    b"SELECT set_config('statement_timeout', '2s', true), set_config('lock_timeout', '2s', true)"
)


@frozen
class Settling:
    """One batch on its way into a store."""

    store: "Store"
    along: Along | None = None

    async def settle(self, settled: Sequence[Settlement], *, again: bool = False) -> set[UUID]:
        """Write the batch, as `Store.settle` says."""
        settled = sorted(settled, key=lambda s: s.job.id.int)
        ended = [s for s in settled if s.verdict.state.finished]
        rest = [s for s in settled if not s.verdict.state.finished]
        counted: set[UUID] = set()
        if ended and again:
            counted = await self.store.run(statements.settled_before(self.store.names, ended))
        if ended:
            counted |= await self._settle_some(ended)
        if rest:
            requeued = await self._settle_some(rest)
            # What did not go back was wanted cancelled, or its lease is lost.
            cancelled = Verdict(State.CANCELLED, counted=False)
            stopped = [evolve(s, verdict=cancelled) for s in rest if s.job.id not in requeued]
            counted |= requeued
            counted |= await self._settle_some(stopped) if stopped else set()
        return counted

    async def _settle_some(self, settled: Sequence[Settlement]) -> set[UUID]:
        """Write settlements of one kind, all finished or none; replace what cannot be written.

        Those that take longer together than a statement may (`statement_timeout`) are halved, too.
        """
        try:
            return await self._write(settled)
        except psycopg.errors.QueryCanceled:
            if len(settled) == 1:
                raise
        except _VALUE_ERRORS as exc:
            if len(settled) == 1:
                return await self._write([_substitute(settled[0], exc)])
        middle = len(settled) // 2
        first = await self._settle_some(settled[:middle])
        return first | await self._settle_some(settled[middle:])

    async def _write(self, settled: Sequence[Settlement]) -> set[UUID]:
        """Write settlements of one kind; a missing partition of the history is made first."""
        try:
            return await self._commit(settled)
        except psycopg.errors.CheckViolation as exc:
            if exc.diag.constraint_name is not None:
                raise
        await self.store.run(statements.ensure_partitions(self.store.names))
        return await self._commit(settled)

    async def _commit(self, settled: Sequence[Settlement]) -> set[UUID]:
        make = statements.finish if settled[0].verdict.state.finished else statements.requeue
        statement = make(self.store.names, settled)
        wanted = self._wanted(settled)
        if not wanted:  # as of most jobs: then one statement is all, and commits itself
            return await self.store.run(statement)
        async with self.store.connection() as conn, conn.transaction():
            counted = await run_on(conn, statement)
            if len(counted) < len(settled):
                wanted = self._wanted([s for s in settled if s.job.id in counted])
            if wanted:
                await self._run_along(conn, wanted)
        return counted

    def _wanted(self, settled: Sequence[Settlement]) -> Wanted:
        """Return what plugins want to be run along with the settling of these jobs."""
        return self.along(settled, self.store.names) if self.along and settled else ()

    async def _run_along(self, conn: Connection, wanted: Wanted) -> None:
        """Run the statements of plugins; those of one that fails are rolled back, and no others."""
        await conn.execute(_LIMITS, binary=True)
        for plugin, several in wanted:
            try:
                async with conn.transaction():
                    for statement in several:
                        await run_on(conn, statement)
            except psycopg.Error as exc:
                if conn.broken or conn.closed:
                    raise
                plugin.blame("chancy_settling", exc)


def _substitute(refused: Settlement, exc: Exception) -> Settlement:
    """Return what is written in place of an outcome that the database refused."""
    # Its detail and its context would quote the value.
    said = exc.diag.message_primary if isinstance(exc, psycopg.Error) else None
    failure = Failure(
        attempt=refused.job.attempts + 1,
        kind="error",
        type=type(exc).__name__,
        message=codec.clean(f"PostgreSQL refused what the attempt gave: {said or exc}", 1000),
    )
    outcome = evolve(refused.outcome, result=None, failure=failure, meta=None)
    state = State.FAILED if refused.verdict.state is State.SUCCEEDED else refused.verdict.state
    return evolve(refused, outcome=outcome, verdict=evolve(refused.verdict, state=state))
