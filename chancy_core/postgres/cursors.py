"""Cursors and COPY whose ends survive cancellation."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import psycopg
from psycopg import pq
from psycopg.abc import Buffer, Params, Query
from psycopg.copy import AsyncWriter
from psycopg.rows import Row

from chancy_core.postgres.recovery import shielded

if TYPE_CHECKING:
    from chancy_core.postgres.session import Session


class Copy(psycopg.AsyncCopy, AsyncIterator[Buffer]):
    """Returned by `Cursor.copy()`.

    A COPY into the database that is interrupted stores nothing: also if the block went on after a
    deadline of its own, for part of the data may be missing then.
    """

    @property
    def _session(self) -> "Session[Any]":
        return cast("Session[Any]", self.connection)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._session.copying, self._session.copy_spoiled = True, False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        session = self._session
        try:
            if error is None:
                await self._write_rest()
                session.copying = False
                await self.finish(None)
        except BaseException as failure:
            error = failure
            raise
        finally:
            session.copying = False
            if error is not None:
                await session.recover()

    def __aiter__(self) -> Self:
        return self  # no generator, that would have to be closed by who leaves the loop early

    async def __anext__(self) -> Buffer:
        if data := await self.read():
            return data
        raise StopAsyncIteration

    async def _write_rest(self) -> None:
        if self._session.copy_spoiled:
            msg = "a write was interrupted: nothing was copied"
            raise psycopg.OperationalError(msg)
        if self._direction == pq.ExecStatus.COPY_IN and (data := self.formatter.end()):
            await self.writer.write(data)

    async def finish(self, exc: BaseException | None) -> None:
        """End the COPY and read the server's verdict."""
        if self._direction == pq.ExecStatus.COPY_IN:
            await self.writer.finish(exc)
            self._finished = True
        else:
            # Reading that stopped early leaves rows in the pipe.
            await self._session.recover(grace=0.0)


class Cursor(psycopg.AsyncCursor[Row]):
    """A psycopg cursor for asyncio and trio."""

    __slots__ = ()

    async def executemany(
        self, query: Query, params_seq: Iterable[Params], *, returning: bool = False
    ) -> None:
        """Execute the same command with many rows of parameters."""
        await super().executemany(query, self._feed(params_seq), returning=returning)

    def _feed(self, params_seq: Iterable[Params]) -> Iterator[Params]:
        """Stop at an interruption: what is under way is then read to its end."""
        session = cast("Session[Any]", self._conn)
        for params in params_seq:
            if session.interrupted:
                return
            yield params

    async def stream(
        self,
        query: Query,
        params: Params | None = None,
        *,
        binary: bool | None = None,
        size: int = 1,
    ) -> AsyncGenerator[Row, None]:
        """Iterate row by row over a result that need not fit into memory.

        Close it (`contextlib.aclosing`) if you may leave the loop early.
        """
        session = cast("Session[Any]", self._conn)
        rows = super().stream(query, params, binary=binary, size=size)
        try:
            async with aclosing(cast("AsyncGenerator[Row, None]", rows)) as reading:
                async for row in reading:
                    yield row
        finally:
            if self._pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                await session.recover()

    @asynccontextmanager
    async def copy(
        self,
        statement: Query,
        params: Params | None = None,
        *,
        writer: AsyncWriter | None = None,
    ) -> AsyncIterator[Copy]:
        """Begin a COPY and return an object to manage it."""
        async with self._conn.lock:
            await self._conn.wait(self._start_copy_gen(statement, params))
            async with Copy(self, writer=writer) as copy:
                yield copy
        # COPY's end has set a fresher result, which knows the number of rows.
        self._select_current_result(0)


class ServerCursor(psycopg.AsyncServerCursor[Row]):
    """A psycopg cursor whose rows stay with the server until they are fetched."""

    __slots__ = ()

    async def close(self) -> None:
        """Close it on the server too, if the transaction has not done so."""
        if self.closed:
            return
        try:
            with shielded():
                await super().close()
        finally:
            self._close()
