"""What a worker tells of itself: its events, what blocks it, and what does not end."""

import time

import anyio
import pytest

from chancy import INJECTED, Chancy, Limit, Queue, QueuedJob, State, Worker, job
from chancy_core import watchdog
from chancy_core.outcome import Kind
from tests.stage import connect, push, stages
from tests.told import hearing

pytestmark = pytest.mark.anyio


async def test_a_life_is_told_from_beginning_to_end(chancy, dsn, stage):
    worker = Worker(chancy, name="w")
    with worker.events.subscribe("worker.*") as seen:
        async with worker:
            started = [await seen.next(5) for _ in range(4)]
            assert sorted(worker.queues) == ["default", "q"]
            assert worker.queues["q"].concurrency == 4
            assert worker.running == []
        told = [await seen.next(5) for _ in range(4)]
    assert (started[0].name, started[0].subject) == ("worker.started", "w")
    queues = {(event.name, event.subject) for event in started[1:]}
    assert queues == {
        ("worker.queue.started", "default"),
        ("worker.queue.started", "q"),
        ("worker.listening", ""),
    }
    assert [event.name for event in told[:1]] == ["worker.stopping"]
    assert {event.name for event in told[1:3]} == {"worker.queue.stopped"}
    assert told[3].name == "worker.stopped"


async def test_jobs_are_told_of_when_they_begin_and_once_they_are_written(chancy, dsn, stage):
    async with Worker(chancy) as worker:
        with worker.events.subscribe("job.*") as seen:
            (reference,) = await push(chancy, dsn, 1)
            started = await seen.next(5)
            assert [job.id for job in worker.running] == [reference.id]
            stage.go.set()
            settled = await seen.next(5)
            assert (await chancy.get_job(reference)).state is State.SUCCEEDED
    assert (started.name, started.subject) == ("job.started", str(reference.id))
    assert started.value.state is State.RUNNING
    ran, outcome, verdict = settled.value
    assert (settled.name, settled.subject, ran.id) == (
        "job.settled",
        str(reference.id),
        reference.id,
    )
    assert (outcome.kind, verdict.state) == (Kind.SUCCESS, State.SUCCEEDED)


async def test_what_others_say_is_told_unless_it_is_a_lie(chancy, dsn, stage):
    async with hearing(Worker(chancy)) as worker:
        with worker.events.subscribe("queue.*", "acme.*", "job.*", "worker.s*") as seen:
            await chancy.declare(Queue("new", executor="async"))
            assert await next_named(seen, "queue.declared") == "new"
            async with await connect(dsn) as conn:
                for lie in ("worker.stopped:w", "job.settled:x", "queue.nonsense:q"):
                    await conn.execute("SELECT pg_notify(%s, %s)", [chancy.names.channel, lie])
            await chancy.notify("acme.refresh", "all")
            told = [await seen.next(5)]
            while told[-1].name != "acme.refresh":
                told.append(await seen.next(5))
            assert told[-1].subject == "all"
            assert {event.name for event in told} <= {"acme.refresh", "queue.declared"}


async def next_named(seen, name: str) -> str:
    while True:
        event = await seen.next(5)
        if event.name == name:
            return event.subject


async def test_changes_of_queues_are_told_once_they_are_in_effect(chancy, dsn, stage):
    queue = Queue("q", executor="async", concurrency=4)
    worker = Worker(chancy)
    with worker.events.subscribe("worker.queue.*") as seen:
        async with worker:
            while await next_named(seen, "worker.queue.started") != "q":
                pass
            await chancy.declare(queue.options(concurrency=5), upsert=True)
            assert await next_named(seen, "worker.queue.changed") == "q"
            assert worker.queues["q"].concurrency == 5
            await chancy.declare(queue.options(executor="nonsense"), upsert=True, check=False)
            skipped = await seen.next(5)
            while skipped.name != "worker.queue.skipped":
                skipped = await seen.next(5)
            assert "nobody offers 'nonsense'" in skipped.value
            assert "q" not in worker.queues
            await chancy.declare(queue, upsert=True)
            assert await next_named(seen, "worker.queue.started") == "q"
            await chancy.declare(queue.options(executor="nonsense"), upsert=True, check=False)
            assert await next_named(seen, "worker.queue.skipped") == "q"  # said once more


async def test_a_queue_without_a_free_slot_is_told_of(chancy, dsn, stage):
    worker = Worker(chancy)
    with worker.events.subscribe("worker.queue.full") as seen:
        async with worker:
            await push(chancy, dsn, 3)
            await stage.until_begun(3)
            with pytest.raises(TimeoutError):
                await seen.next(0.1)
            await push(chancy, dsn, 1)
            full = await seen.next(5)
            stage.go.set()
    assert (full.subject, full.value.concurrency) == ("q", 4)


async def test_a_rescue_and_a_lost_lease_are_told(chancy, dsn, stage, monkeypatch):
    from chancy_core import heartbeat

    monkeypatch.setattr(heartbeat, "LEASE", 0.3)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.05)
    await push(chancy, dsn, 1)
    async with await connect(dsn) as conn:
        await conn.execute(
            "INSERT INTO chancy_workers (id, name, hostname, pid, tags, expires_at)"
            " VALUES (gen_random_uuid(), 'ghost', 'h', 1, '{}', now() - interval '1 s')"
        )
        await conn.execute(
            "UPDATE chancy_jobs SET state = 'running', lease_id = gen_random_uuid(),"
            " started_at = now(), worker = (SELECT id FROM chancy_workers)"
        )
        async with Worker(chancy, name="w") as worker:
            with worker.events.subscribe("job.rescued", "worker.lease_lost") as seen:
                rescued = await seen.next(10)
                stage.go.set()
                await conn.execute("UPDATE chancy_workers SET dead = true")
                lost = await seen.next(10)
    assert (rescued.name, rescued.value) == ("job.rescued", "pending")
    assert (lost.name, lost.subject) == ("worker.lease_lost", "w")


@job(name="watch.block", queue="q")
async def block(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_blocked_loop_is_named_by_its_stack(chancy, monkeypatch, caplog):
    monkeypatch.setattr(watchdog, "BLOCKED", 0.3)
    monkeypatch.setattr(watchdog, "TICK", 0.05)
    async with Worker(chancy, name="w") as worker:
        with worker.events.subscribe("worker.blocked") as seen:
            await chancy.push(block.bind(1.0))
            blocked = await seen.next(10)
    assert blocked.subject == "w"
    assert 0.6 < blocked.value < 5
    (message,) = [r.message for r in caplog.records if "has been blocked" in r.message][:1]
    assert "time.sleep(seconds)" in message
    assert "test_watching.py" in message
    assert 1 <= caplog.text.count("has been blocked") <= 3


async def test_a_loop_that_is_only_busy_is_not_called_blocked(chancy, dsn, stage, caplog):
    stage.go.set()
    async with Worker(chancy):
        await chancy.wait_for_jobs(await push(chancy, dsn, 100), timeout=20)
    assert "blocked" not in caplog.text


@job(name="watch.swallow", queue="q")
async def swallow(stage: str, *, me: QueuedJob = INJECTED) -> str:
    """Ignore being cancelled, as a careless `except BaseException` does, until the test says so."""
    release = stages[stage].go
    stages[stage].begin(0)
    while not release.is_set():
        try:
            await anyio.sleep(0.02)
        except BaseException:  # noqa: BLE001 - this is what it is about
            time.sleep(0.002)
    return "at last"


async def other_worker(chancy: Chancy) -> set[str]:
    return {worker.name for worker in await chancy.get_all_workers()}


async def test_a_worker_leaves_without_a_coroutine_that_swallows_cancellation(
    chancy, dsn, stage, monkeypatch, caplog
):
    monkeypatch.setattr(watchdog, "STUCK", 0.2)
    monkeypatch.setattr(watchdog, "LOOK", 0.1)
    reference = await chancy.push(swallow.bind(dsn))
    worker = Worker(chancy, name="w", grace_period=0.1)
    with worker.events.subscribe("worker.*", "job.stuck") as seen:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.start)
            await stage.until_begun(1)
            began = time.monotonic()
            worker.stop()
            while (event := await seen.next(5)).name != "worker.grace_over":
                pass
            assert (event.subject, event.value) == ("w", 1)
            assert await next_named(seen, "worker.stopped") == "w"
            assert time.monotonic() - began < 0.1 + 1.0
            # It has left: the job is back, uncounted, and the worker's row is gone.
            given_back = await chancy.get_job(reference)
            assert await other_worker(chancy) == set()
            assert (given_back.state, given_back.attempts, given_back.crashes) == (
                State.PENDING,
                0,
                0,
            )
            # It keeps saying why `start` does not return.
            assert await next_named(seen, "job.stuck") == str(reference.id)
            assert await next_named(seen, "job.stuck") == str(reference.id)
            stage.go.set()
    named = [r.message for r in caplog.records if "was told to end" in r.message]
    assert "watch.swallow" in named[0]
    assert "await anyio.sleep(0.02)" in named[0] or "time.sleep(0.002)" in named[0]
    # What it returned in the end came too late.
    assert (await chancy.get_job(reference)).state is State.PENDING


async def test_a_job_that_outstays_its_time_limit_is_named(chancy, dsn, stage, monkeypatch, caplog):
    monkeypatch.setattr(watchdog, "STUCK", 0.1)
    monkeypatch.setattr(watchdog, "LOOK", 0.1)
    limited = swallow.bind(dsn).with_limits([Limit(Limit.Type.TIME, 0.05)])
    async with Worker(chancy) as worker:
        with worker.events.subscribe("job.stuck") as seen:
            reference = await chancy.push(limited)
            stuck = await seen.next(10)
            stage.go.set()
            done = await chancy.wait_for_job(reference, timeout=10)
    assert stuck.value.id == reference.id
    assert done.state in {State.FAILED, State.SUCCEEDED}
