"""A pool of connections whose tasks live in the block that opened it."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Self

import anyio
import psycopg

from chancy_core.errors import InvalidValue
from chancy_core.postgres import preparing
from chancy_core.postgres.connection import Connection
from chancy_core.postgres.dsn import conninfo as make_conninfo
from chancy_core.postgres.failures import CallTimeout, PoolClosed, PoolExhausted
from chancy_core.postgres.keeping import Backoff, Entry, Keeping, Waiter, is_fatal
from chancy_core.postgres.stats import PoolStats

logger = logging.getLogger("chancy.postgres")

Configure = Callable[[Connection[Any]], Awaitable[None]]


class Pool(Keeping):
    """Connections that are opened once and lent many times.

    `async with pool` opens it without waiting for the server. All times are in seconds. Connections
    are autocommit by default; one that comes back inside of a transaction is rolled back, and one
    that is broken, too old (`max_lifetime`, less up to a tenth) or was left with an error of the
    session (class 08, 57P01 to 57P03, 25006, 53300) is replaced. One that was idle for
    `check_after` answers a query before it is lent. `configure` is called with each new connection.
    Repeated statements are prepared if `prepared_statements`; by default, unless a pooler stands
    between. Whatever else is given goes to `Connection.connect`.

        async with Pool("postgresql://db/app") as pool:
            async with pool.connection() as conn:
                await conn.execute("SELECT 1")
    """

    def __init__(
        self,
        conninfo: str | Mapping[str, Any] = "",
        *,
        min_size: int = 1,
        max_size: int = 10,
        timeout: float = 30.0,
        max_lifetime: float = 3600.0,
        max_idle: float = 600.0,
        check_after: float = 30.0,
        close_timeout: float = 5.0,
        backoff: Backoff | None = None,
        configure: Configure | None = None,
        autocommit: bool = True,
        prepared_statements: bool | None = None,
        **connect: Any,
    ) -> None:
        _check_sizes(min_size, max_size)
        self.conninfo = make_conninfo(conninfo)
        self.timeout = timeout
        self.close_timeout = close_timeout
        super().__init__(
            min_size=min_size,
            max_size=max_size,
            max_lifetime=max_lifetime,
            max_idle=max_idle,
            check_after=check_after,
            backoff=backoff or Backoff(),
        )
        self._configure = configure
        self._prepared = prepared_statements
        self._connect = {"autocommit": autocommit, **connect}
        self._requests = self._queued = self._timeouts = 0

    # -- lending -----------------------------------------------------------------------------------

    def connection(
        self, timeout: float | None = None, *, call_timeout: float | None = None
    ) -> "Lease":
        """Lend a connection for a block, after `timeout` seconds of waiting at most.

        Who waits is served in order. `call_timeout` is for each call, instead of the pool's.
        Raises `PoolExhausted`, which says why none became free, or `PoolClosed`.
        """
        return Lease(self, self.timeout if timeout is None else timeout, call_timeout)

    async def take(self, timeout: float) -> Entry:
        """Take a connection out of the pool; it must be given back."""
        if not self.is_open:
            msg = "the pool is not open: use it inside of its `async with` block"
            raise PoolClosed(msg)
        self._requests += 1
        while self._idle and not self._waiters:
            entry = self._idle.pop()
            # The usual way: nothing is awaited.
            if self.is_fresh(entry) or await self.answers(entry):
                return entry
        return await self._wait_for_one(timeout)

    async def _wait_for_one(self, timeout: float) -> Entry:
        self._queued += 1
        began = monotonic()
        waiter = Waiter()
        self._waiters.append(waiter)
        self.grow()
        try:
            with anyio.move_on_after(timeout):
                await waiter.served.wait()
        except BaseException:
            self._leave_queue(waiter)
            raise
        if waiter.entry is not None:
            return waiter.entry
        self._leave_queue(waiter)
        if not self.is_open:
            msg = "the pool was closed while this task waited for a connection"
            raise PoolClosed(msg)
        self._timeouts += 1
        raise PoolExhausted(self._explain(monotonic() - began)) from self.last_error

    def _leave_queue(self, waiter: Waiter) -> None:
        if waiter.entry is not None:
            self.lend(waiter.entry)  # served and gone at the same moment: the next one has it
        elif waiter in self._waiters:
            self._waiters.remove(waiter)

    def _explain(self, waited: float) -> str:
        text = (
            f"no connection became free within {waited:.1f} s: {self.in_use} of at most"
            f" {self.max_size} are in use, {self.opening} are being opened,"
            f" {len(self._waiters)} other tasks wait"
        )
        if self.last_error is not None:
            return f"{text}; the last attempt to connect failed: {self.last_error}"
        return f"{text}; lend for shorter times, or raise max_size"

    async def give(self, entry: Entry, error: BaseException | None) -> None:
        """Give a connection back, with the error that its block was left on."""
        conn = entry.connection
        spoiled = error is not None and is_fatal(error)
        if isinstance(error, CallTimeout):  # a way that swallowed one call may swallow them all
            self.drop_idle()
        if spoiled or conn.closed or conn.in_pipeline:
            self.discard(entry)
        elif conn.pgconn.transaction_status == psycopg.pq.TransactionStatus.IDLE or (
            await self._roll_back(entry)
        ):
            conn.call_timeout = entry.call_timeout
            self.lend(entry)
        else:
            self.discard(entry)

    async def _roll_back(self, entry: Entry) -> bool:
        try:
            return await entry.connection.reset()
        except BaseException:
            self.discard(entry)
            raise

    # -- opening and closing -----------------------------------------------------------------------

    async def open_one(self) -> Connection[Any]:
        """Connect and configure."""
        conn = await Connection[Any].connect(self.conninfo, **self._connect)
        try:
            await preparing.decide(conn, self._prepared)
            if self._configure is not None:
                await self._configure(conn)
            if conn.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                await conn.commit()
        except BaseException:
            conn.abort()
            raise
        return conn

    async def __aenter__(self) -> Self:
        if self.is_open or self._tasks is not None:
            msg = "a pool is opened once; make another one"
            raise PoolClosed(msg)
        self._tasks = await anyio.create_task_group().__aenter__()
        self.is_open = True
        self._tasks.start_soon(self.keep, name="chancy.postgres.pool.keep")
        self.grow()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._tasks is not None
        self.is_open = False
        while self._waiters:
            self._waiters.popleft().served.set()
        self._tasks.cancel_scope.cancel()
        try:
            # The user's own error is not shown to the task group, which would wrap it.
            await self._tasks.__aexit__(None, None, None)
        except BaseException:
            if error is None:
                raise
        finally:
            await self._close_all()

    async def _close_all(self) -> None:
        self.drop_idle()
        if self._lent:
            with anyio.move_on_after(self.close_timeout, shield=True):
                await self.all_returned.wait()
        for entry in list(self._lent):
            logger.warning("closing %r, which was not given back", entry.connection)
            entry.connection.abort()

    async def resize(self, min_size: int, max_size: int) -> None:
        """Change the bounds; what is too much is closed when it is idle."""
        _check_sizes(min_size, max_size)
        self.min_size, self.max_size = min_size, max_size
        while self._idle and self.size > max_size:
            self.discard(self._idle.popleft())
        self.grow()

    async def ready(self, timeout: float | None = None) -> None:
        """Wait until the server has accepted a connection; raises `PoolExhausted` if not."""
        async with self.connection(timeout):
            pass

    def stats(self) -> PoolStats:
        """How the pool is doing."""
        return PoolStats(
            min_size=self.min_size,
            max_size=self.max_size,
            size=self.size,
            idle=len(self._idle),
            in_use=self.in_use,
            opening=self.opening,
            waiting=len(self._waiters),
            requests=self._requests,
            queued=self._queued,
            timeouts=self._timeouts,
            opened=self.opened,
            discarded=self.discarded,
            connect_errors=self.connect_errors,
            last_error=None if self.last_error is None else str(self.last_error),
        )


class Lease:
    """A block in which a connection of the pool is yours."""

    __slots__ = ("_call_timeout", "_entry", "_pool", "_timeout")

    def __init__(self, pool: Pool, timeout: float, call_timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._call_timeout = call_timeout
        self._entry: Entry | None = None

    async def __aenter__(self) -> Connection[Any]:
        self._entry = await self._pool.take(self._timeout)
        conn = self._entry.connection
        if self._call_timeout is not None:
            conn.call_timeout = self._call_timeout  # until it is given back
        return conn

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        entry, self._entry = self._entry, None
        assert entry is not None
        await self._pool.give(entry, error)


def _check_sizes(min_size: int, max_size: int) -> None:
    if not 0 <= min_size <= max_size or max_size < 1:
        msg = (
            f"a pool needs 0 <= min_size <= max_size and max_size >= 1, not {min_size}, {max_size}"
        )
        raise InvalidValue(msg)
