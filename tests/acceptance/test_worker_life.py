"""How a worker lives: what wakes it, how it stops, and what it does when things break."""

import logging
from collections.abc import AsyncIterator
from uuid import uuid4

import anyio
import psycopg
import pytest

from chancy import Chancy, Job, Limit, Queue, State, Worker, job
from chancy_core import heartbeat
from chancy_core.errors import ChancyError, MigrationsNeeded

pytestmark = pytest.mark.anyio


class Stage:
    """What the jobs of one test do: they report here, and wait for what the test tells them."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.now = self.most = 0
        self.changed = anyio.Event()
        self.go = anyio.Event()

    def _tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def play(self, number: int) -> None:
        self.begun.append(number)
        self.now += 1
        self.most = max(self.most, self.now)
        self._tell()
        try:
            await self.go.wait()
            self.ended.append(number)
        finally:
            self.now -= 1
            self._tell()

    async def until_begun(self, count: int) -> None:
        with anyio.fail_after(10):
            while len(self.begun) < count:
                await self.changed.wait()


_stages: dict[str, Stage] = {}


@job(name="life.play", queue="q")
async def play(stage: str, number: int) -> int:
    await _stages[stage].play(number)
    return number


@pytest.fixture
def stage(dsn: str):
    """The stage of this test's jobs, under the name of its database."""
    _stages[dsn] = Stage()
    yield _stages[dsn]
    del _stages[dsn]


@pytest.fixture
async def chancy(dsn: str) -> AsyncIterator[Chancy]:
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("q", executor="async", concurrency=4))
        yield chancy


async def push(chancy: Chancy, dsn: str, count: int, **options):
    return await chancy.push_many(
        play.bind(stage=dsn, number=n).options(**options) for n in range(count)
    )


async def test_no_more_run_at_once_than_the_queue_allows(chancy, dsn, stage):
    references = await push(chancy, dsn, 12)
    async with Worker(chancy):
        await stage.until_begun(4)
        stage.go.set()
        await chancy.wait_for_jobs(references, timeout=20)
    assert stage.most == 4
    assert sorted(stage.ended) == list(range(12))


async def test_jobs_begin_by_priority_and_then_in_the_order_of_their_push(chancy, dsn, stage):
    await chancy.declare(Queue("q", executor="async", concurrency=1), upsert=True)
    await push(chancy, dsn, 3)
    urgent = await chancy.push(play.bind(stage=dsn, number=9).options(priority=5))
    stage.go.set()
    async with Worker(chancy):
        await chancy.wait_for_job(urgent, timeout=20)
        await stage.until_begun(4)
    assert stage.begun == [9, 0, 1, 2]


async def test_a_push_wakes_a_worker_at_once(chancy, dsn, stage):
    await chancy.declare(Queue("q", executor="async", polling_interval=600), upsert=True)
    stage.go.set()
    async with Worker(chancy):
        for count in (1, 2, 3):
            (reference,) = await push(chancy, dsn, 1)
            await chancy.wait_for_job(reference, timeout=10)
            assert len(stage.ended) == count


async def test_without_notifications_jobs_are_found_by_polling(dsn, stage):
    async with Chancy(dsn, notifications=False) as chancy:
        await chancy.declare(Queue("q", executor="async", polling_interval=0.1))
        stage.go.set()
        async with Worker(chancy):
            (first,) = await push(chancy, dsn, 1)
            await chancy.wait_for_job(first, timeout=10)
            (second,) = await push(chancy, dsn, 1)
            await chancy.wait_for_job(second, timeout=10)


async def test_a_queue_declared_while_a_worker_runs_is_taken_up(chancy, dsn, stage):
    stage.go.set()
    async with Worker(chancy):
        (reference,) = await push(chancy, dsn, 1, queue="new")
        await chancy.declare(Queue("new", executor="async"))
        done = await chancy.wait_for_job(reference, timeout=4)  # before the worker looks unasked
    assert done.state is State.SUCCEEDED


async def test_tags_decide_which_worker_runs_a_queue(chancy, dsn, stage):
    await chancy.declare(Queue("gpu", executor="async", tags={"has=gpu"}))
    (gpu,) = await push(chancy, dsn, 1, queue="gpu")
    (plain,) = await push(chancy, dsn, 1)
    stage.go.set()
    async with Worker(chancy, tags={"has=gpu-small"}):
        await chancy.wait_for_job(plain, timeout=10)
        assert (await chancy.get_job(gpu)).state is State.PENDING
    async with Worker(chancy, tags={"has=gpu"}):
        await chancy.wait_for_job(gpu, timeout=10)


async def test_stopping_lets_running_jobs_end_and_hands_back_the_rest(chancy, dsn, stage):
    references = await push(chancy, dsn, 6)
    async with Worker(chancy) as worker:
        await stage.until_begun(4)
        worker.stop()
        stage.go.set()
    jobs = {job.id: job for job in await chancy.get_jobs(references)}
    states = [jobs[reference.id].state for reference in references]
    assert states == [State.SUCCEEDED] * 4 + [State.PENDING] * 2
    assert [job.claims for job in jobs.values() if job.state is State.PENDING] == [0, 0]
    assert sorted(stage.ended) == [0, 1, 2, 3]


async def test_after_the_grace_period_jobs_are_cancelled_and_given_back_uncounted(
    chancy, dsn, stage
):
    (reference,) = await push(chancy, dsn, 1)
    async with Worker(chancy, grace_period=0.05):
        await stage.until_begun(1)
    job = await chancy.get_job(reference)
    assert (job.state, job.claims, job.attempts, job.crashes) == (State.PENDING, 1, 0, 0)
    assert stage.ended == []
    assert stage.now == 0


async def test_stopping_twice_skips_the_grace_period(chancy, dsn, stage):
    (reference,) = await push(chancy, dsn, 1)
    with anyio.fail_after(10):
        async with Worker(chancy, grace_period=600) as worker:
            await stage.until_begun(1)
            worker.stop()
            worker.stop()
    assert (await chancy.get_job(reference)).state is State.PENDING


async def test_cancelling_start_from_outside_stops_in_good_order(chancy, dsn, stage):
    references = await push(chancy, dsn, 2)
    worker = Worker(chancy)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.start)
        await stage.until_begun(2)
        tasks.cancel_scope.cancel()
        stage.go.set()
    assert sorted(stage.ended) == [0, 1]
    jobs = await chancy.get_jobs(references)
    assert [job.state for job in jobs] == [State.SUCCEEDED] * 2
    assert await workers(dsn) == []


async def workers(dsn: str) -> list[tuple]:
    async with await psycopg_connect(dsn) as conn:
        return await (await conn.execute("SELECT id, dead FROM chancy_workers")).fetchall()


async def psycopg_connect(dsn: str):
    from chancy_core.postgres import Connection

    return await Connection.connect(dsn, autocommit=True)


async def test_the_error_of_the_block_is_the_error_that_is_seen(chancy):
    with pytest.raises(KeyError, match="mine"):
        async with Worker(chancy):
            raise KeyError("mine")


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
    async with await psycopg_connect(dsn) as conn:
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
    assert "async, process, thread" in caplog.text
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
    async with await psycopg_connect(dsn) as conn:
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


async def test_a_worker_that_was_declared_dead_lets_go_and_begins_anew(
    chancy, dsn, stage, monkeypatch
):
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    (reference,) = await push(chancy, dsn, 1)
    async with Worker(chancy):
        await stage.until_begun(1)
        async with await psycopg_connect(dsn) as conn:
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
    async with await psycopg_connect(dsn) as conn:
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


async def test_a_database_that_was_not_migrated_is_named(empty_dsn):
    async with Chancy(empty_dsn) as chancy:
        with pytest.raises(MigrationsNeeded, match="migrate"):
            await Worker(chancy).start()


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


@job(name="life.sulk", queue="q")
async def sulk(stage: str) -> None:
    try:
        await _stages[stage].play(0)
    except BaseException as exc:
        raise RuntimeError("not like this") from exc


async def test_an_error_that_our_cancelling_caused_is_not_the_jobs_own(chancy, dsn, stage):
    reference = await chancy.push(sulk.bind(stage=dsn))
    async with Worker(chancy, grace_period=0.05):
        await stage.until_begun(1)
    job = await chancy.get_job(reference)
    assert (job.state, job.attempts, job.errors) == (State.PENDING, 0, ())
    limited = sulk.bind(stage=dsn).options(limits=[Limit(Limit.Type.TIME, 0.05)])
    async with Worker(chancy):
        done = await chancy.wait_for_job(await chancy.push(limited), timeout=10)
        stage.go.set()
    assert [error.kind for error in done.errors] == ["timeout"]
