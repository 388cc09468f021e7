"""Who is alive, who owns a job, and what becomes of both while the database is away."""

import os
import signal
import time
from collections.abc import Iterator

import anyio
import psycopg
import pytest

from chancy import Chancy, JobFilter, Queue, State, Worker, job
from chancy_core import embedded, heartbeat
from chancy_core.embedded import postmaster
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service
from chancy_core.store import statements
from chancy_core.store.running import run_on
from tests.embedded.processes import supervisor_of
from tests.fleet import until
from tests.stage import Stage, connect, push, stages

pytestmark = [pytest.mark.faults, pytest.mark.anyio]

ORPHANED = (
    "UPDATE chancy_jobs SET state = 'running', worker = gen_random_uuid(), claims = claims + 1,"
    " lease_id = gen_random_uuid(), started_at = now() WHERE state = 'pending'"
)


def cut(dsn: str) -> int:
    """End all connections to the database; answer how many there were, once they are gone."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        ended = conn.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(ended.fetchall())


class Ticking:
    """A plugin with a service, which asks the database for something again and again."""

    chancy: Chancy
    ticks = 0

    async def run(self) -> None:
        while True:
            await self.chancy.get_all_queues()
            self.ticks += 1
            await anyio.sleep(0.02)

    @hookimpl
    def chancy_worker_services(self) -> list[Service]:
        return [Service("ticking", self.run)]


async def test_everything_of_a_worker_outlives_its_connections(dsn, monkeypatch):
    """W2: one lost connection ended rescue, pruning and cron for good, or the whole worker."""
    monkeypatch.setattr(heartbeat, "LEASE", 0.6)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    stages[dsn] = stage = Stage()
    stage.go.set()
    ticking = Ticking()
    ticking.chancy = chancy = Chancy(dsn, plugins=[ticking])
    async with chancy:
        await chancy.declare(Queue("q", executor="async", polling_interval=0.2))
        async with Worker(chancy, name="w") as worker:
            for _ in range(3):
                assert await anyio.to_thread.run_sync(cut, dsn) >= 3  # pool, heartbeat, listener
                # Claiming, running, settling and telling whoever waits:
                (reference,) = await push(chancy, dsn, 1)
                assert (await chancy.wait_for_job(reference, timeout=20)).state is State.SUCCEEDED
            with anyio.fail_after(20):  # the plugin's service
                before = ticking.ticks
                while ticking.ticks < before + 3:
                    await anyio.sleep(0.02)
            await chancy.pause_queue("q")
            orphan, later = await push(chancy, dsn, 2)
            async with await connect(dsn) as conn:
                await conn.execute(ORPHANED)
                await conn.execute(
                    "UPDATE chancy_jobs SET state = 'scheduled', worker = NULL, lease_id = NULL,"
                    " scheduled_at = now() + interval '0.2 s' WHERE id = %s",
                    [later.id],
                )
            await chancy.resume_queue("q")
            rescued = await chancy.wait_for_job(orphan, timeout=20)
            assert (rescued.state, rescued.crashes) == (State.SUCCEEDED, 1)
            await chancy.wait_for_job(later, timeout=20)  # promoted when it was due
            assert not worker.stopped.is_set()
    del stages[dsn]


async def test_running_jobs_outlive_connections_and_hold_up_no_other(chancy, dsn, stage):
    """W3: a failed fetch cancelled all running jobs, or let new ones wait until these had ended."""
    (running,) = await push(chancy, dsn, 1)
    async with Worker(chancy):
        await stage.until_begun(1)
        for count in (2, 3):
            await anyio.to_thread.run_sync(cut, dsn)
            await push(chancy, dsn, 1)
            await stage.until_begun(count)
        assert stage.now == 3
        stage.go.set()
        done = await chancy.wait_for_job(running, timeout=20)
    assert (done.state, done.claims, done.attempts) == (State.SUCCEEDED, 1, 1)


async def test_nothing_that_decides_is_unlogged(dsn):
    """W9, b4-t8: workers, leader and rate limits were UNLOGGED, and empty after a crash."""
    async with await connect(dsn) as conn:
        cursor = await conn.execute(
            "SELECT relname, relpersistence FROM pg_class"
            " WHERE relkind IN ('r', 'p', 'i', 'I', 'S') AND relname LIKE 'chancy%'"
        )
        kinds = dict(await cursor.fetchall())
    assert {"chancy_workers", "chancy_rates", "chancy_jobs"} <= kinds.keys()
    assert set(kinds.values()) == {"p"}


@pytest.fixture(scope="module")
def durable() -> Iterator[embedded.Lease]:
    """A server of this module's own, which keeps what was committed."""
    settings = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
    with embedded.throwaway(settings=settings) as lease:
        yield lease


def restart(lease: embedded.Lease, how: signal.Signals) -> None:
    """End the server, and have its supervisor start another when all leases have run out."""
    data, supervisor = lease.folder / "data", supervisor_of(lease.folder)
    before = postmaster.pid_of(data)
    assert before is not None
    os.kill(supervisor, signal.SIGSTOP)
    postmaster.send(before, how)
    time.sleep(1.5 * heartbeat.LEASE)
    os.kill(supervisor, signal.SIGCONT)
    until(lambda: postmaster.pid_of(data) not in {None, before}, 20, "another server")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
async def test_a_restart_of_the_server_robs_nobody(durable, monkeypatch, anyio_backend, how):
    """W2, W9, b4-t8, b5-restart: a restart left a worker half dead, or had its job run twice."""
    monkeypatch.setattr(heartbeat, "LEASE", 1.0)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    looks = counted(monkeypatch, "orphaned")
    stages[durable.dsn] = stage = Stage()
    prefix = f"{anyio_backend}_{how.name.lower()}_"
    async with Chancy(durable.dsn, prefix=prefix) as chancy:
        await chancy.migrate()
        await chancy.declare(Queue("q", executor="async", concurrency=4))
        async with Worker(chancy, name="holder", queues={"q"}):
            (running,) = await push(chancy, durable.dsn, 1)
            await stage.until_begun(1)
            async with Worker(chancy, name="robber", queues={"other"}):
                await anyio.to_thread.run_sync(restart, durable, how)
                before = len(looks)
                with anyio.fail_after(20):
                    while len(looks) < before + 3:  # they may bury again, and do not
                        await anyio.sleep(0.05)
                (after,) = await push(chancy, durable.dsn, 1)
                await stage.until_begun(2)
                stage.go.set()
                jobs = await chancy.wait_for_jobs([running, after], timeout=20)
    del stages[durable.dsn]
    assert {(one.state, one.claims, one.crashes) for one in jobs} == {(State.SUCCEEDED, 1, 0)}


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[float]:
    """Note when each heartbeat of this process runs the statement *name*."""
    made = getattr(statements, name)
    at: list[float] = []

    def noted(*given: object, **more: object) -> object:
        at.append(time.monotonic())
        return made(*given, **more)

    monkeypatch.setattr(heartbeat.statements, name, noted)
    return at


@job(name="known.block", queue="q", max_attempts=1)
async def block(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_blocked_loop_costs_no_lease(chancy, monkeypatch):
    """W11, b6: a job that blocked its worker longer than a lease was begun twice by another."""
    monkeypatch.setattr(heartbeat, "LEASE", 0.5)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    looks = counted(monkeypatch, "orphaned")
    other = heartbeat.Heartbeat(chancy.conninfo, chancy.names, name="other", tags=())
    await anyio.to_thread.run_sync(other.start)
    try:
        async with Worker(chancy):
            began = time.monotonic()
            reference = await chancy.push(block.bind(2.5))
            done = await chancy.wait_for_job(reference, timeout=20)
    finally:
        await anyio.to_thread.run_sync(other.stop)
    assert (done.state, done.claims, done.crashes) == (State.SUCCEEDED, 1, 0)
    assert [at for at in looks if at > began + 1]  # others looked for the dead meanwhile


async def test_a_job_that_kills_its_workers_keeps_its_own_limits(chancy, dsn, stage):
    """W10: each crash raised `max_attempts` by one, so that a poison job ran for ever."""
    (reference,) = await push(chancy, dsn, 1, max_attempts=1)
    async with await connect(dsn) as conn:
        for crashes in range(1, 4):
            await conn.execute(ORPHANED)
            await chancy.store.run(statements.rescue(chancy.names, 3, 500))
            found = await chancy.get_job(reference)
            assert (found.crashes, found.attempts, found.max_attempts) == (crashes, 0, 1)
            assert found.state is (State.PENDING if crashes < 3 else State.QUARANTINED)


async def test_two_who_rescue_at_once_charge_each_job_once(chancy, dsn):
    """b3g-t4: two leaders at once; here nobody leads, and any number may rescue."""
    await push(chancy, dsn, 300)
    async with await connect(dsn) as conn:
        await conn.execute(ORPHANED)
    taken: list[dict[object, object]] = []

    async def rescue() -> None:
        async with await connect(dsn) as conn, conn.transaction():
            await run_on(conn, statements.bury(chancy.names))
            taken.append(await run_on(conn, statements.rescue(chancy.names, 3, 500)))

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(rescue)
    assert sum(map(len, taken)) == len({job for found in taken for job in found}) == 300
    jobs = (await chancy.list_jobs(JobFilter(state="pending"), limit=500)).jobs
    assert [one.crashes for one in jobs] == [1] * 300


async def test_a_worker_that_stops_leaves_nothing_behind(chancy, dsn, stage):
    """W22: a stopped worker's row stayed for 90 s, and what it had not ended waited for that."""
    references = await push(chancy, dsn, 2)
    async with Worker(chancy, grace_period=0):
        await stage.until_begun(2)
    assert await chancy.get_all_workers() == []
    jobs = await chancy.get_jobs(references)
    counted = {(one.state, one.worker, one.attempts, one.crashes) for one in jobs}
    assert counted == {(State.PENDING, None, 0, 0)}
