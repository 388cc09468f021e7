"""What LISTEN brings, received without a generator that would have to be closed."""

from time import monotonic
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import Notify

from chancy_core.postgres.private import notify_backlog, notify_handlers

if TYPE_CHECKING:
    from chancy_core.postgres.connection import Connection


async def receive(connection: "Connection[Any]", timeout: float | None) -> list[Notify]:
    """Wait until something has arrived; the lock is held by the caller."""
    until = None if timeout is None else monotonic() + timeout
    while not (received := _take(connection)):
        await connection.pace.begin()
        left = None if until is None else max(0.0, until - monotonic())
        if not await connection.pace.readable(left):
            return []
        _read(connection)
    return received


def _take(connection: "Connection[Any]") -> list[Notify]:
    backlog = notify_backlog(connection)
    received = list(backlog)
    backlog.clear()
    return received


def _read(connection: "Connection[Any]") -> None:
    lost = None
    try:
        connection.pgconn.consume_input()
    except psycopg.OperationalError as error:
        lost = error
    backlog, encoding = notify_backlog(connection), connection.info.encoding if not lost else "utf8"
    while raw := None if connection.closed else connection.pgconn.notifies():
        event = Notify(raw.relname.decode(encoding), raw.extra.decode(encoding), raw.be_pid)
        backlog.append(event)
        for handler in notify_handlers(connection):
            handler(event)
    # What came before the connection's end is worth having; the next call tells of the end.
    if lost is not None and not backlog:
        raise lost


class Notifications:
    """An iterator that keeps what it has not handed out in the connection itself."""

    def __init__(
        self, connection: "Connection[Any]", timeout: float | None, stop_after: int | None
    ) -> None:
        self._connection = connection
        self._until = None if timeout is None else monotonic() + timeout
        self._left = stop_after

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notify:
        backlog = notify_backlog(self._connection)
        if self._left == 0:
            raise StopAsyncIteration
        if not backlog:
            timeout = None if self._until is None else max(0.0, self._until - monotonic())
            backlog.extend(await self._connection.notified(timeout))
        if not backlog:
            raise StopAsyncIteration
        if self._left is not None:
            self._left -= 1
        return backlog.popleft()

    async def aclose(self) -> None:
        """As a generator has it; there is nothing to do."""
