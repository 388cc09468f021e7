"""B6: a PgBouncer that lends a session for one transaction stands before the database.

PgBouncer below 1.21 knows no prepared statements: one that is prepared in one session, and run in
another, does not exist there.
"""

import anyio
import pytest

from chancy import Chancy
from tests.faults.bouncer import bouncer
from tests.faults.errand import answer, errand, pushes

pytestmark = [pytest.mark.anyio, pytest.mark.faults]


@pytest.fixture
def through(dsn):
    with bouncer(dsn, sessions=2) as through:
        yield through


async def test_all_that_an_application_asks_for_with_notifications_past_it(dsn, through):
    await errand(through, listen_dsn=dsn)


async def test_all_that_an_application_asks_for_without_notifications(through):
    await errand(through, notifications=False)


async def test_notifications_that_it_swallows_are_not_needed(through):
    await errand(through, [pushes])


@pytest.mark.parametrize("direct", [False, True])
async def test_statements_are_prepared_unless_it_stands_between(dsn, through, direct):
    async with Chancy(dsn if direct else through, max_connections=1) as chancy:
        for n in range(12):
            await chancy.push(answer.bind(number=n))
        asked = "SELECT count(*) FROM pg_prepared_statements"
        async with chancy.store.pool.connection() as conn:
            cursor = await conn.execute(asked, prepare=False)
            (prepared,) = await cursor.fetchone()
        assert (prepared > 0) is direct

    def push() -> bool:
        for n in range(12):
            chancy.sync_push(answer.bind(number=n))
        with chancy._open()[0].connection() as conn:
            (prepared,) = conn.execute(asked, prepare=False).fetchone()
        chancy.sync_close()
        return prepared > 0

    assert await anyio.to_thread.run_sync(push) is direct
