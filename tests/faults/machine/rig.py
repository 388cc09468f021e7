"""The real store on a real database, whose connections break when they are told to."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from anyio.from_thread import BlockingPortal
from attrs import evolve, frozen

from chancy_core.outcome import Settlement
from chancy_core.postgres import Connection, Pool
from chancy_core.statement import Statement
from chancy_core.store import statements
from chancy_core.store.requests import Request
from chancy_core.store.rows import Claimed
from chancy_core.store.running import run_on
from chancy_core.store.store import Store
from chancy_core.testing.clock import Hands, moved
from tests.postgres.stores import NAMES

T = TypeVar("T")


class Cut(psycopg.OperationalError):
    """The connection broke after the commit, and before the answer."""


class Broken:
    """A connection that breaks before its next statement but so many, or after its last."""

    def __init__(self, conn: Connection[Any], left: int, end: Callable[[int], None]) -> None:
        self._conn, self._left, self._end = conn, left, end

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        if self._left == 0:
            self.end()
        self._left -= 1
        return await self._conn.execute(*args, **kwargs)

    def end(self) -> None:
        self._end(self._conn.pgconn.backend_pid)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conn, name)


class BreakingPool:
    """A pool the next of whose blocks is cut: before a statement, or after its commit."""

    def __init__(self, pool: Pool, end: Callable[[int], None]) -> None:
        self._pool, self._end = pool, end
        #: How many statements of the next block are still run; None: all, and nothing is cut.
        self.cut: int | None = None
        #: Whether the last block came to its end, whatever its caller was told.
        self.committed = False
        #: Whether a block was begun since somebody last asked for a crash.
        self.used = False

    @asynccontextmanager
    async def connection(self, **_: Any) -> AsyncIterator[Any]:
        cut, self.cut, self.committed = self.cut, None, False
        self.used = True
        async with self._pool.connection() as conn:
            if cut is None:
                yield conn
                self.committed = True
                return
            broken = Broken(conn, cut, self._end)
            yield broken
            self.committed = True
            broken.end()
            raise Cut("the connection was cut after the commit")


@frozen
class Snapshot:
    """What the tables hold: rows by id or name, live jobs in the order of their places."""

    live: Mapping[UUID, Mapping[str, Any]]
    finished: Mapping[UUID, Mapping[str, Any]]
    workers: Mapping[UUID, tuple[Any, ...]]
    queues: Mapping[str, tuple[Any, ...]]
    rates: Mapping[str, tuple[Any, ...]]
    #: Ids that have more than one row.
    doubled: frozenset[UUID] = frozenset()


#: What is compared of a job's row, live or finished.
COLUMNS = (
    *("id", "queue", "state", "priority", "max_attempts", "attempts", "claims", "crashes"),
    *("unique_key", "at_most_once", "exclusive", "worker", "lease_id", "created_at"),
    *("scheduled_at", "started_at", "errors"),
)
_COLUMNS = ", ".join(COLUMNS).replace("errors", "coalesce(jsonb_array_length(errors), 0)")
_LOOK = (
    f"SELECT {_COLUMNS}, cancelling, NULL::timestamptz FROM {{jobs}} ORDER BY seq",
    f"SELECT {_COLUMNS}, false, finished_at FROM {{history}}",
    "SELECT id, dead, expires_at FROM {workers}",
    "SELECT name, state, resume_at, rate_limit, rate_limit_window FROM {queues}",
    "SELECT queue, tat, rate_limit, rate_limit_window FROM {rates}",
)
_FORGET = "".join(
    f"DELETE FROM {{{table}}};" for table in ("jobs", "history", "workers", "queues", "rates")
)


class Rig:
    """What the steps of the machine are done with; each call blocks until it is done."""

    def __init__(self, dsn: str, portal: BlockingPortal) -> None:
        self._portal = portal
        self._outside = psycopg.connect(dsn, autocommit=True, options="-c TimeZone=UTC")
        self._opened = portal.wrap_async_context_manager(Pool(dsn, min_size=1, max_size=1))
        self.pool = BreakingPool(self._opened.__enter__(), self._end)
        self.store = Store(self.pool, NAMES)  # type: ignore[arg-type]
        #: The connections that were broken so far.
        self.broken = 0
        #: Whether a statement was run since the last look.
        self.touched = True

    def close(self) -> None:
        self._opened.__exit__(None, None, None)
        self._outside.close()

    def _end(self, pid: int) -> None:
        """End a session, and wait until it has let go of all that it had locked."""
        self._outside.execute("SELECT pg_terminate_backend(%s)", [pid])
        there = "SELECT FROM pg_stat_activity WHERE pid = %s"
        while self._outside.execute(there, [pid]).fetchone() is not None:
            pass
        self.broken += 1

    def crash(self) -> None:
        """End the server's side of the store's idle connection; the store has not heard of it."""
        self.pool.used = False
        pids = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        for (pid,) in self._outside.execute(
            f"{pids} AND backend_type = 'client backend' AND pid <> pg_backend_pid()".encode()
        ).fetchall():
            self._end(pid)

    def begin(self) -> Any:
        """Forget all that was done, and let the clock stand at the real time; answers it."""
        self.pool.cut = None
        self._outside.execute(NAMES.render(_FORGET).encode())
        return self._move(lambda hands: evolve(hands, now=hands.now - hands.ahead, goes=False))

    def tick(self, seconds: float) -> Any:
        """Move the database's clock, which stands still otherwise; answers what it shows.

        After days of it the history has its partitions, as workers see to daily.
        """
        from datetime import timedelta

        now = self._move(lambda hands: evolve(hands, now=hands.now + timedelta(seconds=seconds)))
        if seconds >= 86_400:
            self._outside.execute(NAMES.render("SELECT {ensure_partitions}(1)").encode())
        return now

    def _move(self, change: Callable[[Hands], Hands]) -> Any:
        cut, self.pool.cut = self.pool.cut, None
        try:
            return self.ask(moved(NAMES, change))
        except psycopg.OperationalError:  # the connection had been ended while it was idle
            return self.ask(moved(NAMES, change))
        finally:
            self.pool.cut = cut

    def run(self, *asked: Statement[Any]) -> Any:
        return self._call(self.store.run, *asked)

    def ask(self, request: Request[T]) -> T:
        return self._call(self.store.ask, request, lambda _: None)

    def _call(self, func: Callable[..., Awaitable[T]], *args: Any) -> T:
        self.touched = True
        return self._portal.call(func, *args)

    def settle(self, settled: Sequence[Settlement]) -> tuple[set[UUID], bool]:
        """Write outcomes as a worker does; answers which counted, and whether it had to repeat."""
        tries = 0
        while True:
            try:
                return self._call(self._settle, settled, tries > 0), tries > 0
            except psycopg.OperationalError:
                tries += 1
                assert tries < 10

    def settle_again(self, settled: Sequence[Settlement]) -> set[UUID]:
        """Write outcomes whose first writing seemed to fail."""
        return self._call(self._settle, settled, True)

    async def _settle(self, settled: Sequence[Settlement], again: bool) -> set[UUID]:
        return await self.store.settle(settled, again=again)

    def claim_limited(
        self, worker: UUID, queue: str, free: int, *, suspect: bool
    ) -> tuple[int, list[Claimed]] | None:
        """Claim behind a queue's rate limit, as a worker does; answers the budget, and the jobs."""
        return self._call(self._claim_limited, worker, {queue: free}, suspect)

    async def _claim_limited(
        self, worker: UUID, free: dict[str, int], suspect: bool
    ) -> tuple[int, list[Claimed]] | None:
        ((queue, most),) = free.items()
        async with self.store.pool.connection() as conn, conn.transaction():
            budget = await run_on(conn, statements.rate_lock(NAMES, queue))
            if budget is None:
                return None
            asked = {queue: min(budget[0], most)}
            claims: list[Claimed] = []
            if asked[queue]:
                claim = statements.claim(NAMES, worker, asked, suspect=suspect, limited=True)
                claims = await run_on(conn, claim)
            if claims:
                await run_on(conn, statements.rate_charge(NAMES, queue, len(claims)))
        return budget[0], claims

    def look(self) -> Snapshot:
        """Read all tables, from outside."""
        with self._outside.pipeline():
            asked = [self._outside.execute(NAMES.render(text).encode()) for text in _LOOK]
        live, finished, workers, queues, rates = (cursor.fetchall() for cursor in asked)
        ids = [row[0] for row in live + finished]
        doubled = frozenset() if len(set(ids)) == len(ids) else {i for i in ids if ids.count(i) > 1}
        return Snapshot(
            *({row[0]: _row(row) for row in rows} for rows in (live, finished)),
            *({row[0]: row[1:] for row in rows} for rows in (workers, queues, rates)),
            doubled=frozenset(doubled),
        )


def _row(row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip((*COLUMNS, "cancelling", "finished_at"), row, strict=True))
