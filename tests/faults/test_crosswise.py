"""B14: whoever writes many rows locks them in one order, so that no two wait for each other."""

import random
from contextlib import suppress
from functools import partial
from time import monotonic

import anyio
import psycopg
import pytest
from psycopg import sql

from chancy import Chancy, Queue, QueueNotFound, State, Worker
from tests.faults.errand import answer
from tests.faults.sizes import figure, size
from tests.stage import connect

pytestmark = [pytest.mark.anyio, pytest.mark.faults, pytest.mark.timeout(300)]

WRITERS = 8
KEYS = [f"key {n}" for n in range(40)]


def sample(some, most=20):
    return random.sample(some, min(len(some), random.randint(1, most)))


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
async def test_no_two_wait_crosswise_and_none_is_told_to_try_again(dsn, isolation):
    """Eight writers push, raise, cancel, retry, purge and delete while a worker runs the jobs."""
    database = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    with psycopg.connect(dsn, autocommit=True) as conn:
        change = "ALTER DATABASE {} SET default_transaction_isolation = {}"
        conn.execute(sql.SQL(change).format(sql.Identifier(database), sql.Literal(isolation)))
    until, calls = monotonic() + size(5, 60), 0
    known = []

    async def write(chancy: Chancy) -> None:
        nonlocal calls
        while monotonic() < until:
            jobs = [answer.bind(number=1).options(unique_key=key) for key in sample(KEYS)]
            known.extend(reference.id for reference in await chancy.push_many(jobs))
            del known[:-200]
            rank = partial(chancy.reprioritize_jobs, by=1)
            for change in (rank, chancy.cancel_jobs, chancy.retry_jobs, chancy.purge_jobs):
                await change(sample(known))
                calls += 1
            if random.random() < 0.1:
                with suppress(QueueNotFound):
                    await chancy.delete_queue("errand")
                await chancy.declare(Queue("errand", executor="async", concurrency=8))

    async with Chancy(dsn, max_connections=WRITERS + 4) as chancy:
        await chancy.declare(Queue("errand", executor="async", concurrency=8))
        async with Worker(chancy, grace_period=5), anyio.create_task_group() as tasks:
            for _ in range(WRITERS):
                tasks.start_soon(write, chancy)
    with psycopg.connect(dsn) as conn:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        (deadlocks,) = conn.execute(query).fetchone()
    figure(f"crosswise, {isolation}: bulk calls, deadlocks", [calls, deadlocks])
    assert calls > 50
    assert deadlocks == 0


async def test_a_queue_is_deleted_while_its_jobs_are_cancelled(dsn):
    """The one by queue and the other by id: both lock in the order of the ids all the same."""
    async with Chancy(dsn) as chancy, await connect(dsn) as other:
        await chancy.declare(Queue("errand", executor="async"))
        first = await chancy.push(answer.bind(number=1))
        second = await chancy.push(answer.bind(number=2).options(priority=5))
        # Behind the second in the index of a queue, by priority, and in the table, as if updated.
        await other.execute("UPDATE chancy_jobs SET meta = '{}' WHERE id = %s", [first.id])

        async def waiting(number: int) -> None:
            query = "SELECT FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"
            with anyio.fail_after(5):
                while (await other.execute(query)).rowcount < number:
                    await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks, other.transaction():
            await other.execute("SELECT FROM chancy_jobs WHERE id = %s FOR UPDATE", [first.id])
            tasks.start_soon(chancy.cancel_jobs, [first, second])
            await waiting(1)
            tasks.start_soon(chancy.delete_queue, "errand")
            await waiting(2)
        assert [job.state for job in await chancy.get_jobs([first, second])] == [
            State.CANCELLED,
            State.CANCELLED,
        ]
