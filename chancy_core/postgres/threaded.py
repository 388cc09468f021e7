"""Connections for threads: a small pool of psycopg's synchronous ones."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from chancy_core.postgres import connecting, preparing
from chancy_core.postgres.failures import PoolClosed, PoolExhausted

Conn = psycopg.Connection[tuple[Any, ...]]

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
        conn = psycopg.connect("", autocommit=True, **self._settings)
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
