"""Migrations against a real server: each exactly once, up, down, and never half."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import anyio
import psycopg
import pytest

from chancy_core.errors import MigrationError, MigrationsNeeded
from chancy_core.migrate import Migrator
from chancy_core.migrate.line import Line
from chancy_core.migrate.lock import MigrationLock
from chancy_core.postgres import Connection
from chancy_core.statement import Names

NAMES = Names(schema="work", prefix="c_")

CORE = {
    "0001_jobs.up.sql": (
        "-- The first table.\n-- chancy: oldest 1\n"
        "CREATE TABLE {jobs} (id int PRIMARY KEY, meta jsonb NOT NULL DEFAULT '{{}}');\n"
        "INSERT INTO {jobs} (id) VALUES (1);\n"
    ),
    "0001_jobs.down.sql": "DROP TABLE {jobs};\n",
    "0002_tags.up.sql": "-- chancy: oldest 1\nALTER TABLE {jobs} ADD COLUMN tags text[];\n",
    "0002_tags.down.sql": "ALTER TABLE {jobs} DROP COLUMN tags;\n",
    "0003_index.up.sql": (
        "-- chancy: oldest 2\n-- chancy: no-transaction\n"
        "DROP INDEX IF EXISTS {schema}.c_tags; -- a half-built one; from a try before\n"
        "CREATE INDEX CONCURRENTLY c_tags ON {jobs} USING gin (tags);\n"
    ),
    "0003_index.down.sql": (
        "-- chancy: no-transaction\nDROP INDEX CONCURRENTLY IF EXISTS {schema}.c_tags;\n"
    ),
}
AUDIT = {
    "0001_audit.up.sql": (
        "-- chancy: oldest 1\nCREATE TABLE {audit} (job int NOT NULL REFERENCES {jobs});\n"
    ),
    "0001_audit.down.sql": "DROP TABLE {audit};\n",
}


def migrator(*, core: dict[str, str] = CORE, audit: dict[str, str] | None = AUDIT) -> Migrator:
    lines = {"core": Line.from_files("core", core)}
    if audit is not None:
        lines["audit"] = Line.from_files("audit", audit)
    return Migrator(NAMES, lines)


def up_to(version: int) -> dict[str, str]:
    """The files of `core` as a release knew them that ended at *version*."""
    return {name: text for name, text in CORE.items() if int(name[:4]) <= version}


def with_third(up: str) -> dict[str, str]:
    return CORE | {"0003_index.up.sql": f"-- chancy: oldest 2\n{up}"}


def titles(steps: Iterable[object]) -> list[str]:
    return [str(step) for step in steps]


Connect = Callable[[], contextlib.AbstractAsyncContextManager[psycopg.AsyncConnection[Any]]]


@pytest.fixture
def connect(empty_dsn: str) -> Connect:
    @contextlib.asynccontextmanager
    async def connect() -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with await Connection.connect(empty_dsn) as conn:
            yield conn

    return connect


@pytest.fixture
async def conn(connect: Connect) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with connect() as conn:
        yield conn


async def rows(conn: psycopg.AsyncConnection[Any], query: str) -> list[tuple[Any, ...]]:
    async with conn.transaction():
        cur = await conn.execute(NAMES.render(query).encode())
        return await cur.fetchall()


async def relations(conn: psycopg.AsyncConnection[Any]) -> set[str]:
    found = await rows(
        conn,
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace('work')"
        " AND relname NOT LIKE '%pkey'",
    )
    return {name for (name,) in found}


EVERYTHING = {"c_migrations", "c_migration_lock", "c_jobs", "c_tags", "c_audit"}


async def test_up_runs_core_first_and_only_once(conn: psycopg.AsyncConnection[Any]) -> None:
    steps = await migrator().migrate(conn)
    assert titles(steps) == [
        "core 0001_jobs up",
        "core 0002_tags up",
        "core 0003_index up",
        "audit 0001_audit up",
    ]
    assert await relations(conn) == EVERYTHING
    assert await rows(conn, "SELECT id, meta FROM {jobs}") == [(1, {})]
    assert await rows(
        conn, "SELECT line, version, name, oldest FROM {migrations} ORDER BY applied_at"
    ) == [
        ("core", 1, "jobs", 1),
        ("core", 2, "tags", 1),
        ("core", 3, "index", 2),
        ("audit", 1, "audit", 1),
    ]
    assert await rows(conn, "SELECT holder FROM {migration_lock}") == []
    assert await migrator().migrate(conn) == ()


async def test_to_moves_the_named_lines_only(conn: psycopg.AsyncConnection[Any]) -> None:
    assert len(await migrator().migrate(conn, to={"core": 1})) == 1
    assert titles(await migrator().migrate(conn, to={"audit": 1})) == ["audit 0001_audit up"]
    assert titles(await migrator().migrate(conn, to={"core": 2})) == ["core 0002_tags up"]
    assert [(s.line, s.version) for s in await migrator().status(conn)] == [
        ("core", 2),
        ("audit", 1),
    ]


async def test_down_to_nothing_leaves_nothing(conn: psycopg.AsyncConnection[Any]) -> None:
    await migrator().migrate(conn)
    assert titles(await migrator().migrate(conn, to={"audit": 0, "core": 2})) == [
        "audit 0001_audit down",
        "core 0003_index down",
    ]
    assert await relations(conn) == EVERYTHING - {"c_tags", "c_audit"}
    await migrator().migrate(conn, to={"core": 0})
    assert await relations(conn) == set()
    await migrator().migrate(conn)
    assert await relations(conn) == EVERYTHING


async def test_core_cannot_go_while_others_need_it(conn: psycopg.AsyncConnection[Any]) -> None:
    await migrator().migrate(conn)
    with pytest.raises(MigrationError, match="must be there for audit: take those down to 0 first"):
        await migrator().migrate(conn, to={"core": 0})
    assert await relations(conn) == EVERYTHING


async def test_four_migrators_at_once_apply_each_migration_once(connect: Connect) -> None:
    applied: list[str] = []

    async def one() -> None:
        async with connect() as conn:
            applied.extend(titles(await migrator().migrate(conn)))

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(one)
    assert sorted(applied) == [
        "audit 0001_audit up",
        "core 0001_jobs up",
        "core 0002_tags up",
        "core 0003_index up",
    ]
    async with connect() as conn:
        assert await rows(conn, "SELECT count(*) FROM {jobs}") == [(1,)]


async def test_a_step_that_fails_leaves_no_trace_of_itself(
    conn: psycopg.AsyncConnection[Any],
) -> None:
    broken = migrator(core=with_third("CREATE TABLE {extra} (id int);\nSELECT nonsense;\n"))
    with pytest.raises(MigrationError, match=r"core 0003_index up failed: .*nonsense"):
        await broken.migrate(conn)
    assert await relations(conn) == {"c_migrations", "c_migration_lock", "c_jobs"}
    assert [(s.line, s.version) for s in await broken.status(conn)] == [("core", 2), ("audit", 0)]
    # The lock was given back: nobody has to wait for it to expire.
    await migrator().migrate(conn, wait=0)


async def test_no_transaction_is_repeated_when_cut_off(conn: psycopg.AsyncConnection[Any]) -> None:
    whole = CORE["0003_index.up.sql"]
    cut = migrator(core=CORE | {"0003_index.up.sql": whole + "SELECT nonsense;\n"})
    with pytest.raises(MigrationError, match="nonsense"):
        await cut.migrate(conn)
    assert "c_tags" in await relations(conn)
    assert (await cut.status(conn))[0].version == 2
    assert titles(await migrator().migrate(conn, to={"core": 3})) == ["core 0003_index up"]


async def test_who_waits_too_long_hears_of_the_holder(connect: Connect) -> None:
    async with connect() as first, connect() as second:
        await first.set_autocommit(True)
        lock = MigrationLock(NAMES, lease=60)
        async with lock.held(first, wait=5):
            await rows(
                first,
                "UPDATE {migration_lock} SET taken_at = taken_at - interval '41 s' RETURNING 1",
            )
            with pytest.raises(
                MigrationError, match=rf"another migrator \({lock.holder}\) has held .* for 4\d s"
            ):
                await migrator().migrate(second, wait=0.2)
        assert len(await migrator().migrate(second)) == 4


async def test_who_is_alone_does_not_wait(conn: psycopg.AsyncConnection[Any]) -> None:
    assert len(await migrator().migrate(conn, wait=0)) == 4


async def test_the_lock_of_the_dead_expires(connect: Connect) -> None:
    async with connect() as first, connect() as second:
        await first.set_autocommit(True)
        dead = MigrationLock(NAMES, lease=0.3)
        async with dead.held(first, wait=5):
            assert len(await migrator().migrate(second, wait=10)) == 4
            with pytest.raises(MigrationError, match="lock was lost"):
                await dead.renew(first)


async def test_a_table_in_use_stops_a_step_and_not_its_users(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chancy_core.migrate.migrator.TRIES", 3)
    async with connect() as user, connect() as conn:
        await migrator().migrate(conn, to={"core": 1})
        hasty = CORE | {
            "0002_tags.up.sql": "-- chancy: oldest 1\nSET LOCAL lock_timeout = '100ms';\n"
            "ALTER TABLE {jobs} ADD COLUMN tags text[];\n"
        }
        async with user.transaction():
            await user.execute(NAMES.render("SELECT * FROM {jobs}").encode())
            with pytest.raises(MigrationError, match="met a lock that others hold, 3 times"):
                await migrator(core=hasty).migrate(conn, to={"core": 2})
        assert len(await migrator(core=hasty).migrate(conn, to={"core": 2})) == 1


async def test_a_step_may_take_longer_than_a_call(empty_dsn: str) -> None:
    slow = migrator(core=with_third("SELECT pg_sleep(0.5);\n"))
    async with await Connection.connect(empty_dsn, call_timeout=0.3) as conn:
        assert len(await slow.migrate(conn)) == 4
        assert conn.call_timeout == 0.3


async def test_each_transaction_has_a_lock_timeout(conn: psycopg.AsyncConnection[Any]) -> None:
    spy = CORE | {
        "0002_tags.up.sql": "-- chancy: oldest 1\n"
        "CREATE TABLE {spy} AS SELECT current_setting('lock_timeout') AS it;\n"
        "ALTER TABLE {jobs} ADD COLUMN tags text[];\n"
    }
    await migrator(core=spy).migrate(conn)
    assert await rows(conn, "SELECT it, current_setting('lock_timeout') FROM {spy}") == [
        ("500ms", "0")
    ]


async def test_the_script_of_plan_does_what_migrate_does(
    conn: psycopg.AsyncConnection[Any], empty_dsn: str
) -> None:
    def by_hand(script: str) -> None:
        with psycopg.connect(empty_dsn, autocommit=True) as plain:
            for statement in (
                Line.from_files(
                    "x", {"0001_x.up.sql": "-- chancy: oldest 1\n" + script, "0001_x.down.sql": ""}
                )
                .migrations[0]
                .up.statements()
            ):
                plain.execute(statement.encode())

    assert len(await migrator().plan(conn)) == 4
    script = await migrator().sql(conn)
    assert '"work"."c_jobs"' in script
    assert await relations(conn) == set()
    by_hand(script)
    assert await relations(conn) == EVERYTHING
    await migrator().check(conn)
    assert await migrator().sql(conn) == "-- nothing to do\n"
    down = await migrator().sql(conn, to={"core": 0, "audit": 0})
    by_hand(down)
    assert await relations(conn) == set()


async def test_check_says_what_to_run(conn: psycopg.AsyncConnection[Any]) -> None:
    with pytest.raises(
        MigrationsNeeded,
        match=r"'core' is at version 0 in the database and the code needs 3: "
        r"run `chancy migrate`, or `await chancy\.migrate\(\)`;"
        r" line 'audit' is at version 0",
    ):
        await migrator().check(conn)
    await migrator().migrate(conn)
    await migrator().check(conn)


async def test_check_holds_code_to_the_oldest_that_may_run(
    conn: psycopg.AsyncConnection[Any],
) -> None:
    await migrator().migrate(conn)
    await migrator(core=up_to(2)).check(conn)
    with pytest.raises(
        MigrationsNeeded, match=r"only code that knows version 2 .* knows 1: install"
    ):
        await migrator(core=up_to(1)).check(conn)


async def test_older_code_leaves_a_newer_schema_alone(conn: psycopg.AsyncConnection[Any]) -> None:
    await migrator().migrate(conn)
    older = migrator(core=up_to(2))
    assert await older.migrate(conn) == ()
    with pytest.raises(
        MigrationError, match="is at version 3, and this code knows it only up to 2"
    ):
        await older.migrate(conn, to={"core": 1})


async def test_a_line_whose_package_is_gone_is_reported_and_left(
    conn: psycopg.AsyncConnection[Any],
) -> None:
    await migrator().migrate(conn)
    without = migrator(audit=None)
    assert [(s.line, s.version, s.newest) for s in await without.status(conn)] == [
        ("core", 3, 3),
        ("audit", 1, None),
    ]
    await without.check(conn)
    await without.migrate(conn)
    assert await relations(conn) == EVERYTHING
    with pytest.raises(MigrationError, match="must be there for audit"):
        await without.migrate(conn, to={"core": 0})


async def test_bookkeeping_with_a_hole_is_refused(conn: psycopg.AsyncConnection[Any]) -> None:
    await migrator().migrate(conn)
    await rows(conn, "DELETE FROM {migrations} WHERE line = 'core' AND version = 2 RETURNING 1")
    with pytest.raises(MigrationError, match="up to version 3, but with 2 rows"):
        await migrator().migrate(conn)


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ({"audti": 1}, "no migration line 'audti'; installed are: core, audit"),
        ({"core": 4}, r"line 'core' has no version 4; it goes from 0 \(nothing\) to 3"),
        ({"core": -1}, "line 'core' has no version -1"),
    ],
)
async def test_a_target_must_exist(
    conn: psycopg.AsyncConnection[Any], to: dict[str, int], message: str
) -> None:
    for ask in (migrator().migrate, migrator().plan, migrator().sql):
        with pytest.raises(MigrationError, match=message):
            await ask(conn, to)


async def test_a_connection_within_a_transaction_is_refused(
    conn: psycopg.AsyncConnection[Any],
) -> None:
    await conn.execute("SELECT 1")
    with pytest.raises(MigrationError, match="outside a transaction: this one is INTRANS"):
        await migrator().migrate(conn)
    await conn.rollback()
    await migrator().migrate(conn)
    assert conn.autocommit is False
