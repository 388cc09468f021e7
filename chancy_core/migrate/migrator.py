"""Bring the schema to a version, one migration line at a time, and say whether it fits the code.

    migrator = Migrator(Names(), {"core": Line.from_package("core", "chancy_core.migrations")})
    await migrator.migrate(conn)                    # every line to its newest version
    await migrator.migrate(conn, to={"core": 3})    # this line up or down, the others stay
    await migrator.check(conn)                      # raises MigrationsNeeded

Any number of processes may call `migrate` at once: one works, the others wait. Each
migration commits together with the row that records it, or not at all; one that asks for
`no-transaction` is recorded after its last statement, and repeated when it was cut off.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import anyio
import attrs
import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from chancy_core.errors import MigrationError, MigrationsNeeded
from chancy_core.migrate.line import Line, LineStatus, Step
from chancy_core.migrate.lock import (
    AS_OWNER,
    MigrationLock,
    autocommit,
    bookkeeping,
    is_lock_timeout,
    pause,
    unseen_bookkeeping,
)
from chancy_core.postgres import Connection
from chancy_core.statement import Names

__all__ = ["Line", "LineStatus", "Migrator", "Step"]

logger = logging.getLogger(__name__)

# Who waits for a table's lock has everybody wait who comes after it: not for long, but often.
LOCK_TIMEOUT = "SET LOCAL lock_timeout = '500ms'"
TRIES = 30


@attrs.frozen
class Migrator:
    """Applies migration *lines* to the schema and prefix of *names*.

    A connection that is given must be outside a transaction; it is switched to autocommit
    while we use it.
    """

    names: Names
    lines: Mapping[str, Line]
    #: How long, in seconds, the lock outlives the last sign of life of its holder.
    lease: float = 60.0

    async def migrate(
        self,
        conn: psycopg.AsyncConnection[Any],
        to: Mapping[str, int] | None = None,
        *,
        wait: float = 120.0,
        told: Callable[[Step], object] | None = None,
    ) -> tuple[Step, ...]:
        """Run what is missing and return it: all lines to their newest, or only those in *to*.

        Downward steps run first, newest first and `core` last; when nothing is left, our two
        tables of bookkeeping go as well. *told* is called with each step once it is done.
        Raises `MigrationError` when another migrator still holds the lock after *wait* seconds,
        and when a step fails; the steps before it remain.
        """
        self._check_targets(to)
        lock = MigrationLock(self.names, self.lease)
        async with autocommit(conn):
            # Who may not migrate may find that there is nothing to do.
            statuses = await self.status(conn)
            if not self._steps(statuses, to) and not _nothing_left(statuses, ()):
                return ()
            async with lock.held(conn, wait):
                return await self._migrate(conn, lock, to, told)

    async def _migrate(
        self,
        conn: psycopg.AsyncConnection[Any],
        lock: MigrationLock,
        to: Mapping[str, int] | None,
        told: Callable[[Step], object] | None,
    ) -> tuple[Step, ...]:
        statuses = await self.status(conn)
        steps = self._steps(statuses, to)
        for step in steps:
            logger.info("migrating: %s", step)
            await self._run(conn, lock, step)
            if told is not None:
                told(step)
        if _nothing_left(statuses, steps):
            await lock.drop_bookkeeping(conn)
        return steps

    async def plan(
        self, conn: psycopg.AsyncConnection[Any], to: Mapping[str, int] | None = None
    ) -> tuple[Step, ...]:
        """The steps that `migrate` would run now."""
        self._check_targets(to)
        return self._steps(await self.status(conn), to)

    async def sql(
        self, conn: psycopg.AsyncConnection[Any], to: Mapping[str, int] | None = None
    ) -> str:
        """What `migrate` would run now, as a script for psql, bookkeeping included.

        It takes no lock: nobody else may migrate while somebody runs it by hand.
        """
        self._check_targets(to)
        return self._script(await self.status(conn), to, await bookkeeping(conn, self.names))

    def script(
        self, to: Mapping[str, int] | None = None, *, since: Mapping[str, int] | None = None
    ) -> str:
        """What `sql` would return for a database whose lines are at the versions in *since*.

        Lines that it does not name are not there yet; no database is looked at.
        """
        self._check_targets(to)
        self._check_targets(since)
        statuses = tuple(
            LineStatus(name, (since or {}).get(name, 0), 0, line.newest)
            for name, line in sorted(self.lines.items(), key=lambda item: _core_first(item[0]))
        )
        return self._script(statuses, to, unseen_bookkeeping(self.names))

    def _script(
        self, statuses: Sequence[LineStatus], to: Mapping[str, int] | None, tables: str
    ) -> str:
        steps = self._steps(statuses, to)
        if not steps:
            return "-- nothing to do\n"
        parts = [tables, *map(self._text, steps)]
        if _nothing_left(statuses, steps):
            parts.append(self.names.render("DROP TABLE {migrations}, {migration_lock};"))
        return "\n\n".join(parts) + "\n"

    async def check(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Raise `MigrationsNeeded`, saying what to do, unless all our lines may run on it."""
        complaints = [status.complaint for status in await self.status(conn) if status.complaint]
        if complaints:
            raise MigrationsNeeded(
                f"the schema {self.names.schema!r} (prefix {self.names.prefix!r}) does not fit "
                f"the code: {'; '.join(complaints)}"
            )

    async def status(self, conn: psycopg.AsyncConnection[Any]) -> tuple[LineStatus, ...]:
        """Each line that is installed or recorded: `core` first, then by name.

        A line whose package is gone has `newest=None`; `migrate` leaves it alone.
        """
        rows: dict[str, tuple[int, int]] = {}
        async with conn.transaction(), conn.cursor(row_factory=tuple_row) as cur:
            await cur.execute("SELECT to_regclass(%s)", [self.names.render("{migrations}")])
            if await cur.fetchone() != (None,):
                await cur.execute(
                    self.names.render(
                        "SELECT line, max(version), max(oldest), count(*) FROM {migrations} "
                        "GROUP BY line"
                    ).encode()
                )
                for line, version, oldest, count in await cur.fetchall():
                    if count != version:
                        raise MigrationError(
                            f"line {line!r} is recorded up to version {version}, "
                            f"but with {count} rows: something else wrote to our bookkeeping"
                        )
                    rows[line] = (version, oldest)
        return tuple(
            LineStatus(
                line,
                *rows.get(line, (0, 0)),
                newest=self.lines[line].newest if line in self.lines else None,
            )
            for line in sorted({*self.lines, *rows}, key=_core_first)
        )

    def _check_targets(self, to: Mapping[str, int] | None) -> None:
        for name, target in (to or {}).items():
            if name not in self.lines:
                known = ", ".join(sorted(self.lines, key=_core_first)) or "none"
                raise MigrationError(f"no migration line {name!r}; installed are: {known}")
            newest = self.lines[name].newest
            if not 0 <= target <= newest:
                raise MigrationError(
                    f"line {name!r} has no version {target}; it goes from 0 (nothing) to {newest}"
                )

    def _steps(
        self, statuses: Sequence[LineStatus], to: Mapping[str, int] | None
    ) -> tuple[Step, ...]:
        ups: list[Step] = []
        downs: list[Step] = []
        remaining: dict[str, int] = {}
        for status in statuses:
            newest, at = status.newest, status.version
            # A database that is newer than the code is only taken down when asked for.
            target = at if newest is None else max(at, newest)
            if to is not None:
                target = to.get(status.line, at)
            if newest is not None and target < at > newest:
                raise MigrationError(
                    f"line {status.line!r} is at version {at}, and this code knows it only up to "
                    f"{newest}: take it down with the version of the package that brought it up"
                )
            remaining[status.line] = target
            migrations = self.lines[status.line].migrations if newest is not None else ()
            ups += [Step(migration, "up") for migration in migrations[at:target]]
            downs[:0] = [Step(migration, "down") for migration in reversed(migrations[target:at])]
        others = [line for line, version in remaining.items() if version and line != "core"]
        if others and remaining.get("core") == 0:
            raise MigrationError(
                f"line 'core' must be there for {', '.join(others)}: take those down to 0 first "
                "(for one whose package is gone, install it again)"
            )
        return (*downs, *ups)

    async def _run(
        self, conn: psycopg.AsyncConnection[Any], lock: MigrationLock, step: Step
    ) -> None:
        for attempt in range(1, TRIES + 1):
            try:
                await self._attempt(conn, lock, step)
            except psycopg.Error as exc:
                if not is_lock_timeout(exc):
                    raise MigrationError(f"{step} failed: {exc}") from exc
                if attempt == TRIES:
                    raise MigrationError(
                        f"{step} met a lock that others hold, {TRIES} times: {exc}"
                    ) from exc
                await anyio.sleep(pause())
            else:
                return

    async def _attempt(
        self, conn: psycopg.AsyncConnection[Any], lock: MigrationLock, step: Step
    ) -> None:
        if not step.script.transaction:
            for statement in step.script.statements():
                await lock.renew(conn, unattended=True)
                await self._execute(conn, statement)
        async with conn.transaction():
            await conn.execute(LOCK_TIMEOUT)
            await conn.execute(self.names.render(AS_OWNER).encode())
            # Until we commit, this row lock keeps out whoever believes that we are gone.
            await lock.renew(conn)
            if step.script.transaction:
                await self._execute(conn, step.script.text)
            await conn.execute(self._record(step).encode(), prepare=False)

    async def _execute(self, conn: psycopg.AsyncConnection[Any], text: str) -> None:
        # What fills a column or builds an index takes the time that it takes.
        patient = conn.deadline(None) if isinstance(conn, Connection) else nullcontext()
        with patient:
            await conn.execute(self.names.render(text).encode(), prepare=False)

    def _text(self, step: Step) -> str:
        body = self.names.render(step.script.text).strip()
        record = self._record(step)
        if step.script.transaction:
            owner = self.names.render(AS_OWNER)
            return f"-- {step}\nBEGIN;\n{LOCK_TIMEOUT};\n{owner};\n{body}\n{record}\nCOMMIT;"
        return f"-- {step}\n{body}\n{record}"

    def _record(self, step: Step) -> str:
        migration = step.migration
        table = sql.Identifier(self.names.schema, f"{self.names.prefix}migrations")
        if step.way == "up":
            values = (migration.line, migration.version, migration.name, migration.oldest)
            return (
                sql.SQL("INSERT INTO {} (line, version, name, oldest) VALUES ({});")
                .format(table, sql.SQL(", ").join(map(sql.Literal, values)))
                .as_string(None)
            )
        return (
            sql.SQL("DELETE FROM {} WHERE line = {} AND version = {};")
            .format(table, migration.line, migration.version)
            .as_string(None)
        )


def _nothing_left(statuses: Sequence[LineStatus], steps: Sequence[Step]) -> bool:
    versions = {status.line: status.version for status in statuses}
    for step in steps:
        at = step.migration.version
        versions[step.migration.line] = at if step.way == "up" else at - 1
    return not any(versions.values())


def _core_first(line: str) -> tuple[bool, str]:
    return line != "core", line
