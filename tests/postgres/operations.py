"""One of each kind of thing that a connection can be in the middle of."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import anyio

from chancy_core.postgres import Connection

Conn = Connection[Any]
#: More than a socket holds, so that the server waits for who reads.
ROWS = "SELECT g, repeat('x', 700) FROM generate_series(1, 450) g"


async def query(conn: Conn) -> None:
    await conn.execute("SELECT pg_sleep(0.001)")
    await conn.execute("SELECT sum(g) FROM generate_series(1, 3000) g WHERE g > %s", [3])


async def long_query(conn: Conn) -> None:
    await conn.execute("SELECT pg_sleep(100)")


async def pipeline(conn: Conn) -> None:
    async with conn.pipeline():
        cursors = [await conn.execute("SELECT %s::int, pg_sleep(0.0002)", [i]) for i in range(10)]
        assert await cursors[5].fetchone() == (5, "")
        async with conn.transaction():
            await conn.execute("SELECT 1")


async def many(conn: Conn) -> None:
    await conn.execute("CREATE TEMP TABLE IF NOT EXISTS many (a int)")
    await conn.cursor().executemany("INSERT INTO many VALUES (%s)", [(i,) for i in range(100)])


async def copy_in(conn: Conn) -> None:
    await conn.execute("CREATE TEMP TABLE IF NOT EXISTS copied (a text)")
    async with conn.cursor().copy("COPY copied FROM STDIN") as copy:
        for _ in range(20):
            await copy.write(b"x" * 20_000 + b"\n")
            await anyio.sleep(0)


async def copy_out(conn: Conn) -> None:
    async with conn.cursor().copy(f"COPY ({ROWS}) TO STDOUT") as copy:
        async for _ in copy:
            pass


async def stream(conn: Conn) -> None:
    async with aclosing(conn.cursor().stream(ROWS)) as rows:
        async for _ in rows:
            pass


async def transaction(conn: Conn) -> None:
    async with conn.transaction():
        await conn.execute("SELECT 1")
        async with conn.transaction():
            await conn.execute("SELECT pg_sleep(0.001)")


async def server_cursor(conn: Conn) -> None:
    async with conn.transaction(), conn.cursor("served") as cursor:
        await cursor.execute(ROWS)
        while await cursor.fetchmany(150):
            pass


async def listen(conn: Conn) -> None:
    await conn.execute("LISTEN here")
    await conn.execute("NOTIFY here")
    async with aclosing(conn.notifies()) as events:
        async for _ in events:
            pass


Operation = Callable[[Conn], Awaitable[None]]
ALL: dict[str, Operation] = {
    operation.__name__: operation
    for operation in (
        query, pipeline, many, copy_in, copy_out, stream, transaction, server_cursor, listen,
    )
}  # fmt: skip
