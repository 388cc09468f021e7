"""The plugins that are shipped, as they are found by a worker: nobody has to ask for them."""

import logging
import signal
from datetime import timedelta

import pytest
from anyio import to_thread

import tests.jobs
from chancy import INJECTED, Chancy, Job, Queue, QueuedJob, State, Worker, job
from chancy_core import heartbeat
from chancy_plugins.retry import backoff
from tests.fleet import Fleet

pytestmark = pytest.mark.anyio

SOON = backoff(initial=0.05, factor=4, jitter="none")


@job(name="shipped.third_time", queue="q", max_attempts=3, meta=SOON | {"tenant": 7})
async def third_time(*, me: QueuedJob = INJECTED) -> int:
    if me.attempts < 2:
        raise RuntimeError("not yet")
    return me.meta["tenant"]


@job(name="shipped.never", queue="q", max_attempts=2)
async def never() -> None:
    raise RuntimeError("never")


def test_all_of_them_are_there():
    plugins = Chancy("host=nowhere").plugins
    names = {plugin.name: plugin.origin.split()[0] for plugin in plugins.plugins}
    ours = [
        *("cron", "debug", "leadership", "log-context", "metrics", "opentelemetry", "prometheus"),
        *("recovery", "retention", "retry", "sentry", "workflow"),
    ]
    assert names.items() >= dict.fromkeys(ours, "chancy").items()
    assert plugins.broken == {}


async def test_a_job_that_asks_for_it_is_put_off_longer_after_each_failure(chancy):
    settled = []
    worker = Worker(chancy)
    worker.events.on("job.settled", lambda event: settled.append(event.value[2]))
    async with worker:
        reference = await chancy.push(third_time.bind())
        done = await chancy.wait_for_job(reference, timeout=20)
    assert (done.state, done.result(), done.attempts, done.claims) == (State.SUCCEEDED, 7, 3, 3)
    assert done.meta == SOON | {"tenant": 7}
    pauses = [(verdict.state, verdict.delay) for verdict in settled[:2]]
    assert pauses == [(State.SCHEDULED, 0.05), (State.SCHEDULED, 0.2)]
    assert done.started_at - done.created_at >= timedelta(seconds=0.25)


@pytest.mark.parametrize(
    ("executor", "call", "kind"),
    [
        ("async", tests.jobs.fail_async.bind(text="no"), "error"),
        ("thread", tests.jobs.fail.bind(text="no"), "error"),
        ("process", tests.jobs.fail.bind(text="no"), "error"),
        ("process", tests.jobs.vanish.bind(status=3), "child-died"),
    ],
)
async def test_however_it_failed_and_wherever(chancy, executor, call, kind):
    settled = []
    await chancy.declare(Queue("failing", executor=executor))
    worker = Worker(chancy)
    worker.events.on("job.settled", lambda event: settled.append(event.value[2]))
    async with worker:
        asked = call.options(queue="failing", max_attempts=2, meta=SOON)
        done = await chancy.wait_for_job(await chancy.push(asked), timeout=30)
    assert (done.state, [failure.kind for failure in done.errors]) == (State.FAILED, [kind] * 2)
    assert [verdict.delay for verdict in settled] == [0.05, 0]


async def test_a_job_that_does_not_is_tried_again_at_once(chancy):
    settled = []
    worker = Worker(chancy)
    worker.events.on("job.settled", lambda event: settled.append(event.value[2]))
    async with worker:
        done = await chancy.wait_for_job(await chancy.push(never.bind()), timeout=20)
    assert (done.state, done.attempts) == (State.FAILED, 2)
    assert [(verdict.state, verdict.delay) for verdict in settled] == [
        (State.PENDING, 0),
        (State.FAILED, 0),
    ]


@pytest.mark.parametrize("executor", ["async", "thread", "process"])
async def test_what_a_job_logs_says_which_it_is(chancy, executor):
    func = tests.jobs.log_async if executor == "async" else tests.jobs.log
    await chancy.declare(Queue("logs", executor=executor, concurrency=2))
    async with Worker(chancy):
        asked = func.options(queue="logs").bind()
        jobs = await chancy.wait_for_jobs(await chancy.push_many([asked] * 3), timeout=30)
    for done in jobs:
        assert done.result() == [f"{done.id} logs {func.name} 1"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2])
async def test_a_job_that_kills_its_workers_is_quarantined_at_the_limit_and_told_of(
    dsn, monkeypatch, caplog, anyio_backend, limit
):
    monkeypatch.setenv("CHANCY_CRASH_LIMIT", str(limit))
    monkeypatch.setattr(heartbeat, "LEASE", 1.5)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.3)
    caplog.set_level(logging.WARNING, "chancy.recovery")
    with Fleet(dsn) as fleet:
        async with Chancy(dsn) as chancy:
            await chancy.declare(Queue("q", executor="async", tags={"worker_id=victim"}))
            reference = await chancy.push(Job("member.poison", queue="q"))
            async with Worker(chancy, name="rescuer"):
                for _ in range(limit):
                    victim = fleet.start("victim", anyio_backend, lease=1.5)
                    assert await to_thread.run_sync(victim.wait, 30) == -signal.SIGKILL
                bad = await chancy.wait_for_job(reference, timeout=30)
    assert (bad.state, bad.crashes, bad.attempts) == (State.QUARANTINED, limit, 0)
    # Whoever looks on has been told of all by the time that the worker has stopped.
    told = [record for record in caplog.records if record.name == "chancy.recovery"]
    assert [record.levelname for record in told] == ["WARNING"] * limit + ["ERROR"]
    assert f"{reference} (quarantined)" in told[-1].getMessage()
