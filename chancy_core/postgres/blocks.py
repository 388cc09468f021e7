"""Transactions and pipelines whose ends survive cancellation.

trio interrupts every await of a cancelled scope, the clean-up's too; asyncio only the first. So the
way out of a block is shielded when it is left on an error, with a limit, and a commit is never cut
in the middle as long as the server answers.
"""

import logging
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import psycopg
from anyio.lowlevel import checkpoint_if_cancelled
from psycopg import pq

from chancy_core.postgres.private import forget_prepared
from chancy_core.postgres.recovery import resynchronise, shielded
from chancy_core.postgres.waiting import NoLock

if TYPE_CHECKING:
    from chancy_core.postgres.session import Session

logger = logging.getLogger("chancy.postgres")


class Transaction(psycopg.AsyncTransaction):
    """Returned by `Connection.transaction()`.

    A block that is cancelled is rolled back. A cancellation that comes when COMMIT has been sent
    waits for the server's word, up to five seconds; then the connection is closed, and whether the
    transaction was committed is unknown.
    """

    @property
    def _session(self) -> "Session[Any]":
        return cast("Session[Any]", self._conn)

    async def __aenter__(self) -> Self:
        async with self._conn.lock:
            self._check_enter()
            await checkpoint_if_cancelled()
            try:
                await self._session.wait_through(self._enter_gen())
            except BaseException as error:
                await self._leave(error)
                raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is None:
            try:
                async with self._conn.lock:
                    await checkpoint_if_cancelled()
                    if self.pgconn.status == pq.ConnStatus.OK:
                        return await self._session.wait_through(self._exit_gen(None, None, None))
            except BaseException as interruption:
                if self.status is self.Status.ACTIVE:  # nothing was sent yet
                    await self._roll_back(interruption)
                raise
            self.status = self.Status.FAILED
            msg = "the connection was closed inside of the transaction, which is rolled back"
            raise psycopg.OperationalError(msg)
        return await self._roll_back(error)

    async def _roll_back(self, error: BaseException) -> bool:
        with shielded() as scope:
            async with self._conn.lock:
                return await self._leave(error)
        if scope.cancelled_caught:
            self._session.abort()
        self.status = self.Status.FAILED
        return False

    async def _leave(self, error: BaseException) -> bool:
        if self.pgconn.status != pq.ConnStatus.OK:
            self.status = self.Status.FAILED
            return False
        with shielded() as scope:
            return await self._session.wait_through(self._exit_gen(type(error), error, None))
        if scope.cancelled_caught:
            self._session.abort()
        return False


class Pipeline(psycopg.AsyncPipeline):
    """Returned by `Connection.pipeline()`.

    Left on an error, it asks the server to cancel what still runs and reads all answers; if that
    takes longer than five seconds, the connection is closed.
    """

    def __init__(self, connection: "Session[Any]", *, locked: bool = False) -> None:
        super().__init__(connection)
        self._session = connection
        if locked:
            self._lock = NoLock()  # type: ignore[assignment]

    async def __aenter__(self) -> Self:
        level = self.level
        try:
            return await super().__aenter__()
        except BaseException:
            self.level = level  # it may have been entered before the interruption came through
            if level == 0:
                self._leave_mode(None)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failure = error
        try:
            if failure is None:
                async with self._lock:
                    await self._conn.wait(self._exit_gen())
        except BaseException as raised:
            failure = raised
            raise
        finally:
            if failure is None:
                self._leave_mode(None)
            else:
                await self._clear_up(failure)

    def _leave_mode(self, failure: BaseException | None) -> None:
        if self.level > 0:
            self._exit(failure)
        if self.level == 0 and not self._conn.closed and self.pgconn.pipeline_status:
            logger.warning("closing %r: its pipeline could not be left", self._conn)
            self._session.abort()

    async def _clear_up(self, failure: BaseException) -> None:
        with shielded() as scope:
            async with self._lock:
                if not self._conn.closed and self.pgconn.pipeline_status:
                    # psycopg's own way out matches results to commands by counting them, and a
                    # cancelled Sync has one result more; libpq knows what is still to come.
                    self.result_queue.clear()
                    await self._session.wait_out(resynchronise(self.pgconn, self.command_queue))
                self._leave_mode(failure)
                if self.level == 0:
                    await self._session.check_order()
        if scope.cancelled_caught:
            self.level = 0
            self._session.abort()
        # The server skipped what came after the error, preparations too.
        forget_prepared(self._conn)
