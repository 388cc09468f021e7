"""The five roles on a test's own database, and connections as each of them.

Roles belong to the whole server: those of a test have names that no other has, and are dropped.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from attrs import frozen
from psycopg import sql
from psycopg.conninfo import make_conninfo

from chancy_core.migrate import Line
from chancy_core.roles import ROLES, Roles
from chancy_core.statement import Names

CORE = Line.from_package("core", "chancy_core.migrations")


@frozen
class Granted:
    """A database on which the roles have been made."""

    dsn: str
    roles: Roles
    texts: tuple[str, ...]

    def __getitem__(self, role: str) -> str:
        """Return the DSN by which somebody connects as this role."""
        return login(self.dsn, self.roles[role])

    def grant(self, dsn: str | None = None) -> None:
        """Run the script, as whoever the DSN says."""
        with psycopg.connect(dsn or self.dsn, autocommit=True) as conn:
            conn.execute(self.roles.script(self.texts).encode())


def login(dsn: str, role: str) -> str:
    return make_conninfo(dsn, user=role, password=role)


def create(conn: psycopg.Connection, role: str, *members_of: str) -> None:
    """Make a role that can log in, be it by a password."""
    conn.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(role))
    )
    for group in members_of:
        conn.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role)))


def drop(conn: psycopg.Connection, *roles: str) -> None:
    """Drop roles, with all that they own and may in this database."""
    names = sql.SQL(", ").join(map(sql.Identifier, roles))
    conn.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(names))
    conn.execute(sql.SQL("DROP ROLE {}").format(names))


@contextmanager
def granted(
    dsn: str,
    names: Names | None = None,
    texts: tuple[str, ...] = (),
    *,
    granter: str | None = None,
) -> Iterator[Granted]:
    """Make the roles, for the tables of the core and those that *texts* name.

    That is done by the *granter*, who need be no superuser; dropping them takes one.
    """
    texts += tuple(step.up.text for step in CORE.migrations)
    made = Granted(dsn, Roles(names or Names(), f"t{uuid.uuid4().hex[:20]}_"), texts)
    with psycopg.connect(dsn, autocommit=True) as conn:
        made.grant(granter)
        try:
            for role in map(made.roles.__getitem__, ROLES[1:]):
                text = sql.SQL("ALTER ROLE {} PASSWORD {}")
                conn.execute(text.format(sql.Identifier(role), sql.Literal(role)))
            yield made
        finally:
            drop(conn, *map(made.roles.__getitem__, ROLES))


@frozen
class Least:
    """A role that is a member of those that push and work, in all databases of a run."""

    roles: Roles

    @property
    def name(self) -> str:
        return self.roles["both"]

    def prepare(self, dsn: str) -> None:
        """Make the roles in the database that all others are copied from."""
        Granted(dsn, self.roles, tuple(step.up.text for step in CORE.migrations)).grant()
        with psycopg.connect(dsn, autocommit=True) as conn:
            create(conn, self.name, self.roles["work"])

    def dsn(self, dsn: str) -> str:
        return login(dsn, self.name)


@contextmanager
def least(server: str) -> Iterator[Least]:
    """Have such a role until the databases in which it is used have been dropped."""
    made = Least(Roles(Names(), f"t{uuid.uuid4().hex[:20]}_"))
    yield made
    with psycopg.connect(server, autocommit=True) as conn:
        for role in (made.name, *map(made.roles.__getitem__, reversed(ROLES))):
            conn.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))
