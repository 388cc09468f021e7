"""LISTEN that comes back: notifications over a connection that is watched and replaced."""

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from time import monotonic
from types import TracebackType
from typing import Any, Self

import anyio
import attrs
import psycopg
from psycopg import Notify, sql

from chancy_core.errors import InvalidValue
from chancy_core.postgres.connection import Connection
from chancy_core.postgres.dsn import conninfo as make_conninfo
from chancy_core.postgres.keeping import Backoff

logger = logging.getLogger("chancy.postgres")

LONGEST_NAME = 63  # bytes; PostgreSQL cuts longer identifiers, and then nothing would match


@attrs.frozen
class Reconnected:
    """From here on notifications arrive; any number may have been missed before."""

    attempts: int
    """Connections that were tried, this one included."""


class Listener:
    """Iterates over the notifications on some channels, for as long as you like.

    Yields `psycopg.Notify`, and `Reconnected` whenever listening has begun anew, the first time
    too: look then at what the notifications would have told you. A connection that is silent for
    `ping_interval` seconds must answer within `ping_timeout`. Reconnecting pauses with full jitter
    and never gives up; `last_error` says what is wrong meanwhile. One task iterates; a cancelled
    iteration loses nothing. It needs a connection of its own, not through PgBouncer.

        async with Listener(dsn, ["chancy"]) as listener:
            async for event in listener:
                ...
    """

    def __init__(
        self,
        conninfo: str | Mapping[str, Any],
        channels: Iterable[str],
        *,
        ping_interval: float = 10.0,
        ping_timeout: float = 5.0,
        backoff: Backoff | None = None,
        **connect: Any,
    ) -> None:
        self.conninfo = make_conninfo(conninfo)
        self.channels = frozenset(channels)
        for channel in self.channels:
            if not 0 < len(channel.encode()) <= LONGEST_NAME:
                msg = f"a channel's name has 1 to {LONGEST_NAME} bytes, unlike {channel!r}"
                raise InvalidValue(msg)
        self.ping_interval, self.ping_timeout = ping_interval, ping_timeout
        self.backoff = backoff or Backoff()
        self.last_error: Exception | None = None
        self._connect = {**connect, "autocommit": True, "call_timeout": ping_timeout}
        self._connection: Connection[Any] | None = None
        self._events: deque[Notify] = deque()
        self._attempts = self._failures = 0
        self._heard = 0.0
        self._closed = True

    @property
    def connected(self) -> bool:
        """Whether it listens at this moment, as far as is known."""
        return self._connection is not None and not self._connection.closed

    async def __aenter__(self) -> Self:
        self._closed = False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed = True
        self._drop()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Notify | Reconnected:
        while not self._closed:
            if self._events:
                return self._events.popleft()
            try:
                if self._connection is None:
                    return await self._reconnect()
                if not await self._receive(self._connection):
                    return self._begun()
            except (psycopg.Error, OSError) as error:
                if self._closed:
                    break
                await self._failed(error)
        raise StopAsyncIteration

    async def _reconnect(self) -> Reconnected:
        if self._failures:
            await anyio.sleep(self.backoff.pause(self._failures))
        self._attempts += 1
        conn = await Connection[Any].connect(self.conninfo, **self._connect)
        try:
            await self._listen(conn)
        except BaseException:
            conn.abort()
            raise
        self._connection = conn
        return self._begun()

    async def _listen(self, conn: Connection[Any]) -> None:
        for channel in sorted(self.channels):
            await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        self._heard = monotonic()

    def _begun(self) -> Reconnected:
        event = Reconnected(attempts=self._attempts)
        self._attempts = self._failures = 0
        self.last_error = None
        return event

    async def _receive(self, conn: Connection[Any]) -> bool:
        """Wait for notifications; False if listening had ended without a word and begins anew."""
        silence = self._heard + self.ping_interval - monotonic()
        if received := await conn.notified(max(0.0, silence)):
            self._events.extend(received)
            self._heard = monotonic()
            return True
        cursor = await conn.execute("SELECT pg_catalog.pg_listening_channels()")
        heard = {row[0] for row in await cursor.fetchall()}
        self._heard = monotonic()
        if heard >= self.channels:
            return True
        logger.warning("%r does not listen any more; listening again", conn)
        await self._listen(conn)
        return False

    async def _failed(self, error: Exception) -> None:
        self._drop()
        self._failures += 1
        self.last_error = error
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        logger.log(level, "listening is interrupted, and will be taken up again: %s", error)

    def _drop(self) -> None:
        conn, self._connection = self._connection, None
        if conn is not None:
            # Nobody else has this connection, so that what it has received is ours.
            conn.abort()
