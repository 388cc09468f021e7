"""How a pool keeps its connections: opens, checks, ages and replaces them."""

import abc
import logging
import random
from collections import deque
from time import monotonic
from typing import Any

import anyio
import anyio.abc
import attrs
import psycopg

from chancy_core.errors import ChancyError
from chancy_core.postgres.connection import Connection
from chancy_core.postgres.private import READ, ready_now

logger = logging.getLogger("chancy.postgres")

# After these the session, or its server, is not what it was: the server shuts down (57P), turned
# out to be a read-only standby (25006), or has no room (53300). Class 08 is the connection itself.
FATAL = frozenset({"57P01", "57P02", "57P03", "25006", "53300"})
CHECK_LIMIT = 5.0  # seconds for an idle connection to answer


def is_fatal(error: BaseException) -> bool:
    """Whether a connection must not be used again after this error, or one inside of a group."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_fatal(inner) for inner in error.exceptions)
    state = getattr(error, "sqlstate", None)
    return isinstance(error, psycopg.Error) and bool(
        state and (state in FATAL or state.startswith("08"))
    )


@attrs.frozen
class Backoff:
    """Growing pauses with full jitter: clients that were cut off together do not come together."""

    first: float = 0.1
    longest: float = 10.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row: anything from nothing to the bound."""
        bound = min(self.longest, self.first * 2.0 ** min(max(failures - 1, 0), 30))
        return random.uniform(0, bound)


@attrs.define(eq=False)
class Entry:
    """A connection and its age."""

    connection: Connection[Any]
    expires: float
    call_timeout: float | None
    used: float


class Waiter:
    """A task's place in the queue."""

    __slots__ = ("entry", "served")

    def __init__(self) -> None:
        self.served = anyio.Event()
        self.entry: Entry | None = None


class Keeping(abc.ABC):
    """The stock of a pool. Invariant: size + opening <= max_size, but for a pool that shrinks."""

    def __init__(
        self,
        *,
        min_size: int,
        max_size: int,
        max_lifetime: float,
        max_idle: float,
        check_after: float,
        backoff: Backoff,
    ) -> None:
        self.min_size, self.max_size = min_size, max_size
        self.max_lifetime, self.max_idle, self.check_after = max_lifetime, max_idle, check_after
        self.backoff = backoff
        self.is_open = False
        self.opening = self.opened = self.discarded = self.connect_errors = 0
        self.last_error: Exception | None = None
        self._failures = 0
        self._tasks: anyio.abc.TaskGroup | None = None
        self._idle: deque[Entry] = deque()
        self._lent: set[Entry] = set()
        self._waiters: deque[Waiter] = deque()
        self.all_returned = anyio.Event()

    @property
    def in_use(self) -> int:
        """Connections that are lent."""
        return len(self._lent)

    @property
    def size(self) -> int:
        """Connections that are open."""
        return len(self._idle) + len(self._lent)

    @abc.abstractmethod
    async def open_one(self) -> Connection[Any]:
        """Connect: the pool's own business."""

    # -- checking ----------------------------------------------------------------------------------

    def is_fresh(self, entry: Entry) -> bool:
        """Take an idle connection at its word, without a round trip.

        A socket on which something arrived while nobody asked carries its end, nearly always.
        """
        self._lent.add(entry)
        now = monotonic()
        return (
            now < entry.expires
            and now - entry.used < self.check_after
            and not entry.connection.closed
            and not ready_now(entry.connection.pace.fd, READ)
        )

    async def answers(self, entry: Entry) -> bool:
        """Ask a connection whether it still works; one that does not is replaced."""
        conn = entry.connection
        try:
            if monotonic() < entry.expires and not conn.closed:
                conn.call_timeout = CHECK_LIMIT
                await conn.execute("SELECT 1")
                await conn.rollback()
                conn.call_timeout = entry.call_timeout
                return True
        except psycopg.Error as error:
            logger.info("replacing %r, which was idle and is lost: %s", conn, error)
        except BaseException:
            self.discard(entry)
            raise
        self.discard(entry)
        return False

    def drop_idle(self) -> None:
        """Let go of whatever is idle."""
        while self._idle:
            self.discard(self._idle.pop())

    # -- lending and discarding --------------------------------------------------------------------

    def lend(self, entry: Entry) -> None:
        """Give a good connection to whoever has waited longest, or lay it by."""
        now = monotonic()
        if not self.is_open or self.size > self.max_size or now >= entry.expires:
            self.discard(entry)
        elif self._waiters:
            self._lent.add(entry)
            waiter = self._waiters.popleft()
            waiter.entry = entry
            waiter.served.set()
        else:
            self._lent.discard(entry)
            entry.used = now
            self._idle.append(entry)

    def discard(self, entry: Entry) -> None:
        """Close a connection; open another one if it is needed."""
        self._lent.discard(entry)
        self.discarded += 1
        entry.connection.abort()
        if self.is_open:
            self.grow()
        elif not self._lent:
            self.all_returned.set()

    # -- opening -----------------------------------------------------------------------------------

    def grow(self) -> None:
        """Open as many connections as are wanted now and not being opened yet."""
        if not self.is_open or self._tasks is None:
            return
        while self._wanted() > 0:
            self.opening += 1
            self._tasks.start_soon(self._open, name="chancy.postgres.pool.open")

    def _wanted(self) -> int:
        size = self.size + self.opening
        # A server that refused the last one is not asked by many at once.
        most = 1 - self.opening if self._failures else self.max_size - size
        missing = max(len(self._waiters) - self.opening, self.min_size - size)
        return min(missing, most, self.max_size - size)

    async def _open(self) -> None:
        """Open one connection, trying as long as somebody needs it."""
        try:
            while self.is_open and (self._waiters or self.size < self.min_size):
                try:
                    conn = await self.open_one()
                except (psycopg.Error, ChancyError, OSError) as error:
                    if not await self._failed(error):
                        return
                else:
                    self._add(conn)
                    return
        except Exception as error:
            # `configure` raised something of its own. The pool goes on; who waits will be told.
            logger.exception("a new connection could not be configured")
            self.last_error = error
            self._failures += 1
        finally:
            self.opening -= 1
            if not self._failures:
                self.grow()

    async def _failed(self, error: Exception) -> bool:
        """Pause after a failure; False if another task is trying too, which is enough."""
        self.connect_errors += 1
        self._failures += 1
        self.last_error = error
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        logger.log(level, "the pool cannot connect, and goes on trying: %s", error)
        if self.opening > 1:
            return False
        await anyio.sleep(self.backoff.pause(self._failures))
        return True

    def _add(self, conn: Connection[Any]) -> None:
        self.opened += 1
        self._failures = 0
        self.last_error = None
        self.opening -= 1
        now = monotonic()
        # Connections that were opened together must not all end together.
        lifetime = self.max_lifetime * random.uniform(0.9, 1.0)
        self.lend(Entry(conn, now + lifetime, conn.call_timeout, now))
        self.opening += 1

    # -- ageing ------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Close what is too old or idle for too long, and keep `min_size` connections."""
        while True:
            await anyio.sleep(max(0.02, min(self.max_lifetime, self.max_idle, 30.0) / 10))
            try:
                self.age()
                self.grow()
            except Exception:  # a defect of ours must not end the pool, and all that use it
                logger.exception("the pool could not look after its connections")

    def age(self) -> None:
        """One look at all idle connections; the longest idle come first."""
        now = monotonic()
        for entry in list(self._idle):
            spare = now - entry.used > self.max_idle and self.size > self.min_size
            gone = entry.connection.closed or ready_now(entry.connection.pace.fd, READ)
            if spare or gone or now >= entry.expires:
                self._idle.remove(entry)
                self.discard(entry)
