"""What a worker holds: suspects, jobs wanted cancelled, and rows it does not know."""

from uuid import uuid4

import anyio
import pytest

from chancy import Queue, State, Worker
from chancy_core import heartbeat, holding
from chancy_core.store import requests
from chancy_core.store.store import Store
from tests.stage import connect, push

pytestmark = pytest.mark.anyio


async def cancel(chancy, *references):
    ids = [reference.id for reference in references]
    return await chancy.store.ask(requests.cancel(chancy.names, ids), chancy.hint)


async def test_a_running_job_is_cancelled_by_its_holder(chancy, dsn, stage):
    running, other = await push(chancy, dsn, 2)
    async with Worker(chancy):
        await stage.until_begun(2)
        (answer,) = await cancel(chancy, running)
        assert (answer.done, answer.what) == (True, "cancelling")
        job = await chancy.wait_for_job(running, timeout=5)
        assert (job.state, job.attempts) == (State.CANCELLED, 0)
        stage.go.set()
        assert (await chancy.wait_for_job(other, timeout=5)).state is State.SUCCEEDED
    assert stage.ended == [1]


async def test_a_mark_is_found_without_a_hint(chancy, dsn, stage, monkeypatch):
    monkeypatch.setattr(holding, "AUDIT", 0.1)
    (running,) = await push(chancy, dsn, 1)
    chancy.notifications = False
    async with Worker(chancy):
        await stage.until_begun(1)
        await cancel(chancy, running)
        assert (await chancy.wait_for_job(running, timeout=5)).state is State.CANCELLED


async def test_a_job_that_was_wanted_cancelled_is_not_tried_again(chancy, dsn, stage):
    (reference,) = await push(chancy, dsn, 1)
    async with Worker(chancy, grace_period=0):
        await stage.until_begun(1)
        async with await connect(dsn) as conn:  # a mark that the worker has not seen
            await conn.execute("UPDATE chancy_jobs SET cancelling = true")
    job = await chancy.get_job(reference)
    assert (job.state, job.attempts) == (State.CANCELLED, 0)


async def test_rows_that_a_worker_does_not_know_are_given_back(chancy, dsn, stage, monkeypatch):
    monkeypatch.setattr(holding, "AUDIT", 0.1)
    await chancy.declare(Queue("q", executor="async", concurrency=2), upsert=True)
    references = await push(chancy, dsn, 3)
    async with Worker(chancy):
        await stage.until_begun(2)
        async with await connect(dsn) as conn:  # as if a claim's answer had been lost
            await conn.execute(
                "UPDATE chancy_jobs SET state = 'running', claims = 1, lease_id = %s,"
                " worker = (SELECT id FROM chancy_workers) WHERE state = 'pending'",
                [uuid4()],
            )
        stage.go.set()
        jobs = await chancy.wait_for_jobs(references, timeout=10)
    assert {(job.state, job.attempts, job.crashes) for job in jobs} == {(State.SUCCEEDED, 1, 0)}
    assert sorted(job.claims for job in jobs) == [1, 1, 2]


async def test_a_worker_holds_one_suspect_at_a_time(chancy, dsn, stage, look):
    queue = Queue("q", executor="async", concurrency=6)  # more slots than may be used
    await chancy.declare(queue, upsert=True)
    await push(chancy, dsn, 6)
    async with await connect(dsn) as conn:
        await conn.execute("UPDATE chancy_jobs SET crashes = 1 WHERE (args->>'number')::int < 3")
    async with Worker(chancy):
        await stage.until_begun(4)
        await push(chancy, dsn, 1)  # so that the queue is asked again
        await stage.until_begun(5)
        await look()
        begun = sorted(stage.begun)
        stage.go.set()
        with anyio.fail_after(5):
            while len(stage.ended) < 7:
                await stage.changed.wait()
    assert begun == [0, 0, 3, 4, 5]


async def test_a_suspect_is_held_until_its_outcome_is_written(
    chancy, dsn, stage, look, monkeypatch
):
    settle, asked, go = Store.settle, anyio.Event(), anyio.Event()

    async def settle_late(*args, **kwargs):
        asked.set()
        await go.wait()
        return await settle(*args, **kwargs)

    monkeypatch.setattr(Store, "settle", settle_late)
    await push(chancy, dsn, 2)
    async with await connect(dsn) as conn:
        await conn.execute("UPDATE chancy_jobs SET crashes = 1")
    stage.go.set()
    async with Worker(chancy):
        with anyio.fail_after(5):
            await asked.wait()
        await push(chancy, dsn, 1)  # so that the queue is asked again
        await stage.until_begun(2)
        await look()
        begun = list(stage.begun)
        go.set()
        with anyio.fail_after(2):
            while sorted(stage.ended) != [0, 0, 1]:
                await stage.changed.wait()
    assert begun == [0, 0]  # the next may kill the worker, and the first not be charged


async def test_what_may_be_begun_once_is_lost_when_it_cannot_end(chancy, dsn, stage):
    (reference,) = await push(chancy, dsn, 1, at_most_once=True)
    async with Worker(chancy, grace_period=0):
        await stage.until_begun(1)
    job = await chancy.get_job(reference)
    assert (job.state, job.claims, job.attempts) == (State.LOST, 1, 0)


async def test_what_may_be_begun_once_is_lost_with_its_worker(chancy, dsn, stage, monkeypatch):
    monkeypatch.setattr(heartbeat, "LEASE", 0.3)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    once, again = await push(chancy, dsn, 1, at_most_once=True) + await push(chancy, dsn, 1)
    async with await connect(dsn) as conn:
        await conn.execute(
            "UPDATE chancy_jobs SET state = 'running', worker = %s, lease_id = %s, claims = 1",
            [uuid4(), uuid4()],
        )
    stage.go.set()
    async with Worker(chancy):
        lost, done = await chancy.wait_for_jobs([once, again], timeout=10)
    assert (lost.state, lost.crashes) == (State.LOST, 1)
    assert (done.state, done.crashes) == (State.SUCCEEDED, 1)


async def test_an_exclusive_job_ends_before_its_lease_does(chancy, dsn, stage, monkeypatch):
    both = await push(chancy, dsn, 1, exclusive=True) + await push(chancy, dsn, 1)
    async with Worker(chancy, grace_period=0):
        await stage.until_begun(2)
        assert stage.now == 2
        monkeypatch.setattr(heartbeat.Heartbeat, "sure_until", 0.0)  # no renewal for too long
        with anyio.fail_after(5):
            while stage.now == 2:
                await stage.changed.wait()
    assert len(await chancy.get_jobs(both)) == 2


async def test_what_may_be_anothers_by_now_is_not_begun(chancy, dsn, stage, monkeypatch):
    """A process that was frozen between its claim and the job's first line, for a whole lease."""
    asked = []

    def holds(_, job):
        asked.append(job.id)
        return len(asked) > 1

    monkeypatch.setattr(heartbeat.Heartbeat, "holds", holds)
    (reference,) = await push(chancy, dsn, 1)
    stage.go.set()
    async with Worker(chancy):
        job = await chancy.wait_for_job(reference, timeout=10)
    assert (job.state, job.claims, job.attempts) == (State.SUCCEEDED, 2, 1)
    assert stage.ended == [0]


async def test_nothing_is_claimed_under_a_lease_that_may_have_run_out(
    chancy, dsn, stage, monkeypatch
):
    stage.go.set()
    async with Worker(chancy):
        with monkeypatch.context() as patch:
            patch.setattr(heartbeat.Heartbeat, "sure_until", 0.0)
            (reference,) = await push(chancy, dsn, 1)
            with anyio.move_on_after(0.3):  # meanwhile it has heard of the job
                await stage.until_begun(1)
        job = await chancy.wait_for_job(reference, timeout=10)
    assert (job.state, job.claims) == (State.SUCCEEDED, 1)


async def test_a_rate_limit_holds_over_all_workers(chancy, dsn, stage):
    stage.go.set()
    queue = Queue("q", executor="async", concurrency=50, rate_limit=20, rate_limit_window=0.5)
    await chancy.declare(queue, upsert=True)
    references = await push(chancy, dsn, 60)
    async with Worker(chancy, name="a"), Worker(chancy, name="b"):
        jobs = await chancy.wait_for_jobs(references, timeout=20)
    begun = sorted(job.started_at.timestamp() for job in jobs)
    for n, first in enumerate(begun):
        within = sum(1 for other in begun[n:] if other < first + 0.5)
        assert within <= 20 + queue.rate_limit_burst
    # 58 jobs after the burst of two, at 40 a second; that it is used, too, `test_rate` measures.
    assert begun[-1] - begun[0] >= 58 / 40 - 0.1
