"""Requests on a connection of the caller's, whose cursors and rows are left alone."""

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from chancy_core.errors import InvalidValue
from chancy_core.statement import Copy, Names, Statement

if TYPE_CHECKING:
    import psycopg

    from chancy_core.hint import Hint
    from chancy_core.store.carrying import Request

    Sync = psycopg.Connection[Any] | psycopg.Cursor[Any]
    Async = psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any]

T = TypeVar("T")


def within(conn: "Sync | Async", request: "Request[T]", names: Names, *, tell: bool) -> Any:
    """Carry out a request on the caller's connection; an awaitable if that is asynchronous.

    Hints are sent in the transaction, and so arrive when it is committed.
    """
    import psycopg

    from chancy_core.store import carrying, statements

    if isinstance(conn, psycopg.Cursor | psycopg.AsyncCursor):
        conn = conn.connection
    hints: list[Hint] = []

    def told() -> "Request[T]":
        answer = yield from request
        if tell and hints:
            yield statements.notify(names, hints)
        return answer

    if isinstance(conn, psycopg.Connection):
        return carrying.carry_out_sync(told(), partial(run_sync, conn), hints.append)
    if isinstance(conn, psycopg.AsyncConnection):
        return carrying.carry_out(told(), partial(_run, conn), hints.append)
    raise InvalidValue(
        "give a psycopg Connection or Cursor, an AsyncConnection or AsyncCursor, or one of "
        f"chancy_core.postgres, not {conn!r}"
    )


def is_async(conn: "Sync | Async") -> bool:
    """Whether what is done on a connection, or a cursor, is awaited."""
    import psycopg

    return isinstance(conn, psycopg.AsyncConnection | psycopg.AsyncCursor)


def run_sync(conn: "psycopg.Connection[Any]", statement: Statement[T]) -> T:
    """Run a statement, whatever cursors and rows the connection makes for its owner."""
    import psycopg

    read = statement.read
    with psycopg.Cursor(conn, row_factory=psycopg.rows.tuple_row) as cursor:
        if isinstance(statement, Copy):
            with cursor.copy(statement.text) as copy:
                for piece in statement.pieces:
                    copy.write(piece)
            return read(())
        cursor.execute(statement.text, statement.params, binary=True)
        if conn.pgconn.pipeline_status:
            with conn.pipeline():  # the answers are there when an inner block is left
                pass
        return read(cursor.fetchall() if cursor.description else ())


async def _run(conn: "psycopg.AsyncConnection[Any]", statement: Statement[T]) -> T:
    import psycopg

    from chancy_core.postgres import Connection
    from chancy_core.postgres.cursors import Cursor

    # A COPY of ours that is interrupted leaves its connection usable.
    kind = Cursor if isinstance(conn, Connection) else psycopg.AsyncCursor
    read = statement.read
    async with kind(conn, row_factory=psycopg.rows.tuple_row) as cursor:
        if isinstance(statement, Copy):
            async with cursor.copy(statement.text) as copy:
                for piece in statement.pieces:
                    await copy.write(piece)
            return read(())
        await cursor.execute(statement.text, statement.params, binary=True)
        if conn.pgconn.pipeline_status:
            async with conn.pipeline():
                pass
        return read(await cursor.fetchall() if cursor.description else ())
