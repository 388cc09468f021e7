"""Schemas side by side, lines of their own numbers, and workers that need not change a table."""

from collections.abc import Iterator

import anyio
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chancy import Chancy, JobFilter, Queue, State, Worker
from chancy_core.errors import MigrationError
from tests.site import Site
from tests.stage import play, push

pytestmark = [pytest.mark.faults, pytest.mark.anyio]


@pytest.fixture
def acme(site: Site) -> Iterator[None]:
    """Another line of migrations, with one migration."""
    folder = site.folder / "acme_line"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "0001_mail.up.sql").write_text("-- chancy: oldest 1\nCREATE TABLE {mail} (a int);\n")
    (folder / "0001_mail.down.sql").write_text("DROP TABLE {mail};\n")
    site.install("acme-line", "acme = acme_line", group="chancy.migrations")


async def test_each_line_has_numbers_of_its_own(empty_dsn: str, acme, monkeypatch):
    """W25: one number for all lines raised half-way for those that had fewer."""
    monkeypatch.delenv("CHANCY_ALLOW", raising=False)  # acme's line is what this is about
    async with Chancy(empty_dsn) as chancy:
        with pytest.raises(MigrationError, match="acme"):
            await chancy.migrate(to={"acme": 2})
        assert not await chancy.is_up_to_date()
        await chancy.migrate(to={"core": 1})
        await chancy.migrate()
        assert await chancy.is_up_to_date()


async def test_any_number_may_migrate_at_once(empty_dsn: str):
    """W25: nothing kept two migrators from each other."""
    async with anyio.create_task_group() as tasks:

        async def migrate() -> None:
            async with Chancy(empty_dsn) as chancy:
                await chancy.migrate()

        for _ in range(4):
            tasks.start_soon(migrate)
    async with Chancy(empty_dsn) as chancy:
        assert await chancy.is_up_to_date()


async def test_a_worker_needs_no_right_to_change_tables(chancy, dsn, stage):
    """W25: a worker did not start without the right to create tables."""
    stage.go.set()
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS chancy_modest")
        conn.execute("CREATE ROLE chancy_modest LOGIN")
        for right in ("SELECT, INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE ON ALL SEQUENCES"):
            conn.execute(f"GRANT {right} IN SCHEMA public TO chancy_modest".encode())
        try:
            async with Chancy(make_conninfo(dsn, user="chancy_modest")) as modest:
                async with modest.store.pool.connection() as own:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        await own.execute("CREATE TABLE public.mine ()")
                async with Worker(modest):
                    (reference,) = await push(modest, dsn, 1)
                    done = await modest.wait_for_job(reference, timeout=10)
        finally:
            conn.execute("DROP OWNED BY chancy_modest")
            conn.execute("DROP ROLE chancy_modest")
    assert done.state is State.SUCCEEDED


async def test_a_second_prefix_stands_beside_the_first(dsn: str, stage):
    """W27: the name of one constraint had no prefix, so that a second could not be migrated."""
    stage.go.set()
    async with Chancy(dsn) as first, Chancy(dsn, prefix="other_") as second:
        await second.migrate()
        for chancy in (first, second):
            await chancy.declare(Queue("q", executor="async"))
            (reference,) = await push(chancy, dsn, 1)
            async with Worker(chancy):
                await chancy.wait_for_job(reference, timeout=10)
            assert len((await chancy.list_jobs()).jobs) == 1


async def test_what_is_to_be_tried_again_is_not_purged(chancy, dsn, stage):
    """W27: the pruner deleted jobs that waited for their next attempt."""
    (reference,) = await push(chancy, dsn, 1, max_attempts=3)
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "UPDATE chancy_jobs SET state = 'scheduled', attempts = 1,"
            " scheduled_at = now() + interval '1 hour', created_at = now() - interval '1 year'"
        )
    finished = [state for state in State if state.finished]
    await chancy.purge_jobs(JobFilter(func=play.name, state=finished))
    with psycopg.connect(dsn) as conn:  # as when the days of the history are dropped
        conn.execute("TRUNCATE chancy_history")
    assert (await chancy.get_job(reference)).retrying
