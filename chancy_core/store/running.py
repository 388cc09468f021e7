"""Runs one statement on one connection of ours; and what the server has undone, once more."""

import random
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TypeVar

import anyio
import psycopg

from chancy_core.postgres import Connection
from chancy_core.statement import Copy, Statement

T = TypeVar("T")

#: What the server undoes for the sake of others: under stricter isolation than ours, on a
#: deadlock with somebody else's statements, or behind a lock for longer than the role may wait.
UNDONE = (
    psycopg.errors.SerializationFailure,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.LockNotAvailable,
)
#: How often it is tried once more.
AGAIN = 10


async def run_on(conn: Connection, statement: Statement[T]) -> T:
    """Run a statement on a connection and read its answer."""
    read = statement.read
    if isinstance(statement, Copy):
        async with conn.cursor().copy(statement.text) as copy:
            for piece in statement.pieces:
                await copy.write(piece)
        return read(())
    cursor = await conn.execute(statement.text, statement.params, binary=True)
    # Not `cursor.description`, which makes an object for each column.
    return read(() if cursor.rownumber is None else await cursor.fetchall())


async def persist(run: Callable[[], Awaitable[T]]) -> T:
    """Run a transaction, and the same once more, a few times, if the server has undone it."""
    for pause in _pauses():
        try:
            return await run()
        except UNDONE:
            await anyio.sleep(pause)
    return await run()


def persist_sync(run: Callable[[], T]) -> T:
    """Do the same in a thread."""
    for pause in _pauses():
        with suppress(*UNDONE):
            return run()
        time.sleep(pause)
    return run()


def _pauses() -> Iterator[float]:
    """How long to wait before each further try, in seconds: longer and longer, with full jitter."""
    return (random.uniform(0, 0.01 * 2.0**tries) for tries in range(AGAIN))
