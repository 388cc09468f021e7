"""Whether statements are prepared: not through a pooler, where the next may meet another session.

A pooler makes up the process number that it tells when somebody connects, so it is known by
the server's own answer. `None` stands for: only if there is none.
"""

from typing import Any

import psycopg
from psycopg.rows import tuple_row

#: After how many times a statement is prepared: psycopg's own figure.
THRESHOLD = 5

_BACKEND = "SELECT pg_catalog.pg_backend_pid()"


async def decide(conn: psycopg.AsyncConnection[Any], prepared: bool | None) -> None:
    """Have a new connection prepare statements, or not."""
    if prepared is None:
        async with conn.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_BACKEND, prepare=False)
            prepared = await cursor.fetchone() == (conn.info.backend_pid,)
    conn.prepare_threshold = THRESHOLD if prepared else None


def decide_sync(conn: psycopg.Connection[Any], prepared: bool | None) -> None:
    """Do the same for a connection of a thread's."""
    if prepared is None:
        with conn.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(_BACKEND, prepare=False)
            prepared = cursor.fetchone() == (conn.info.backend_pid,)
    conn.prepare_threshold = THRESHOLD if prepared else None
