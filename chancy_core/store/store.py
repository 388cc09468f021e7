"""Runs our statements, and knows what to do when a commit is in doubt or a value is refused."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

import psycopg
from attrs import evolve, frozen

from chancy_core import codec
from chancy_core.errors import DatabaseError
from chancy_core.hint import Hint
from chancy_core.job import Failure, State
from chancy_core.outcome import Verdict
from chancy_core.postgres import Connection, Pool
from chancy_core.statement import Names, Statement
from chancy_core.store import statements
from chancy_core.store.requests import Request, carry_out
from chancy_core.store.statements import Settlement

T = TypeVar("T")

#: Errors that a value of one job's can cause: bad data, beyond a limit, a broken CHECK, no text.
_VALUE_ERRORS = (
    psycopg.DataError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
    psycopg.IntegrityError,
    UnicodeEncodeError,
)

#: What passes by itself: a lost connection, a restart, a full disk. Anything else is a defect.
TRANSIENT = (psycopg.OperationalError, psycopg.InterfaceError, DatabaseError)


def backoff(tries: int, most: float = 10.0) -> float:
    """Return how long to wait after so many failures: exponential with full jitter, in seconds."""
    return random.uniform(0, min(most, 0.1 * 2.0**tries))


async def run_on(conn: Connection, statement: Statement[T]) -> T:
    """Run a statement on a connection and read its answer."""
    cursor = await conn.execute(statement.text, statement.params, binary=True)
    return statement.read(await cursor.fetchall() if cursor.description else ())


@frozen
class Store:
    """The tables of one installation, by way of a pool of autocommit connections."""

    pool: Pool
    names: Names

    async def run(self, statement: Statement[T]) -> T:
        """Run one statement, which is a transaction of its own."""
        async with self.pool.connection() as conn:
            return await run_on(conn, statement)

    async def ask(self, request: Request[T], hint: Callable[[Hint], None]) -> T:
        """Carry out a request, each of its statements a transaction of its own."""
        return await carry_out(request, self.run, hint)

    async def settle(self, settled: Sequence[Settlement], *, again: bool = False) -> set[UUID]:
        """Write what became of attempts; answers the ids for which the outcomes counted.

        Outcomes under a lease that is no longer current are discarded. *again* says that an
        earlier try ended in doubt: what it did write is recognised by its lease. A value that
        the database refuses is found by halving, and replaced, alone.
        """
        settled = sorted(settled, key=lambda s: s.job.id)
        ended = [s for s in settled if s.verdict.state.finished]
        rest = [s for s in settled if not s.verdict.state.finished]
        counted: set[UUID] = set()
        if ended and again:
            counted = await self.run(statements.settled_before(self.names, ended))
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
        """Write settlements of one kind, all finished or none; replace what cannot be written."""
        try:
            return await self._write(settled)
        except _VALUE_ERRORS as exc:
            if len(settled) == 1:
                return await self._write([_substitute(settled[0], exc)])
        middle = len(settled) // 2
        first = await self._settle_some(settled[:middle])
        return first | await self._settle_some(settled[middle:])

    async def _write(self, settled: Sequence[Settlement]) -> set[UUID]:
        """Write settlements of one kind; a missing partition of the history is made first."""
        make = statements.finish if settled[0].verdict.state.finished else statements.requeue
        statement = make(self.names, settled)
        try:
            return await self.run(statement)
        except psycopg.errors.CheckViolation as exc:
            if exc.diag.constraint_name is not None:
                raise
        await self.run(statements.ensure_partitions(self.names))
        return await self.run(statement)


def _substitute(refused: Settlement, exc: Exception) -> Settlement:
    """Return what is written in place of an outcome that the database refused."""
    failure = Failure(
        attempt=refused.job.attempts + 1,
        kind="error",
        type=type(exc).__name__,
        message=codec.clean(f"PostgreSQL refused what the attempt gave: {exc}", 1000),
    )
    outcome = evolve(refused.outcome, result=None, failure=failure, meta=None)
    state = State.FAILED if refused.verdict.state is State.SUCCEEDED else refused.verdict.state
    return evolve(refused, outcome=outcome, verdict=evolve(refused.verdict, state=state))
