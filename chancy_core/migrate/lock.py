"""One migrator at a time: a row with an expiry, by the clock of the database.

A row and not an advisory lock, because those belong to a session, and behind a pooler
that lends a server connection per transaction there is none.
"""

import contextlib
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any

import anyio
import attrs
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from chancy_core.errors import MigrationError
from chancy_core.statement import Names

_CREATE = """\
CREATE TABLE IF NOT EXISTS {migrations} (
    line text NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    oldest integer NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (line, version)
);
CREATE TABLE IF NOT EXISTS {migration_lock} (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    holder uuid NOT NULL,
    taken_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);"""

#: What a migration makes belongs to whoever owns our bookkeeping, whichever member of it migrates.
AS_OWNER = (
    "SELECT set_config('role', pg_get_userbyid(relowner), true) FROM pg_class "
    "WHERE oid = '{migrations}'::regclass AND pg_has_role(relowner, 'MEMBER')"
)

_TAKE = """
INSERT INTO {migration_lock} AS held (holder, taken_at, expires_at)
VALUES (%(holder)s, clock_timestamp(), clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (only_row) DO UPDATE
SET holder = excluded.holder, taken_at = excluded.taken_at, expires_at = excluded.expires_at
WHERE held.expires_at <= clock_timestamp()
RETURNING true"""

_RENEW = """
UPDATE {migration_lock}
SET expires_at = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE holder = %(holder)s"""

_HOLDER = """
SELECT holder, extract(epoch FROM clock_timestamp() - taken_at)::float8,
    extract(epoch FROM expires_at - clock_timestamp())::float8
FROM {migration_lock}"""

_UNDEFINED_TABLE = "42P01"
# Two that create the same thing at once: one of them loses by one of these. Or it was
# removed again.
_OTHERS_AT_IT = {"23505", "42P06", "42P07", "42710", _UNDEFINED_TABLE}
_LOCK_NOT_AVAILABLE = "55P03"
# What runs outside a transaction (an index built concurrently) cannot renew meanwhile.
_UNATTENDED = 3600.0


@attrs.frozen
class MigrationLock:
    """The lock of all migrations under *names*, held by this object or by another."""

    names: Names
    lease: float
    holder: uuid.UUID = attrs.field(factory=uuid.uuid4)

    @contextlib.asynccontextmanager
    async def held(self, conn: psycopg.AsyncConnection[Any], wait: float) -> AsyncIterator[None]:
        """Hold the lock, after at most *wait* seconds; our bookkeeping exists from then on."""
        deadline = anyio.current_time() + wait
        while not await self._take(conn):
            if anyio.current_time() >= deadline:
                raise MigrationError(await self._who(conn, wait))
            await anyio.sleep(random.uniform(0.05, 0.3))
        try:
            yield
        finally:
            # If this fails, the expiry does it.
            with anyio.move_on_after(5, shield=True), contextlib.suppress(psycopg.Error):
                await self._release(conn)

    async def renew(self, conn: psycopg.AsyncConnection[Any], *, unattended: bool = False) -> None:
        """Put the expiry off; raises `MigrationError` when the lock is not ours any more."""
        lease = max(self.lease, _UNATTENDED) if unattended else self.lease
        cur = await conn.execute(
            self.names.render(_RENEW).encode(), {"holder": self.holder, "lease": lease}
        )
        if cur.rowcount != 1:
            raise MigrationError(
                f"the migration lock was lost: it is given away {self.lease:g} s after the last "
                "sign of life, and another migrator has taken it; see what it did, then run again"
            )

    async def drop_bookkeeping(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Remove the two tables, the lock with them."""
        async with conn.transaction():
            await self.renew(conn)
            await conn.execute(
                self.names.render("DROP TABLE {migrations}, {migration_lock}").encode()
            )

    async def _take(self, conn: psycopg.AsyncConnection[Any]) -> bool:
        """Try once; creates the tables when they are missing."""
        try:
            return await self._insert(conn)
        except psycopg.Error as exc:
            if is_lock_timeout(exc):
                return False  # its holder is in the middle of a step
            if exc.sqlstate != _UNDEFINED_TABLE:
                raise
        try:
            text = await bookkeeping(conn, self.names)
            await conn.execute(text.encode(), prepare=False)
            return await self._insert(conn)
        except psycopg.Error as exc:
            if exc.sqlstate in _OTHERS_AT_IT or is_lock_timeout(exc):
                return False
            raise

    async def _insert(self, conn: psycopg.AsyncConnection[Any]) -> bool:
        async with conn.transaction():
            await conn.execute("SET LOCAL lock_timeout = '1s'")
            cur = await conn.execute(
                self.names.render(_TAKE).encode(), {"holder": self.holder, "lease": self.lease}
            )
            return await cur.fetchone() is not None

    async def _release(self, conn: psycopg.AsyncConnection[Any]) -> None:
        await conn.execute(
            self.names.render("DELETE FROM {migration_lock} WHERE holder = %s").encode(),
            [self.holder],
        )

    async def _who(self, conn: psycopg.AsyncConnection[Any], wait: float) -> str:
        async with conn.cursor(row_factory=tuple_row) as cur:
            await cur.execute(self.names.render(_HOLDER).encode())
            row = await cur.fetchone()
        if row is None:
            return f"the migration lock was not to be had within {wait:g} s: others keep taking it"
        return (
            f"another migrator ({row[0]}) has held the migration lock for {row[1]:.0f} s, and we "
            f"waited {wait:g} s; if it is gone, the lock expires in {max(row[2], 0.0):.0f} s"
        )


@contextlib.asynccontextmanager
async def autocommit(conn: psycopg.AsyncConnection[Any]) -> AsyncIterator[None]:
    """Have *conn* in autocommit mode, and afterwards in the mode that it was in."""
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise MigrationError(
            "migrations need a connection that is outside a transaction: "
            f"this one is {conn.info.transaction_status.name}"
        )
    before = conn.autocommit
    await conn.set_autocommit(True)
    try:
        yield
    finally:
        with anyio.move_on_after(5, shield=True), contextlib.suppress(psycopg.Error):
            await conn.set_autocommit(before)


async def bookkeeping(conn: psycopg.AsyncConnection[Any], names: Names) -> str:
    """The statements that create our two tables, and the schema if there is none."""
    async with conn.transaction(), conn.cursor(row_factory=tuple_row) as cur:
        await cur.execute("SELECT to_regnamespace(%s)", [names.render("{schema}")])
        missing = await cur.fetchone() == (None,)
    # Not left to IF NOT EXISTS, which asks for the right to create schemas all the same.
    schema = "CREATE SCHEMA IF NOT EXISTS {schema};\n" if missing else ""
    return names.render(schema + _CREATE)


def unseen_bookkeeping(names: Names) -> str:
    """The statements that create our two tables in a database that nobody has looked at.

    The schema too, unless it is the one that every database has.
    """
    schema = "" if names.schema == "public" else "CREATE SCHEMA IF NOT EXISTS {schema};\n"
    return names.render(schema + _CREATE)


def is_lock_timeout(exc: psycopg.Error) -> bool:
    """Whether *exc* says that `lock_timeout` has passed."""
    return exc.sqlstate == _LOCK_NOT_AVAILABLE


def pause() -> float:
    """How long to leave a table to others, in seconds, before its lock is asked for again."""
    return random.uniform(0.5, 1.5)
