"""Queues are changed, paused and deleted while workers run them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Self

import anyio
import pytest

from chancy import Queue, State, Worker
from chancy_core import discovery
from chancy_core.executor import Call, Capability, Executor
from tests.stage import connect, push
from tests.told import hearing

pytestmark = pytest.mark.anyio


async def until(true: Callable[[], bool], within: float = 1.0) -> None:
    """Return once *true* is; the promise is: within a second of the commit."""
    with anyio.fail_after(within):
        while not true():
            await anyio.sleep(0.01)


async def test_more_and_fewer_slots_take_effect_without_draining(chancy, dsn, stage):
    references = await push(chancy, dsn, 12)
    queue = Queue("q", executor="async", concurrency=4)
    async with hearing(Worker(chancy)):
        await stage.until_begun(4)
        await chancy.declare(queue.options(concurrency=10), upsert=True)
        await until(lambda: stage.now == 10)
        await chancy.declare(queue.options(concurrency=2), upsert=True)
        stage.go.set()
        jobs = await chancy.wait_for_jobs(references, timeout=10)
    assert sorted(stage.begun) == list(range(12))
    assert {(job.state, job.claims) for job in jobs} == {(State.SUCCEEDED, 1)}


async def test_fewer_slots_hold_once_the_surplus_has_ended(chancy, dsn, stage):
    async with hearing(Worker(chancy)) as worker:
        await push(chancy, dsn, 4)
        await stage.until_begun(4)
        with worker.events.subscribe("worker.queue.changed") as changes:
            await chancy.declare(Queue("q", executor="async", concurrency=1), upsert=True)
            await changes.next(1)
        stage.go.set()
        await until(lambda: len(stage.ended) == 4)
        stage.go = anyio.Event()
        stage.most = 0
        await push(chancy, dsn, 3)
        await stage.until_begun(5)
        stage.go.set()
        await until(lambda: len(stage.ended) == 7)
    assert stage.most == 1


async def test_a_paused_queue_begins_nothing_and_what_runs_goes_on(chancy, dsn, stage, look):
    await push(chancy, dsn, 6)
    async with hearing(Worker(chancy)):
        await stage.until_begun(4)
        await chancy.pause_queue("q")
        stage.go.set()
        await until(lambda: len(stage.ended) == 4)
        await look()
        assert len(stage.begun) == 4
        await chancy.resume_queue("q")
        await until(lambda: len(stage.ended) == 6)


async def test_a_pause_too_short_to_be_seen_leaves_no_queue_dry(chancy, dsn, stage, look):
    stage.go.set()
    queue = Queue("q", executor="async", concurrency=4, polling_interval=3600)
    await chancy.declare(queue, upsert=True)
    worker = Worker(chancy)
    with worker.events.subscribe("worker.queue.started") as started:
        async with hearing(worker), await connect(dsn) as conn:
            while (await started.next(5)).subject != "q":
                pass
            # The worker is told of the push, and not of the pause in which it finds nothing.
            await conn.execute("UPDATE chancy_queues SET state = 'paused' WHERE name = 'q'")
            (reference,) = await push(chancy, dsn, 1)
            await look()
            assert stage.begun == []
            await chancy.resume_queue("q")
            assert (await chancy.wait_for_job(reference, timeout=1)).state is State.SUCCEEDED


async def test_a_pause_ends_by_itself(chancy, dsn, stage):
    stage.go.set()
    (reference,) = await push(chancy, dsn, 1)
    await chancy.pause_queue("q", resume_at=timedelta(seconds=0.5))
    paused = await chancy.get_queue("q")
    async with Worker(chancy):
        done = await chancy.wait_for_job(reference, timeout=10)
    assert paused.resume_at is not None
    assert timedelta(0) <= done.started_at - paused.resume_at < timedelta(seconds=1)
    queue = await chancy.get_queue("q")
    assert (queue.state, queue.resume_at) == (Queue.State.ACTIVE, None)


async def test_a_deleted_queue_begins_nothing_and_its_running_jobs_end(chancy, dsn, stage):
    references = await push(chancy, dsn, 6)
    async with Worker(chancy):
        await stage.until_begun(4)
        assert await chancy.delete_queue("q", purge_jobs=True) == 2
        stage.go.set()
        await until(lambda: len(stage.ended) == 4)
    jobs = await chancy.get_jobs(references)
    assert [job.state for job in jobs] == [State.SUCCEEDED] * 4


async def test_tags_that_no_longer_match_let_the_queue_go(chancy, dsn, stage):
    references = await push(chancy, dsn, 5)
    async with Worker(chancy) as one, Worker(chancy, tags={"has=gpu"}, name="gpu"):
        await until(lambda: len(stage.begun) == 5)
        queue = Queue("q", executor="async", concurrency=4, tags={"has=gpu"})
        await chancy.declare(queue, upsert=True)
        stage.go.set()
        await chancy.wait_for_jobs(references, timeout=10)
        later = await push(chancy, dsn, 4)
        jobs = await chancy.wait_for_jobs(later, timeout=10)
        assert len({job.worker for job in jobs}) == 1
        assert one.tags.isdisjoint({"has=gpu"})


class Loud(Executor):
    """Awaits the function, like `async`, and has an option."""

    Options = dict[str, int]
    capabilities = Capability.ASYNC
    default_concurrency = 8
    made: list[dict[str, int]]
    opened: anyio.Event

    async def __aenter__(self) -> Self:
        self.opened.set()
        return self

    async def run(self, call: Call) -> Any:
        self.made.append(self.options)
        func, arguments = call.resolve(self.capabilities)
        return await func(**arguments)


async def test_another_executor_takes_the_idle_slots_while_the_rest_drains(
    chancy, dsn, stage, look, monkeypatch
):
    load = discovery.load
    monkeypatch.setattr(
        discovery, "load", lambda group, name: Loud if name == "loud" else load(group, name)
    )
    Loud.made, Loud.opened = [], anyio.Event()
    references = await push(chancy, dsn, 3)
    async with hearing(Worker(chancy)):
        await stage.until_begun(3)
        loud = Queue("q", executor="loud", concurrency=4, executor_options={"volume": 1})
        await chancy.declare(loud, upsert=True)
        with anyio.fail_after(1):
            await Loud.opened.wait()
        references += await push(chancy, dsn, 3)
        await until(lambda: len(stage.begun) == 4)  # the one slot that is free
        await look()
        assert (len(stage.begun), Loud.made) == (4, [{"volume": 1}])
        Loud.opened = anyio.Event()
        await chancy.declare(loud.options(executor_options={"volume": 2}), upsert=True)
        with anyio.fail_after(1):
            await Loud.opened.wait()
        stage.go.set()
        jobs = await chancy.wait_for_jobs(references, timeout=10)
    assert {(job.state, job.claims) for job in jobs} == {(State.SUCCEEDED, 1)}
    assert sorted(stage.begun) == [0, 0, 1, 1, 2, 2]
    assert Loud.made == [{"volume": 1}, {"volume": 2}, {"volume": 2}]


async def test_default_is_there_once_a_worker_has_started(chancy):
    names = [queue.name for queue in await chancy.get_all_queues()]
    assert names == ["q"]
    async with Worker(chancy):
        pass
    names = [queue.name for queue in await chancy.get_all_queues()]
    assert names == ["default", "q"]


async def test_a_queue_that_comes_back_counts_what_still_runs(chancy, dsn, stage, look):
    queue = Queue("q", executor="async", concurrency=4)
    async with hearing(Worker(chancy, grace_period=0.1)) as worker:
        references = await push(chancy, dsn, 4)
        await stage.until_begun(4)
        await chancy.declare(queue.options(tags={"nobody"}), upsert=True)
        await until(lambda: "q" not in worker.queues)
        references += await push(chancy, dsn, 4)
        await chancy.declare(queue.options(concurrency=6), upsert=True)
        await stage.until_begun(6)
        await look()
        assert stage.now == 6
        stage.go.set()
        jobs = await chancy.wait_for_jobs(references, timeout=10)
    assert {(job.state, job.claims) for job in jobs} == {(State.SUCCEEDED, 1)}
