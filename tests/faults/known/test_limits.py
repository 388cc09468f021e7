"""What a job may take of time and memory, and how it is ended from outside."""

import resource
import sys
from typing import Any

import anyio
import pytest

from chancy import Job, Limit, Queue, State, Worker
from chancy_core import holding
from tests.faults.known import jobs
from tests.jobs import vanish
from tests.stage import push

pytestmark = [pytest.mark.faults, pytest.mark.anyio]


@pytest.fixture
async def executor(chancy, request: pytest.FixtureRequest):
    """The name of a queue, which is that of its executor."""
    await chancy.declare(
        Queue(request.param, executor=request.param, concurrency=2, polling_interval=0.1)
    )
    return request.param


def limited(func: object, seconds: float, limit: float, queue: str) -> Job:
    made = func.bind(seconds=seconds)  # type: ignore[attr-defined]
    return made.options(queue=queue).with_limits([Limit(Limit.Type.TIME, limit)])


@pytest.mark.parametrize("executor", ["thread", "process"], indirect=True)
async def test_a_time_limit_is_kept_each_time(chancy, executor):
    """W15, b4-t11: a child that was not up yet, and any thread, ran on beyond its time limit."""
    async with Worker(chancy, grace_period=0):
        for func in (jobs.sleep, jobs.sleep_whatever_happens):
            # The first limit is over before any child could have started.
            asked = [limited(func, 4.0, limit, executor) for limit in (0.02, 0.3)]
            with anyio.fail_after(3):
                done = await chancy.wait_for_jobs(await chancy.push_many(asked))
            assert [(one.state, one.errors[0].kind) for one in done] == [
                (State.FAILED, "timeout")
            ] * 2
        # Nothing that came too late hits the next job.
        asked = [limited(jobs.sleep, 0.0, 20, executor) for _ in range(4)]
        done = await chancy.wait_for_jobs(await chancy.push_many(asked), timeout=20)
        assert {one.state for one in done} == {State.SUCCEEDED}


@pytest.mark.parametrize("executor", ["thread", "process"], indirect=True)
async def test_a_running_job_is_told_to_end_without_a_word(chancy, executor, monkeypatch):
    """W16, s2: cancelling did not reach a running job, or was lost with its notification."""
    monkeypatch.setattr(holding, "AUDIT", 0.1)
    chancy.notifications = False
    asked = jobs.sleep.bind(seconds=5.0).options(queue=executor)
    async with Worker(chancy, grace_period=0):
        reference = await chancy.push(asked)
        await chancy.wait_for_job(reference, timeout=10, states=["running"])
        await chancy.cancel_job(reference)
        done = await chancy.wait_for_job(reference, timeout=4)
    assert (done.state, done.attempts) == (State.CANCELLED, 0)


async def test_a_running_coroutine_is_told_to_end(chancy, dsn, stage):
    """W16, s2: a coroutine that was cancelled ran on, and its job became `failed`."""
    running, other = await push(chancy, dsn, 2)
    async with Worker(chancy):
        await stage.until_begun(2)
        await chancy.cancel_job(running)
        assert (await chancy.wait_for_job(running, timeout=5)).state is State.CANCELLED
        stage.go.set()
        assert (await chancy.wait_for_job(other, timeout=5)).state is State.SUCCEEDED
    assert stage.ended == [1]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
@pytest.mark.parametrize("executor", ["process"], indirect=True)
async def test_a_memory_limit_leaves_the_hard_limit_alone(chancy, executor):
    """W17: a memory limit reset the hard limit to infinity, and failed where that was lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    lower = 64 << 30
    memory = [Limit(Limit.Type.MEMORY, 1 << 40)]
    async with Worker(chancy):

        async def result(asked: Job) -> Any:
            reference = await chancy.push(asked.options(queue=executor))
            return (await chancy.wait_for_job(reference, timeout=20)).result()

        within = jobs.limits.bind().with_limits(memory)
        bounded, kept = await result(within)
        assert (bounded > 1 << 40, kept) == (True, hard)
        assert await result(jobs.limits.bind()) == [soft, hard]
        await result(jobs.lower_the_hard_limit.bind(to=lower))
        assert await result(within) == [lower, lower]


@pytest.mark.parametrize("executor", ["process"], indirect=True)
async def test_a_child_that_dies_costs_no_innocent(chancy, executor):
    """W27, b4-t10: one `os._exit` failed two innocent jobs, and the pool of processes for good."""
    innocent = jobs.sleep.bind(seconds=0.3).options(queue=executor)
    async with Worker(chancy):
        for _ in range(2):
            poison = vanish.bind(status=1).options(queue=executor)
            asked = [innocent, poison, innocent, innocent]
            done = await chancy.wait_for_jobs(await chancy.push_many(asked), timeout=20)
            assert done[1].errors[0].kind == "child-died"
            assert [(one.state, one.attempts, one.claims) for one in done] == [
                (State.SUCCEEDED, 1, 1),
                (State.FAILED, 1, 1),
                (State.SUCCEEDED, 1, 1),
                (State.SUCCEEDED, 1, 1),
            ]
