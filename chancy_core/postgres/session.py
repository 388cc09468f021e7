"""How a connection waits: deadlines, interruptions, and what becomes of it after one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import anyio
import psycopg
from psycopg.rows import AsyncRowFactory, Row, tuple_row

from chancy_core.postgres import recovery
from chancy_core.postgres.cursors import Cursor, ServerCursor
from chancy_core.postgres.failures import CallTimeout
from chancy_core.postgres.private import WaitTimeout
from chancy_core.postgres.waiting import ConnectSteps, Mutex, Pace, Steps, T, advance, drive

logger = logging.getLogger("chancy.postgres")


class Session(psycopg.AsyncConnection[Row]):
    """The part of `Connection` that replaces psycopg's ties to asyncio."""

    lock: Mutex  # type: ignore[assignment]

    def __init__(
        self,
        pgconn: psycopg.pq.abc.PGconn,
        row_factory: AsyncRowFactory[Row] | None = None,
    ) -> None:
        super().__init__(pgconn, row_factory or cast("AsyncRowFactory[Row]", tuple_row))
        self.lock = Mutex()
        self.cursor_factory = Cursor
        self.server_cursor_factory = ServerCursor
        self.pace = Pace(pgconn.socket)
        self.interrupted = False
        self.copying = False
        self.copy_spoiled = False
        self._call_timeout: float | None = None

    # -- deadlines ---------------------------------------------------------------------------------

    @property
    def call_timeout(self) -> float | None:
        """Seconds that each call may take; None for no limit."""
        return self._call_timeout

    @call_timeout.setter
    def call_timeout(self, seconds: float | None) -> None:
        self._call_timeout = self.lock.limit = seconds

    @contextmanager
    def deadline(self, seconds: float | None) -> Iterator[None]:
        """Give each call inside of the block `seconds` instead of `call_timeout`.

        with conn.deadline(300):
            await conn.execute("CREATE INDEX ...")
        """
        before, self.call_timeout = self._call_timeout, seconds
        try:
            yield
        finally:
            self.call_timeout = before

    # -- waiting -----------------------------------------------------------------------------------

    async def wait(
        self,
        gen: Steps[T],
        interval: float = 0.0,  # noqa: ARG002
        timeout: float | None = None,
    ) -> T:
        """Drive a psycopg generator; the lock is held by the caller.

        `interval` is psycopg's and unused: nothing here needs to wake up from time to time.
        """
        if timeout is not None:
            with anyio.move_on_after(timeout):
                return await self._run(gen, recovery.GRACE, None)
            raise WaitTimeout("wait timeout expired")
        if self.copying and not self.pace.tired():
            # One row of a COPY, which is at hand nearly always; half of its cost would be the look
            # for a cancellation, that is noticed as soon as there is something to wait for.
            wanted, result = advance(gen, self.pace)
            if not wanted:
                return cast("T", result)
            return await self._run(gen, recovery.GRACE, self._call_timeout, wanted)
        try:
            await self.pace.begin()
        except BaseException:
            gen.close()
            raise
        return await self._run(gen, recovery.GRACE, self._call_timeout)

    async def wait_through(self, gen: Steps[T]) -> T:
        """Drive a generator that should not be cut: it begins in any case and is not cancelled."""
        return await self._run(gen, recovery.LIMIT, self._call_timeout)

    async def wait_out(self, gen: Steps[Any]) -> None:
        """Drive a generator that reads what is left of a block that failed."""
        limit = recovery.patience(self._call_timeout)
        await recovery.recover(self, gen, recovery.GRACE, limit)

    async def _run(self, gen: Steps[T], grace: float, limit: float | None, wanted: int = 0) -> T:
        if not wanted:
            wanted, result = advance(gen, self.pace)
            if not wanted:
                return cast("T", result)
        try:
            with anyio.move_on_after(limit):
                return await drive(gen, self.pace, wanted)
        except Exception:
            raise
        except GeneratorExit:
            self.abort()  # the coroutine was thrown away: there is no loop to wait with
            raise
        except BaseException:
            await self._interrupt(gen, grace, recovery.LIMIT)
            raise
        assert limit is not None
        await self._interrupt(gen, min(grace, limit), recovery.patience(limit))
        state = "closed" if self.closed else "usable"
        msg = f"the server gave no answer within {limit:g} s; the connection is {state}"
        raise CallTimeout(msg)

    async def _interrupt(self, gen: Steps[Any], grace: float, limit: float) -> None:
        self.interrupted = True
        try:
            await recovery.recover(self, gen, grace, limit)
        finally:
            self.interrupted = False

    async def recover(self, grace: float = recovery.GRACE) -> None:
        """End whatever the server is busy with; the connection is usable or closed then."""
        await recovery.recover(self, None, grace, recovery.patience(self._call_timeout))

    async def check_order(self) -> None:
        """Close a connection whose answers are not those to its questions; the lock is held."""
        try:
            with recovery.shielded():
                if await recovery.answers_in_order(self):
                    return
        except psycopg.Error as error:
            logger.debug("no answer to an empty query: %s", error)
        if not self.closed:
            logger.warning("closing %r: its answers are out of step after a pipeline", self)
            self.abort()

    @property
    def in_pipeline(self) -> bool:
        """Whether results are left for the end of a pipeline block."""
        return self._pipeline is not None

    def abort(self) -> None:
        """Close at once; a task that waits on this connection gets an error."""
        if self.pace.waiting and not self.closed:
            anyio.notify_closing(self.pace.fd)
        self._closed = True
        self.pgconn.finish()

    async def close(self) -> None:
        """Close the connection; does nothing if it is closed."""
        self.abort()

    # -- cancelling --------------------------------------------------------------------------------

    def cancel_steps(self) -> ConnectSteps[None]:
        """What a cancel request consists of."""
        return cast("ConnectSteps[None]", self._cancel_gen())

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Ask the server to cancel what it does for this connection; any task may call it."""
        if not self._should_cancel():
            return
        with anyio.move_on_after(timeout or None):
            await recovery.request_cancel(self)
            return
        raise psycopg.errors.CancellationTimeout("cancellation timeout expired")

    async def _try_cancel(self, *, timeout: float = recovery.LIMIT) -> None:
        """Psycopg calls this to clean up: do all of it, as its own way there is not shielded."""
        await recovery.recover(self, None, 0.0, timeout)
