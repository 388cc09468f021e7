"""The migrations that we ship: they go up, and down again without leaving anything."""

from importlib.metadata import version
from typing import Any

import psycopg
import pytest

from chancy import Chancy, Worker
from chancy_core.migrate import Line, Migrator
from chancy_core.postgres import Connection
from chancy_core.statement import Names

THINGS = """
SELECT 'relation', relname FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)
UNION ALL
SELECT 'function', proname FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s)
UNION ALL
SELECT 'type', typname FROM pg_type WHERE typnamespace = to_regnamespace(%(schema)s)
ORDER BY 1, 2"""


async def things(conn: psycopg.AsyncConnection[Any], names: Names) -> list[tuple[str, str]]:
    cur = await conn.execute(THINGS, {"schema": names.schema})
    return await cur.fetchall()


@pytest.mark.parametrize("names", [Names(), Names(schema="work", prefix="x_")], ids=str)
async def test_up_down_up(empty_dsn: str, names: Names) -> None:
    line = Line.from_package("core", "chancy_core.migrations")
    migrator = Migrator(names, {"core": line})
    async with await Connection.connect(empty_dsn, autocommit=True) as conn:
        await migrator.migrate(conn)
        await migrator.check(conn)
        first = await things(conn, names)
        assert ("relation", f"{names.prefix}jobs") in first
        for version in reversed(range(line.newest)):
            await migrator.migrate(conn, to={"core": version})
        assert await things(conn, names) == []
        await migrator.migrate(conn)
        assert await things(conn, names) == first


async def test_two_installations_share_a_database(empty_dsn: str) -> None:
    lines = {"core": Line.from_package("core", "chancy_core.migrations")}
    one, other = Names(prefix="a_"), Names(prefix="b_")
    async with await Connection.connect(empty_dsn, autocommit=True) as conn:
        for names in (one, other):
            await Migrator(names, lines).migrate(conn)
        await Migrator(one, lines).migrate(conn, to={"core": 0})
        await Migrator(other, lines).check(conn)
        left = {name for _, name in await things(conn, other)}
        assert "b_jobs" in left
        assert not {name for name in left if name.startswith("a_")}


#: What workers of version 1 say: to live beside the newest schema they must be able to.
OF_BEFORE = (
    """INSERT INTO chancy_workers (id, name, hostname, pid, tags, expires_at)
       VALUES (gen_random_uuid(), 'w', 'h', 1, '{}', now() + interval '10 s')""",
    "UPDATE chancy_workers SET expires_at = now() + interval '10 s' WHERE NOT dead RETURNING id",
    "SELECT id, name, hostname, pid, tags, started_at, expires_at, NOT dead FROM chancy_workers",
)


async def test_workers_of_the_code_before_go_on(dsn: str) -> None:
    line = Line.from_package("core", "chancy_core.migrations")
    older = Line("core", line.migrations[:1])
    async with await Connection.connect(dsn, autocommit=True) as conn:
        await Migrator(Names(), {"core": older}).check(conn)
        for statement in OF_BEFORE:
            assert (await conn.execute(statement)).rowcount == 1
    async with Chancy(dsn) as chancy:
        (info,) = await chancy.get_all_workers()
        assert (info.name, info.alive, info.version, info.settings) == ("w", True, None, None)
        async with Worker(chancy, name="new"):
            _, info = await chancy.get_all_workers()
        assert (info.version, info.schema_version) == (version("chancy"), line.newest)
        assert info.settings == {
            "crash_limit": 3,
            "lease": 10.0,
            "notifications": True,
            "queues": None,
        }
        assert info.clock_offset is not None
        assert abs(info.clock_offset) < 5


async def test_the_table_of_live_jobs_is_never_a_small_one(dsn: str) -> None:
    """Or plans that read all of it are made, and kept: see `test_plans`."""
    pages = "SELECT pg_relation_size('chancy_jobs') / current_setting('block_size')::int"
    async with await Connection.connect(dsn, autocommit=True) as conn:
        await conn.execute("VACUUM chancy_jobs")
        assert await (await conn.execute("SELECT count(*) FROM chancy_jobs")).fetchone() == (0,)
        (left,) = await (await conn.execute(pages)).fetchone() or (0,)
    assert 200 < left < 400
