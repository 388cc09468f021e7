"""What a worker does when things break around it."""

import logging

import anyio
import psycopg
import pytest

from chancy import Chancy, Job, Queue, State, Worker
from chancy_core.errors import ChancyError, MigrationsNeeded
from tests.stage import connect, play, push

pytestmark = pytest.mark.anyio


async def test_a_function_that_no_worker_knows_is_given_back_uncounted(chancy):
    reference = await chancy.push(Job("life.of_another_release", queue="q"))
    async with Worker(chancy):
        with anyio.fail_after(10):
            while (job := await chancy.get_job(reference)).state is not State.SCHEDULED:
                await anyio.sleep(0.01)
    assert (job.claims, job.attempts) == (1, 0)
    assert job.errors[0].kind == "unknown-function"
    assert "life.of_another_release" in job.errors[0].message


async def test_a_queue_whose_executor_is_not_here_is_skipped_loudly(chancy, dsn, stage, caplog):
    async with await connect(dsn) as conn:
        await conn.execute(
            "INSERT INTO chancy_queues (name, tags, executor, executor_options, polling_interval)"
            " VALUES ('odd', '{.*}', 'warp', '{}', 5),"
            " ('wrong', '{.*}', 'async', '{\"speed\": 9}', 5)"
        )
    (reference,) = await push(chancy, dsn, 1)
    stage.go.set()
    with caplog.at_level(logging.ERROR, "chancy"):
        async with Worker(chancy):
            await chancy.wait_for_job(reference, timeout=10)
    assert "queue 'odd' is not run here" in caplog.text
    assert "async, dask, interpreter, process, subprocess, thread" in caplog.text
    assert "queue 'wrong'" in caplog.text
    assert "speed" in caplog.text


@pytest.mark.parametrize(
    "nonsense",
    [
        "limits = '[7]'",
        "limits = '{\"time\": -1}'",
        "args = '7'",
        "meta = '[]'",
        "errors = '{\"a\": 1}'",
    ],
)
async def test_a_row_full_of_nonsense_fails_alone(chancy, dsn, stage, nonsense):
    odd, plain = await push(chancy, dsn, 2)
    async with await connect(dsn) as conn:
        text = f"UPDATE chancy_jobs SET {nonsense} WHERE id = %s"
        await conn.execute(text.encode(), [odd.id])
    stage.go.set()
    async with Worker(chancy):
        failed, succeeded = await chancy.wait_for_jobs([odd, plain], timeout=10)
    assert (failed.state, failed.attempts) == (State.FAILED, 0)
    assert failed.errors[-1].kind == "unreadable"
    assert succeeded.state is State.SUCCEEDED


async def test_jobs_go_on_when_every_connection_is_cut(chancy, dsn, stage, server):
    references = await push(chancy, dsn, 40)
    async with Worker(chancy):
        await stage.until_begun(4)
        with psycopg.connect(server, autocommit=True) as other:
            (name,) = (psycopg.conninfo.conninfo_to_dict(dsn)["dbname"],)
            other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
        stage.go.set()
        jobs = await chancy.wait_for_jobs(references, timeout=30)
    assert {job.state for job in jobs} == {State.SUCCEEDED}
    assert sorted(stage.ended) == list(range(40))


async def test_a_database_that_was_not_migrated_is_named(empty_dsn):
    async with Chancy(empty_dsn) as chancy:
        assert not await chancy.is_up_to_date()
        with pytest.raises(MigrationsNeeded, match="migrate"):
            await Worker(chancy).start()
        await chancy.migrate()
        assert await chancy.is_up_to_date()


async def test_what_is_not_open_says_so(dsn):
    with pytest.raises(ChancyError, match="async with chancy"):
        await Chancy(dsn).push(play.bind(stage=dsn, number=1))
    with pytest.raises(ChancyError, match="async with chancy"):
        await Worker(Chancy(dsn)).start()


async def test_an_executor_that_cannot_be_opened_costs_its_own_queue_alone(
    chancy, dsn, stage, caplog, monkeypatch
):
    async def broken(self):
        raise OSError("no room")

    monkeypatch.setattr("chancy_executors.thread.ThreadExecutor.__aenter__", broken)
    await chancy.declare(Queue("broken", executor="thread"))
    (reference,) = await push(chancy, dsn, 1)
    stage.go.set()
    async with Worker(chancy):
        await chancy.wait_for_job(reference, timeout=10)
    assert "queue 'broken' is not run here" in caplog.text
    assert "no room" in caplog.text
