"""One session with PostgreSQL, on asyncio or trio."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, cast

import anyio
import psycopg
from psycopg import Notify
from psycopg.abc import AdaptContext
from psycopg.rows import AsyncRowFactory, Row

from chancy_core.postgres import connecting, notifications, recovery
from chancy_core.postgres.blocks import Pipeline, Transaction
from chancy_core.postgres.private import set_autocommit
from chancy_core.postgres.session import Session

logger = logging.getLogger("chancy.postgres")


class Connection(Session[Row]):
    """A psycopg connection that waits through anyio.

    All that `psycopg.AsyncConnection` has is here, with the same meaning; and further:

    * Every call has a deadline of `call_timeout` seconds on the client's side (none if None), after
      which it raises `CallTimeout`. Waiting for notifications is no call.
    * Whoever is cancelled, or meets a deadline, finds the connection usable or closed. An
      interrupted command may take 20 ms to finish, then the server is asked to cancel it. This
      takes at most five seconds, and the connection is closed if that is not enough.

    One task at a time uses a connection; others wait for their turn, in order.
    """

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
