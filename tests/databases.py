"""Make and drop databases on the tests' server."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo


@contextmanager
def database(server: str, *, template: str = "template0") -> Iterator[str]:
    """The DSN of a new database, a copy of `template`; it is dropped at the end."""
    name = f"chancy_test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as conn:
        create = "CREATE DATABASE {} TEMPLATE {}"
        if conn.info.server_version >= 150000 and _is_careless(conn):
            # Twice as fast as the default, but only if no checkpoint waits for a disk.
            create += " STRATEGY FILE_COPY"
        conn.execute(sql.SQL(create).format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield make_conninfo(server, dbname=name)
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)")
            conn.execute(drop.format(sql.Identifier(name)))


def _is_careless(conn: psycopg.Connection) -> bool:
    row = conn.execute("SHOW fsync").fetchone()
    return row is not None and row[0] == "off"
