"""After an interruption: bring a connection between two commands again, or close it.

A connection whose caller was cancelled, or whose deadline has passed, is in the middle of a
command. It gets a short grace to finish, then the server is asked to cancel, and then all that it
still sends is read. All of this is shielded from further cancellation and bounded in time; what
cannot be saved within the bound is closed, so that nobody ever meets a connection half-way.
"""

import logging
from collections import deque
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import anyio
import psycopg
from psycopg import generators, pq
from psycopg.abc import PipelineCommand

from chancy_core.postgres.waiting import Steps, drive, drive_connecting

if TYPE_CHECKING:
    from chancy_core.postgres.session import Session

GRACE = 0.02  # seconds that an interrupted command may still take before it is cancelled
LIMIT = 5.0  # seconds that all of the clean-up may take before the connection is closed
AGAIN = 0.5  # seconds after which a cancel request is repeated: it may have hit the command before

logger = logging.getLogger("chancy.postgres")


def patience(limit: float | None) -> float:
    """How long recovery may take where a call may take `limit`: one that is impatient gets less."""
    return LIMIT if limit is None else min(LIMIT, max(1.0, limit))


def shielded(limit: float = LIMIT) -> AbstractContextManager[anyio.CancelScope]:
    """A scope for clean-up: nothing from outside interrupts it, but it ends."""
    return anyio.move_on_after(limit, shield=True)


async def recover(
    connection: "Session[Any]", steps: Steps[Any] | None, grace: float, limit: float = LIMIT
) -> bool:
    """Finish what `steps` began; True if the connection can be used, False if it is closed now.

    A COPY or a pipeline is left open for its own exit.
    """
    try:
        with shielded(limit):
            if steps is not None:
                await _finish(connection, steps, grace)
            if not connection.copying and not connection.in_pipeline:
                await _drain(connection, grace if steps is None else 0)
            return not connection.closed
    except psycopg.Error as error:
        logger.warning("closing %r: no recovery after an interruption: %s", connection, error)
        connection.abort()
        return False
    except BaseException:
        # Interrupted once more, by something that no shield holds off (Ctrl-C).
        connection.abort()
        raise
    logger.warning(
        "closing %r: it did not come to rest within %g s of an interruption", connection, limit
    )
    connection.abort()
    return False


def resynchronise(pgconn: pq.abc.PGconn, commands: deque[PipelineCommand]) -> Steps[None]:
    """Send what is queued (a ROLLBACK, perhaps) and a Sync; throw away all that libpq expects."""
    commands.append(pgconn.pipeline_sync)
    yield from generators.pipeline_communicate(pgconn, commands)
    yield from generators.send(pgconn)
    while pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
        yield from generators.fetch(pgconn)


async def answers_in_order(connection: "Session[Any]") -> bool:
    """Whether the server's next answer is for the next question.

    psycopg matches the results of a pipeline by counting them. A request to cancel may hit the
    server between two commands, so that there is one more, and every later answer would be late by
    one. An empty query has an answer of its own kind, in a failed transaction too.
    """
    if connection.closed:
        return False
    connection.pgconn.send_query(b"")
    results = await drive(generators.execute(connection.pgconn), connection.pace)
    return [result.status for result in results] == [pq.ExecStatus.EMPTY_QUERY]


async def _finish(connection: "Session[Any]", steps: Steps[Any], grace: float) -> None:
    with anyio.move_on_after(grace):
        await _exhaust(connection, steps)
        return
    if connection.copying:
        connection.copy_spoiled = True
        return
    while True:
        await request_cancel(connection)
        with anyio.move_on_after(AGAIN):
            await _exhaust(connection, steps)
            return


async def _exhaust(connection: "Session[Any]", steps: Steps[Any]) -> None:
    try:
        await drive(steps, connection.pace)
    except Exception as error:  # noqa: BLE001
        # The generator has ended, which is all that matters; that it tells of the cancelling is
        # expected, and the interruption is what the caller gets to see.
        logger.debug("after an interruption of %r: %s", connection, error)


async def _drain(connection: "Session[Any]", grace: float) -> None:
    """Read and throw away until the server has nothing more to say."""
    if connection.closed or connection.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
        return
    if grace:
        with anyio.move_on_after(grace):
            await _discard(connection)
            return
    while True:
        await request_cancel(connection)
        with anyio.move_on_after(AGAIN):
            await _discard(connection)
            return


async def _discard(connection: "Session[Any]") -> None:
    pgconn = connection.pgconn
    # The server may wait for what an earlier try has left unsent: the end of a COPY.
    await drive(generators.send(pgconn), connection.pace)
    while result := await drive(generators.fetch(pgconn), connection.pace):
        if result.status == pq.ExecStatus.COPY_IN:
            try:
                await drive(generators.copy_end(pgconn, b"interrupted"), connection.pace)
            except psycopg.DatabaseError as error:
                if connection.closed:
                    raise
                logger.debug("COPY ended: %s", error)
        elif result.status == pq.ExecStatus.COPY_OUT:
            await _discard_copy(connection)


async def _discard_copy(connection: "Session[Any]") -> None:
    try:
        while isinstance(
            await drive(generators.copy_from(connection.pgconn), connection.pace), memoryview
        ):
            pass
    except psycopg.DatabaseError as error:
        if connection.closed:
            raise
        logger.debug("COPY ended: %s", error)


async def request_cancel(connection: "Session[Any]") -> None:
    """Ask the server to cancel the running command, and wait until it has heard it.

    A request under way must not be given up: it could hit a later command.
    """
    if connection.closed:
        return
    try:
        if psycopg.capabilities.has_cancel_safe():
            await drive_connecting(connection.cancel_steps())
        else:
            await anyio.to_thread.run_sync(connection.cancel)
    except psycopg.OperationalError as error:
        logger.warning("the server could not be asked to cancel: %s", error)
