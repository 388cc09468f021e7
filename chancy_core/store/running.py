"""Runs one statement on one connection of ours."""

from typing import TypeVar

from chancy_core.postgres import Connection
from chancy_core.statement import Statement

T = TypeVar("T")


async def run_on(conn: Connection, statement: Statement[T]) -> T:
    """Run a statement on a connection and read its answer."""
    cursor = await conn.execute(statement.text, statement.params, binary=True)
    return statement.read(await cursor.fetchall() if cursor.description else ())
