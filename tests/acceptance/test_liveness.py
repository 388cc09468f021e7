"""Who is alive, and who owns a job."""

import threading
from uuid import uuid4

import anyio
import psycopg
import pytest

from chancy import Chancy, Job, JobFilter, Queue, State, Worker, job
from chancy_core import heartbeat
from tests.stage import connect, play, push

pytestmark = pytest.mark.anyio


async def test_a_blocked_event_loop_does_not_look_dead(chancy, dsn, monkeypatch):
    monkeypatch.setattr(heartbeat, "LEASE", 0.6)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    reference = await chancy.push(Job("life.block", queue="q"))
    watcher = heartbeat.Heartbeat(chancy.conninfo, chancy.names, name="watcher", tags=())
    await anyio.to_thread.run_sync(watcher.start)
    try:
        async with Worker(chancy):
            done = await chancy.wait_for_job(reference, timeout=20)
    finally:
        await anyio.to_thread.run_sync(watcher.stop)
    assert (done.state, done.crashes, done.claims) == (State.SUCCEEDED, 0, 1)


@job(name="life.block")
async def block() -> None:
    import time

    time.sleep(2.0)


def test_a_lease_that_does_not_begin_leaves_no_connection_behind(dsn, monkeypatch):
    opened, connect = [], heartbeat.Conn.connect
    with connect(dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE chancy_workers RENAME TO gone")

    def connected(*args, **settings):
        opened.append(connect(*args, **settings))
        return opened[-1]

    monkeypatch.setattr(heartbeat.Conn, "connect", connected)
    with pytest.raises(psycopg.errors.UndefinedTable):
        heartbeat.Heartbeat(dsn, Chancy(dsn).names, name="w", tags=()).start()
    assert [conn.closed for conn in opened] == [True]


async def test_an_unexpected_error_does_not_end_the_renewals(chancy, dsn, stage, monkeypatch):
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.05)
    renew, failed, renewed = heartbeat.statements.renew, threading.Event(), threading.Event()

    def defective(*args, **told):
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a defect")
        renewed.set()
        return renew(*args, **told)

    monkeypatch.setattr(heartbeat.statements, "renew", defective)
    async with Worker(chancy):
        assert await anyio.to_thread.run_sync(renewed.wait, 5)


async def test_a_worker_that_was_declared_dead_lets_go_and_begins_anew(
    chancy, dsn, stage, monkeypatch
):
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    (reference,) = await push(chancy, dsn, 1)
    async with Worker(chancy):
        await stage.until_begun(1)
        async with await connect(dsn) as conn:
            await conn.execute("UPDATE chancy_workers SET dead = true")
            await conn.execute(
                "UPDATE chancy_jobs SET state = 'pending', worker = NULL, lease_id = NULL,"
                " crashes = crashes + 1"
            )
        await stage.until_begun(2)  # the first attempt was cancelled, the job claimed anew
        stage.go.set()
        done = await chancy.wait_for_job(reference, timeout=10)
    assert (done.state, done.claims, done.attempts, done.crashes) == (State.SUCCEEDED, 2, 1, 1)
    assert stage.ended == [0]


async def test_the_jobs_of_a_dead_worker_are_taken_back(chancy, dsn, stage, monkeypatch):
    monkeypatch.setattr(heartbeat, "LEASE", 0.3)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    references = await push(chancy, dsn, 2)
    async with await connect(dsn) as conn:
        await conn.execute(
            "INSERT INTO chancy_workers (id, name, hostname, pid, tags, expires_at)"
            " VALUES (%s, 'ghost', 'elsewhere', 1, '{}', now() - interval '1 s')",
            [ghost := uuid4()],
        )
        await conn.execute(
            "UPDATE chancy_jobs SET state = 'running', worker = %s, lease_id = %s, claims = 1",
            [ghost, uuid4()],
        )
        await conn.execute("UPDATE chancy_jobs SET crashes = 2 WHERE id = %s", [references[1].id])
    stage.go.set()
    async with Worker(chancy):
        again, third = await chancy.wait_for_jobs(references, timeout=20)
    assert (again.state, again.crashes, again.claims) == (State.SUCCEEDED, 1, 2)
    assert (third.state, third.crashes, third.claims) == (State.QUARANTINED, 3, 1)


async def test_a_dead_worker_with_many_jobs_is_rid_of_all_in_one_beat(chancy, dsn, monkeypatch):
    monkeypatch.setattr(heartbeat, "AT_ONCE", 100)
    await push(chancy, dsn, 350)
    async with await connect(dsn) as conn:
        await conn.execute(
            "UPDATE chancy_jobs SET state = 'running', worker = gen_random_uuid(), claims = 1,"
            " lease_id = gen_random_uuid(), started_at = now()"
        )
    living = heartbeat.Heartbeat(chancy.conninfo, chancy.names, name="living", tags=())
    with monkeypatch.context() as patch:
        patch.setattr(heartbeat, "INTERVAL", 3600)  # it beats when it is told to
        await anyio.to_thread.run_sync(living.start)
    try:
        living._gapless_since = living._last - heartbeat.LEASE
        await anyio.to_thread.run_sync(living._once)
    finally:
        await anyio.to_thread.run_sync(living.stop)
    assert len({rescued.job for rescued in living.rescued()}) == 350
    pending = await chancy.list_jobs(JobFilter(state="pending"), limit=500)
    assert {(job.state, job.crashes) for job in pending.jobs} == {(State.PENDING, 1)}
    assert len(pending.jobs) == 350


async def test_who_rescues_a_job_looks_for_it_at_once(dsn, stage, monkeypatch):
    monkeypatch.setattr(heartbeat, "LEASE", 0.3)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.05)
    stage.go.set()
    async with Chancy(dsn, notifications=False) as chancy:
        await chancy.declare(Queue("q", executor="async", polling_interval=3600))
        worker = Worker(chancy)
        with worker.events.subscribe("job.rescued", "worker.queue.started") as seen:
            async with worker:
                while (await seen.next(5)).subject != "q":
                    pass
                with psycopg.connect(dsn) as conn:  # nobody sees it before it is a dead worker's
                    reference = chancy.push_ex(conn, play.bind(stage=dsn, number=0))
                    conn.execute(
                        "UPDATE chancy_jobs SET state = 'running', worker = gen_random_uuid(),"
                        " claims = 1, lease_id = gen_random_uuid(), started_at = now()"
                    )
                while (event := await seen.next(10)).name != "job.rescued":
                    pass
                assert event.subject == str(reference)
                done = await chancy.wait_for_job(reference, timeout=5)
    assert (done.state, done.crashes) == (State.SUCCEEDED, 1)
