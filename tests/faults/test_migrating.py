"""C6: the schema is changed while somebody reads; nobody's claims stand still behind that."""

import time
from uuid import uuid4

import anyio
import pytest

from chancy import Chancy, Queue
from chancy_core.migrate import Line, Migration, Migrator, Script
from chancy_core.postgres import Connection
from chancy_core.statement import Names
from chancy_core.store import statements
from tests.faults.sizes import figure, size

pytestmark = [pytest.mark.anyio, pytest.mark.faults]


def with_another() -> Migrator:
    """What knows one migration more than there is, which takes the table of jobs for itself."""
    core = Line.from_package("core", "chancy_core.migrations")
    up = Script("ALTER TABLE {jobs} ADD COLUMN another text;")
    down = Script("ALTER TABLE {jobs} DROP COLUMN another;")
    another = Migration("core", core.newest + 1, "another", up, down, oldest=1)
    return Migrator(Names(), {"core": Line("core", (*core.migrations, another))})


async def test_claims_do_not_stand_still_behind_a_migration_that_waits_for_a_reader(dsn):
    waited = []
    migrated = anyio.Event()

    async def migrate() -> None:
        async with await Connection.connect(dsn) as conn:
            await with_another().migrate(conn)
        migrated.set()

    async def claim(chancy: Chancy) -> None:
        while not migrated.is_set():
            began = time.monotonic()
            await chancy.store.run(statements.claim(chancy.names, uuid4(), {"q": 1}))
            waited.append(time.monotonic() - began)
            await anyio.sleep(0.01)

    async with Chancy(dsn) as chancy, await Connection.connect(dsn) as reader:
        await chancy.declare(Queue("q", executor="async"))
        async with anyio.create_task_group() as tasks:
            async with reader.transaction():
                await reader.execute("SELECT FROM chancy_jobs")
                tasks.start_soon(migrate)
                tasks.start_soon(claim, chancy)
                await anyio.sleep(size(3.0, 10.0))  # the reader takes its time
                assert not migrated.is_set()
            with anyio.fail_after(5):
                await migrated.wait()
    figure("migrating beside a reader: the longest claim, in seconds", round(max(waited), 2))
    assert 0.1 < max(waited) < 1.0
