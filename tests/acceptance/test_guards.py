"""What the promise hangs by, one guard a test: each turns red if its guard is taken out."""

import time
from collections.abc import AsyncIterator
from uuid import UUID

import anyio
import psycopg
import pytest

from chancy import Chancy, Job, Queue, State, Worker
from chancy_core import claim, heartbeat
from chancy_core.heartbeat import Heartbeat
from chancy_core.settle import Settler
from chancy_core.statement import Statement
from chancy_core.store import statements
from tests.stage import connect, push

pytestmark = pytest.mark.anyio


async def announce(chancy: Chancy, lease: float, clock: float | None = None) -> UUID:
    """Begin a worker whose own clock shows that, and which nobody keeps alive."""
    worker = Heartbeat(chancy.conninfo, chancy.names, name="w", tags=()).incarnation
    settings = {"name": "w", "hostname": "h", "pid": 1, "tags": (), "lease": lease}
    await chancy.store.run(statements.announce(chancy.names, worker, clock=clock, **settings))
    return worker


async def running(chancy: Chancy, worker: UUID, **options: bool) -> UUID:
    """Push a job, and have a worker claim it."""
    reference = await chancy.push(Job("f", queue="q", **options))
    assert await chancy.store.run(statements.claim(chancy.names, worker, {"q": 1}))
    return reference.id


async def state(chancy: Chancy, job: UUID) -> State:
    found = await chancy.get_job(job)
    assert found is not None
    return found.state


async def is_dead(dsn: str, worker: UUID) -> bool:
    async with await connect(dsn) as conn:
        cursor = await conn.execute("SELECT dead FROM chancy_workers WHERE id = %s", [worker])
        return await cursor.fetchall() == [(True,)]


@pytest.fixture
async def living(chancy: Chancy, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Heartbeat]:
    """A heartbeat that beats when it is told to."""
    beating = Heartbeat(chancy.conninfo, chancy.names, name="living", tags=())
    with monkeypatch.context() as patch:
        patch.setattr(heartbeat, "INTERVAL", 3600)
        await anyio.to_thread.run_sync(beating.start)
    yield beating
    await anyio.to_thread.run_sync(beating.stop)


async def test_the_flush_at_shutdown_writes_the_last_outcomes(chancy, dsn, stage, monkeypatch):
    async def write_nothing(settler: Settler) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(Settler, "run", write_nothing)
    (reference,) = await push(chancy, dsn, 1)
    async with Worker(chancy):
        await stage.until_begun(1)
        stage.go.set()
    done = await chancy.get_job(reference)
    assert (done.state, done.attempts) == (State.SUCCEEDED, 1)


async def test_what_a_worker_holds_is_given_back_as_it_leaves(chancy, dsn):
    reference = await chancy.push(Job("f", queue="of nobody"))
    async with Worker(chancy), await connect(dsn) as conn:
        await conn.execute(  # as if the answer to its last claim had been lost
            "UPDATE chancy_jobs SET state = 'running', claims = 1, lease_id = gen_random_uuid(),"
            " worker = (SELECT id FROM chancy_workers)"
        )
    left = await chancy.get_job(reference)
    assert (left.state, left.attempts, left.crashes) == (State.PENDING, 0, 0)


async def test_a_lease_ends_by_the_clock_of_the_database(chancy):
    late = await announce(chancy, lease=60, clock=time.time() - 86_400)
    assert await chancy.store.run(statements.bury(chancy.names)) == set()
    asked = statements.renew(chancy.names, late, 60, time.time() - 3600)
    assert await chancy.store.run(asked) is not None
    assert await chancy.store.run(statements.bury(chancy.names)) == set()
    asked = statements.renew(chancy.names, late, -1, time.time() + 86_400)
    assert await chancy.store.run(asked) is not None
    assert await chancy.store.run(statements.bury(chancy.names)) == {late}


async def test_the_heartbeat_renews_the_lease_of_a_blocked_loop(chancy, dsn, monkeypatch):
    monkeypatch.setattr(heartbeat, "LEASE", 1.0)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    bury: Statement[set[UUID]] = statements.bury(chancy.names)
    async with Worker(chancy):
        time.sleep(1.5)
        with psycopg.connect(dsn) as conn:
            assert conn.execute(bury.text, bury.params).fetchall() == []


async def test_one_suspect_is_claimed_at_a_time_and_none_if_one_is_held(chancy, dsn):
    worker = await announce(chancy, lease=60)
    await chancy.declare(Queue("other", executor="async"))
    await chancy.push_many(Job("f", queue=queue) for queue in ("q", "q", "other"))
    async with await connect(dsn) as conn:
        await conn.execute("UPDATE chancy_jobs SET crashes = 1")
    counts = []
    for suspect in (True, False, True):
        free = {"q": 4, "other": 4}
        asked = statements.claim(chancy.names, worker, free, suspect=suspect)
        counts.append(len(await chancy.store.run(asked)))
    assert counts == [1, 0, 1]


async def test_nobody_is_declared_dead_before_ones_own_renewals_are_without_a_gap(
    chancy, dsn, living
):
    ghost = await announce(chancy, lease=-1)

    async def beat() -> bool:
        await anyio.to_thread.run_sync(living._once)
        return await is_dead(dsn, ghost)

    assert not await beat()  # it has just begun
    living._gapless_since -= heartbeat.LEASE
    living._last -= heartbeat.LEASE
    assert not await beat()  # it was away for a lease
    living._gapless_since -= heartbeat.LEASE
    living._interrupted(ConnectionError())
    assert not await beat()  # its link was cut
    living._gapless_since -= heartbeat.LEASE
    assert await beat()


async def test_the_dead_are_declared_so_in_the_transaction_that_takes_their_jobs(
    chancy, dsn, living, monkeypatch
):
    ghost = await announce(chancy, lease=60)
    job = await running(chancy, ghost)
    await chancy.store.run(statements.renew(chancy.names, ghost, -1))
    living._gapless_since -= heartbeat.LEASE

    def cut_off(*_: object, **__: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(heartbeat.statements, "rescue", cut_off)
        with pytest.raises(ConnectionError):
            await anyio.to_thread.run_sync(living._once)
    assert (await is_dead(dsn, ghost), await state(chancy, job)) == (False, State.RUNNING)
    await anyio.to_thread.run_sync(living._once)
    assert (await is_dead(dsn, ghost), await state(chancy, job)) == (True, State.PENDING)


async def test_jobs_in_the_name_of_who_is_gone_are_taken_back_within_a_lease(chancy, dsn, living):
    """A worker's row is gone, or was declared dead, and somebody had the job locked just then."""
    living._gapless_since -= heartbeat.LEASE
    for gone in ("DELETE FROM chancy_workers", "UPDATE chancy_workers SET dead = true"):
        ghost = await announce(chancy, lease=60)
        job = await running(chancy, ghost)
        await anyio.to_thread.run_sync(living._once)
        assert await state(chancy, job) is State.RUNNING
        async with await connect(dsn) as conn:
            await conn.execute(f"{gone} WHERE id = %s", [ghost])
        if living._looked is not None:
            living._looked -= heartbeat.LEASE
        await anyio.to_thread.run_sync(living._once)
        assert await state(chancy, job) is State.PENDING
        await chancy.cancel_job(job)


async def test_no_job_is_taken_from_a_worker_that_was_not_declared_dead(chancy):
    late = await announce(chancy, lease=60)
    job = await running(chancy, late)
    assert await chancy.store.run(statements.renew(chancy.names, late, -1)) is not None
    assert await chancy.store.run(statements.rescue(chancy.names, 3, 500)) == {}
    assert await chancy.store.run(statements.bury(chancy.names)) == {late}
    assert await chancy.store.run(statements.rescue(chancy.names, 3, 500)) == {
        job: ("q", "pending")
    }


async def test_a_rescue_passes_over_what_another_has_locked(chancy, dsn):
    ghosts = [await announce(chancy, lease=60) for _ in range(2)]
    jobs = [await running(chancy, ghost) for ghost in ghosts]
    other = await announce(chancy, lease=-1)
    for ghost in ghosts:
        await chancy.store.run(statements.renew(chancy.names, ghost, -1))
    async with await connect(dsn) as conn, conn.transaction():
        await conn.execute("SELECT FROM chancy_workers WHERE id = %s FOR UPDATE", [other])
        await conn.execute("SELECT FROM chancy_jobs WHERE id = %s FOR UPDATE", [jobs[0]])
        with anyio.fail_after(5):
            assert await chancy.store.run(statements.bury(chancy.names)) == set(ghosts)
            taken = await chancy.store.run(statements.rescue(chancy.names, 3, 500))
    assert taken == {jobs[1]: ("q", "pending")}


async def test_what_may_be_begun_at_most_once_is_not_given_back_but_lost(chancy):
    leaver = await announce(chancy, lease=60)
    once = await running(chancy, leaver, at_most_once=True)
    again = await running(chancy, leaver)
    await chancy.store.run(statements.give_back(chancy.names, leaver))
    assert (await state(chancy, once), await state(chancy, again)) == (State.LOST, State.PENDING)


async def test_a_rate_limit_is_counted_under_its_lock(chancy, dsn, stage, monkeypatch):
    """Two workers that looked at once would both find that one more may begin."""
    run_on, looked, both = claim.run_on, [], anyio.Event()

    async def slowly(conn, statement):
        answer = await run_on(conn, statement)
        if b"ON CONFLICT (queue)" in statement.text:
            looked.append(answer)
            if len(looked) > 1:
                both.set()
            with anyio.move_on_after(0.3):
                await both.wait()
        return answer

    monkeypatch.setattr(claim, "run_on", slowly)
    limited = Queue("q", executor="async", rate_limit=10, rate_limit_window=3600.0)
    await chancy.declare(limited, upsert=True)
    await push(chancy, dsn, 4)
    async with Worker(chancy, name="a", grace_period=0), Worker(chancy, name="b", grace_period=0):
        with anyio.fail_after(10):
            await both.wait()
        await stage.until_begun(1)
    assert stage.begun == [0]
    assert [allowed for allowed, _ in looked if allowed] == [1]
