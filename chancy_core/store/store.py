"""Runs our statements, and knows what to do when a commit is in doubt or a value is refused."""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, overload
from uuid import UUID

import psycopg
from attrs import frozen

from chancy_core.errors import DatabaseError
from chancy_core.hint import Hint
from chancy_core.outcome import Settlement
from chancy_core.postgres import Lease, Pool
from chancy_core.statement import Names, Statement
from chancy_core.store.carrying import Request, carry_out
from chancy_core.store.running import persist, run_on
from chancy_core.store.settling import Along, Settling

T = TypeVar("T")

#: What passes by itself: a lost connection, a restart, a full disk, a server that is a read-only
#: standby by now (25006, which psycopg counts among the internal errors). Else it is a defect.
TRANSIENT = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    DatabaseError,
)


def backoff(tries: int, most: float = 10.0) -> float:
    """Return how long to wait after so many failures: exponential with full jitter, in seconds."""
    return random.uniform(0, min(most, 0.1 * 2.0 ** min(tries, 30)))  # 2.0**1024 is an error


@frozen
class Store:
    """The tables of one installation, by way of a pool of autocommit connections."""

    pool: Pool
    names: Names
    #: Seconds that each call may take; None for what the pool's connections allow.
    call_timeout: float | None = None

    @overload
    async def run(self, statement: Statement[T], /) -> T: ...
    @overload
    async def run(self, *statements: Statement[Any]) -> list[Any]: ...
    async def run(self, *statements: Statement[Any]) -> Any:
        """Run statements in one transaction; answers what each reads, of a single one just that.

        What the server undoes for the sake of others is tried again a few times.
        """
        return await persist(partial(self._run, statements))

    async def _run(self, statements: Sequence[Statement[Any]]) -> Any:
        async with self.connection() as conn:
            if len(statements) == 1:
                return await run_on(conn, statements[0])
            async with conn.transaction():
                return [await run_on(conn, statement) for statement in statements]

    def connection(self) -> Lease:
        """Borrow a connection for a block: `async with store.connection() as conn`."""
        return self.pool.connection(call_timeout=self.call_timeout)

    async def ask(self, request: Request[T], hint: Callable[[Hint], None]) -> T:
        """Carry out a request, each of its statements a transaction of its own."""
        return await carry_out(request, self.run, hint)

    async def settle(
        self, settled: Sequence[Settlement], *, again: bool = False, along: Along | None = None
    ) -> set[UUID]:
        """Write what became of attempts; answers the ids for which the outcomes counted.

        Outcomes under a lease that is no longer current are discarded. *again* says that an
        earlier try ended in doubt: what it did write is recognised by its lease. A value that
        the database refuses is found by halving, and replaced, alone. What plugins run *along*
        is committed with the outcomes.
        """
        return await Settling(self, along).settle(settled, again=again)
