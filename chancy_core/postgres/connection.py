"""One session with PostgreSQL, on asyncio or trio."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self, cast

import anyio
import psycopg
from psycopg import Notify
from psycopg.abc import AdaptContext
from psycopg.rows import AsyncRowFactory, Row, tuple_row

from chancy_core.postgres import connecting, notifications, recovery
from chancy_core.postgres.blocks import Pipeline, Transaction
from chancy_core.postgres.cursors import Cursor, ServerCursor
from chancy_core.postgres.failures import CallTimeout
from chancy_core.postgres.private import WaitTimeout, set_autocommit
from chancy_core.postgres.waiting import ConnectSteps, Mutex, Pace, Steps, T, advance, drive

logger = logging.getLogger("chancy.postgres")


class Connection(psycopg.AsyncConnection[Row]):
    """A psycopg connection that waits through anyio.

    All that `psycopg.AsyncConnection` has is here, with the same meaning; and further:

    * Every call has a deadline of `call_timeout` seconds on the client's side (none if None), after
      which it raises `CallTimeout`. Waiting for notifications is no call.
    * Whoever is cancelled, or meets a deadline, finds the connection usable or closed. An
      interrupted command may take 20 ms to finish, then the server is asked to cancel it. This
      takes at most five seconds, and the connection is closed if that is not enough.

    One task at a time uses a connection; others wait for their turn, in order.
    """

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

    @classmethod
    async def connect(  # type: ignore[override]
        cls,
        conninfo: str = "",
        *,
        autocommit: bool = False,
        connect_timeout: float | None = None,
        call_timeout: float | None = 30.0,
        tcp_user_timeout: float | None = 15.0,
        application_name: str | None = None,
        prepare_threshold: int | None = 5,
        context: AdaptContext | None = None,
        row_factory: AsyncRowFactory[Row] | None = None,
        cursor_factory: type[psycopg.AsyncCursor[Row]] | None = None,
        **params: Any,
    ) -> Self:
        """Connect to the first host that accepts; all times are in seconds.

        Hosts, `target_session_attrs` and `load_balance_hosts` mean what they mean to libpq.
        `connect_timeout` is for each address (`conninfo`'s own, else ten seconds). A TCP connection
        whose data stays unacknowledged for `tcp_user_timeout` seconds is given up by the system.
        Raises `ConnectTimeout` or another `psycopg.OperationalError` that names each attempt.

            async with await Connection.connect("host=db dbname=app") as conn:
                await conn.execute("SELECT 1")
        """
        settings = connecting.settings(
            await cls._get_connection_params(conninfo, **params),
            connect_timeout=connect_timeout,
            tcp_user_timeout=tcp_user_timeout,
            application_name=application_name,
        )
        self = cast("Self", await connecting.first_that_accepts(cls._connect_gen, settings))
        set_autocommit(self, bool(autocommit))
        self.call_timeout = call_timeout
        self.prepare_threshold = prepare_threshold
        if row_factory is not None:
            self.row_factory = row_factory
        if cursor_factory is not None:
            self.cursor_factory = cursor_factory
        if context is not None:
            self._adapters = psycopg.adapt.AdaptersMap(context.adapters)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self.closed:
                return
            if error is None:
                await self.commit()
            else:
                await self.reset()
        finally:
            await self.close()

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
            done, result = advance(gen, self.pace)
            if done:
                return cast("T", result)
        else:
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

    async def _run(self, gen: Steps[T], grace: float, limit: float | None) -> T:
        done, result = advance(gen, self.pace)
        if done:
            return cast("T", result)
        try:
            with anyio.move_on_after(limit):
                return await drive(gen, self.pace)
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

    # -- transactions ------------------------------------------------------------------------------

    async def commit(self) -> None:
        """Commit; a cancellation that comes meanwhile waits for the server's word."""
        async with self.lock:
            await anyio.lowlevel.checkpoint_if_cancelled()
            await self.wait_through(self._commit_gen())

    async def rollback(self) -> None:
        """Roll back, also when cancelled."""
        async with self.lock:
            await self.wait_through(self._rollback_gen())

    async def reset(self) -> bool:
        """Roll back whatever is open, shielded; False if the connection had to be closed."""
        with recovery.shielded():
            try:
                await self.recover()
                if not self.closed:
                    await self.rollback()
            except psycopg.Error as error:
                logger.warning("closing %r, as it cannot be rolled back: %s", self, error)
                self.abort()
            return not self.closed
        self.abort()
        return False

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[Transaction]:
        """Commit at the end of the block, or roll back if it is left on an error or cancelled."""
        block = Transaction(self, savepoint_name, force_rollback)
        if self._pipeline:
            async with self.pipeline(), block, self.pipeline():
                yield block
        else:
            async with block:
                yield block

    # -- pipeline ----------------------------------------------------------------------------------

    @property
    def in_pipeline(self) -> bool:
        """Whether results are left for the end of a pipeline block."""
        return self._pipeline is not None

    @asynccontextmanager
    async def pipeline(self) -> AsyncIterator[Pipeline]:
        """Send commands without waiting for the answers of those before."""
        async with self.lock:
            self._check_connection_ok()
            pipeline = cast("Pipeline | None", self._pipeline)
            if pipeline is None:
                pipeline = self._pipeline = Pipeline(self)
        try:
            async with pipeline:
                yield pipeline
        finally:
            if pipeline.level == 0:
                self._pipeline = None

    @asynccontextmanager
    async def _pipeline_nolock(self) -> AsyncIterator[Pipeline]:
        pipeline = self._pipeline = Pipeline(self, locked=True)
        try:
            async with pipeline:
                yield pipeline
        finally:
            self._pipeline = None

    # -- notifications -----------------------------------------------------------------------------

    async def notified(self, timeout: float | None = None) -> list[Notify]:
        """Wait for notifications, at most `timeout` seconds, and return all that have arrived.

        Empty when the time is up. None that has arrived is lost when this is cancelled.
        """
        async with self.lock:
            self._check_connection_ok()
            return await notifications.receive(self, timeout)

    def notifies(  # type: ignore[override]
        self, *, timeout: float | None = None, stop_after: int | None = None
    ) -> notifications.Notifications:
        """Yield notifications for `timeout` seconds, or until `stop_after` have been received.

        It is no generator: it may be left at any time, and what was not taken waits for the next.
        """
        return notifications.Notifications(self, timeout, stop_after)
