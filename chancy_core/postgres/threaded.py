"""Connections for threads: psycopg's synchronous ones, with deadlines, in a small pool."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from chancy_core.postgres import connecting, preparing
from chancy_core.postgres.failures import CallTimeout, PoolClosed, PoolExhausted
from chancy_core.postgres.private import WaitTimeout

if TYPE_CHECKING:
    from psycopg.abc import PQGen

RV = TypeVar("RV")


class Conn(psycopg.Connection[tuple[Any, ...]]):
    """A synchronous connection whose every call has a deadline, after which it is closed.

    Neither keepalives nor TCP_USER_TIMEOUT notice a black hole behind a proxy, or a pooler, that
    acknowledges whatever it is sent.
    """

    #: Seconds that each call may take; None for no limit.
    call_timeout: float | None = 30.0

    @contextmanager
    def deadline(self, seconds: float | None) -> Iterator[None]:
        """Give each call inside of the block `seconds` instead of `call_timeout`."""
        before, self.call_timeout = self.call_timeout, seconds
        try:
            yield
        finally:
            self.call_timeout = before

    def wait(self, gen: "PQGen[RV]", interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer. Raises `CallTimeout` when it has not come in time."""
        try:
            return super().wait(gen, interval, self.call_timeout if timeout is None else timeout)
        except WaitTimeout:
            if timeout is not None:
                raise
            self.pgconn.finish()
            late = f"the server gave no answer within {self.call_timeout:g} s"
            raise CallTimeout(f"{late}; the connection is closed") from None


#: Seconds after which an idle connection is tried before it is used.
IDLE = 30.0


class ThreadedPool:
    """Autocommit connections that any thread may borrow, opened when they are needed.

    One that is broken, or comes back inside a transaction, is thrown away. It belongs to the
    process that made it: after `fork` the child must make its own.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        most: int = 10,
        timeout: float = 30.0,
        prepared_statements: bool | None = None,
    ) -> None:
        """At most *most* connections at once; who finds none free waits *timeout* seconds."""
        self._settings = connecting.settings(
            {"connect_timeout": connecting.CONNECT_TIMEOUT} | conninfo_to_dict(conninfo),
            connect_timeout=None,
            tcp_user_timeout=15.0,
            application_name=None,
        )
        self._timeout = timeout
        self._prepared = prepared_statements
        self._free = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._idle: list[tuple[Conn, float]] = []
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[Conn]:
        """Borrow a connection. Raises `PoolExhausted`, or why none can be opened."""
        if not self._free.acquire(timeout=self._timeout):
            raise PoolExhausted(f"no connection became free within {self._timeout:g} s")
        try:
            conn = self._take()
            try:
                yield conn
            finally:
                self._give(conn)
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what is idle now, and what is borrowed when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for conn, _ in idle:
            conn.close()

    def _take(self) -> Conn:
        while True:
            with self._lock:
                if self._closed:
                    raise PoolClosed("this pool of connections is closed")
                if not self._idle:
                    break
                conn, since = self._idle.pop()
            if _sound(conn, monotonic() - since):
                return conn
            conn.close()
        conn = Conn.connect("", autocommit=True, **self._settings)
        try:
            preparing.decide_sync(conn, self._prepared)
        except BaseException:
            conn.close()
            raise
        return conn

    def _give(self, conn: Conn) -> None:
        sound = not conn.closed and conn.info.transaction_status == TransactionStatus.IDLE
        with self._lock:
            if sound and not self._closed:
                self._idle.append((conn, monotonic()))
                return
        conn.close()


def _sound(conn: Conn, idle: float) -> bool:
    """Whether a connection works still; nothing is sent unless there is a reason for doubt."""
    poll = select.poll()
    poll.register(conn.pgconn.socket, select.POLLIN)
    # The server has said something to nobody: most often, that it closes.
    if idle <= IDLE and not poll.poll(0):
        return True
    try:
        conn.execute("SELECT")
    except psycopg.Error:
        return False
    return not conn.closed
