"""Databases of a test's own: made as copies, marked, and dropped afterwards."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from chancy_core.errors import KitError
from chancy_core.testing.threads import apart

if TYPE_CHECKING:
    from chancy_core.app import Chancy

#: The comment on each database that the kit has made. No other has it: neither a copy of a
#: database nor a dump of what is in it takes its comment along.
MARK = "chancy: a test's own database, to be dropped"


@contextmanager
def database(server: str, *, template: str = "template0") -> Iterator[str]:
    """The DSN of a new database, a copy of the one named *template*; it is dropped at the end.

    *server* is the DSN of any database of the server, of a role that may create more.

    Raises `KitError` if it may not.
    """
    name = f"chancy_test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as conn:
        create = "CREATE DATABASE {} TEMPLATE {}"
        if conn.info.server_version >= 150000 and _is_careless(conn):
            # Twice as fast as the default, but only if no checkpoint waits for a disk.
            create += " STRATEGY FILE_COPY"
        try:
            conn.execute(sql.SQL(create).format(sql.Identifier(name), sql.Identifier(template)))
        except psycopg.errors.InsufficientPrivilege as exc:
            raise KitError(
                f"the role {conn.info.user!r} may not create databases for the tests: "
                f'`ALTER ROLE "{conn.info.user}" CREATEDB`, or name another server by '
                "CHANCY_TEST_DSN"
            ) from exc
        try:
            comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
            conn.execute(comment.format(sql.Identifier(name), sql.Literal(MARK)))
            yield make_conninfo(server, dbname=name)
        finally:
            _end_sessions(conn, name)
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            conn.execute(drop.format(sql.Identifier(name)))


def _end_sessions(conn: psycopg.Connection, name: str) -> None:
    """End what is connected to a database still, if it does not take long.

    Dropping it would do so, but sleep for 0.1 s if one is there yet, as one is that has just been
    closed: most of what a test would cost.
    """
    ended = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = %s AND backend_type = 'client backend' AND usename = current_user"
    )
    until = time.monotonic() + 0.1
    while conn.execute(ended, [name]).fetchone() and time.monotonic() < until:
        time.sleep(0.001)


def _is_careless(conn: psycopg.Connection) -> bool:
    row = conn.execute("SHOW fsync").fetchone()
    return row is not None and row[0] == "off"


@contextmanager
def redirected(chancy: "Chancy", dsn: str) -> Iterator["Chancy"]:
    """Have an application use the database *dsn* inside of the block, whatever it was made with.

        with redirected(acme.chancy, chancy_dsn) as chancy: ...

    For an application that is made when its module is imported. It must be closed meanwhile.
    """
    apart(chancy.sync_close)
    before = chancy.dsn, chancy.listen_dsn
    chancy.dsn, chancy.listen_dsn = dsn, None
    try:
        yield chancy
    finally:
        apart(chancy.sync_close)
        chancy.dsn, chancy.listen_dsn = before
