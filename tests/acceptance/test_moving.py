"""Moving over from the existing system, whose tables may stand in the same database."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from chancy import Chancy, Limit, Queue, State, Worker, job
from chancy_core.errors import MigrationError
from tests.acceptance.test_readme import blocks

pytestmark = pytest.mark.anyio

#: As they are in version 0.26, of which only what matters here is written down.
OLD = """
    CREATE TABLE chancy_jobs (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), queue text NOT NULL, func text NOT NULL,
        kwargs jsonb NOT NULL, limits jsonb NOT NULL, meta jsonb NOT NULL, state varchar(25),
        priority int DEFAULT 0, attempts int DEFAULT 0, max_attempts int NOT NULL DEFAULT 1,
        scheduled_at timestamptz NOT NULL DEFAULT now(), unique_key text
    );
    CREATE TABLE chancy_queues (name text PRIMARY KEY);
"""
INSERT = """
    INSERT INTO chancy_jobs (queue, func, kwargs, limits, meta, state, attempts, max_attempts)
    VALUES ('q', 'moving.add', %s, %s, %s, %s, %s, 3)
"""


@job(name="moving.add", queue="q")
async def add(a: int, b: int) -> int:
    return a + b


@pytest.fixture
def old(empty_dsn: str) -> str:
    """The DSN of a database with the tables of the existing system, and jobs in every state."""
    limits, meta = Jsonb([{"t": "time", "v": 30}]), Jsonb({"tenant": 7})
    states = [("pending", 0), ("retrying", 2), ("running", 0), ("succeeded", 1), ("pending", 3)]
    with psycopg.connect(empty_dsn) as conn:
        conn.execute(OLD)
        for n, (state, attempts) in enumerate(states):
            conn.execute(INSERT, [Jsonb({"a": n, "b": 1}), limits, meta, state, attempts])
    return empty_dsn


def states(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as conn:
        return [row[0] for row in conn.execute("SELECT state FROM chancy_jobs ORDER BY state")]


async def test_what_waits_in_the_old_tables_is_taken_over(old: str):
    *_, code = blocks("docs/migrating-from-chancy.md", "python")
    namespace = {"Chancy": Chancy, "Limit": Limit}
    exec(compile(code, "docs/migrating-from-chancy.md", "exec"), namespace)
    async with Chancy(old, schema="jobs") as chancy:
        await chancy.migrate()
        await chancy.declare(Queue("q", executor="async"))
        with psycopg.connect(old) as conn:
            assert namespace["take_over"](chancy, conn) == 2
            conn.rollback()
            assert namespace["take_over"](chancy, conn) == 2
            conn.commit()
            assert namespace["take_over"](chancy, conn) == 0
        assert states(old) == ["pending", "running", "succeeded"]
        first, second = sorted((await chancy.list_jobs()).jobs, key=lambda job: job.kwargs["a"])
        assert (first.max_attempts, second.max_attempts) == (3, 1)
        assert (first.meta, first.limits) == ({"tenant": 7}, (Limit(Limit.Type.TIME, 30),))
        async with Worker(chancy):
            done = await chancy.wait_for_jobs([first.id, second.id], timeout=20)
    assert [(job.state, job.result()) for job in done] == [
        (State.SUCCEEDED, 1),
        (State.SUCCEEDED, 2),
    ]


async def test_old_tables_that_are_in_the_way_are_left_alone(old: str):
    before = states(old)
    async with Chancy(old) as chancy:
        with pytest.raises(MigrationError, match="chancy_queues"):
            await chancy.migrate()
        assert not await chancy.is_up_to_date()
    assert states(old) == before
