"""What wakes a worker, and what it claims."""

import pytest

from chancy import Chancy, Job, Queue, State, Worker, job
from chancy_core import outcome, place, wake
from tests.stage import connect, play, push

pytestmark = pytest.mark.anyio


@job(name="claiming.fail", queue="q")
async def fail() -> None:
    raise ValueError


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


@pytest.mark.parametrize("eager", [True, False])
async def test_an_eager_queue_is_asked_again_after_each_job(dsn, stage, eager):
    async with Chancy(dsn, notifications=False) as chancy:
        queue = Queue("q", executor="async", polling_interval=600, eager_polling=eager)
        await chancy.declare(queue)
        (first,) = await push(chancy, dsn, 1)
        async with Worker(chancy):
            await stage.until_begun(1)
            (second,) = await push(chancy, dsn, 1)  # nobody is told, and the queue had run dry
            stage.go.set()
            await chancy.wait_for_job(first, timeout=10)
            if eager:
                await chancy.wait_for_job(second, timeout=10)
            else:
                with pytest.raises(TimeoutError):
                    await chancy.wait_for_job(second, timeout=0.3)


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


async def test_a_worker_runs_those_queues_only_that_it_was_told_of(chancy, dsn, stage, caplog):
    stage.go.set()
    (mine,) = await push(chancy, dsn, 1)
    (other,) = await push(chancy, dsn, 1, queue="default")
    await chancy.declare(Queue("odd", executor="nonsense"), check=False)
    async with Worker(chancy, queues=["q", "later"]) as worker:
        await chancy.wait_for_job(mine, timeout=10)
        await chancy.declare(Queue("later", executor="async"))
        (late,) = await push(chancy, dsn, 1, queue="later")
        await chancy.wait_for_job(late, timeout=10)
        assert set(worker.queues) == {"q", "later"}
    assert (await chancy.get_job(other)).state is State.PENDING
    assert "odd" not in caplog.text  # what others are to run is theirs to complain of


async def test_a_queue_that_a_worker_was_told_of_must_match_its_tags(chancy, dsn, stage):
    await chancy.declare(Queue("gpu", executor="async", tags={"has=gpu"}))
    worker = Worker(chancy, queues={"gpu", "q"})
    with worker.events.subscribe("worker.queue.started") as started:
        async with worker:
            await started.next(10)
            assert set(worker.queues) == {"q"}


async def test_what_a_worker_puts_off_it_takes_up_when_it_is_due(dsn, stage, monkeypatch):
    monkeypatch.setattr(outcome, "_delay", lambda refusals: 0.2)
    monkeypatch.setattr(wake, "LOOK_AROUND", 3600)  # it looks only when it knows of something
    async with Chancy(dsn, notifications=False) as chancy:
        await chancy.declare(Queue("q", executor="async", polling_interval=0.1))
        worker = Worker(chancy)
        with worker.events.subscribe("job.started") as begun:
            async with worker:
                reference = await chancy.push(Job("nobody.knows.it", queue="q"))
                first, second = [await begun.next(5) for _ in range(2)]
    assert {first.subject, second.subject} == {str(reference)}
    assert (first.value.claims, second.value.claims) == (1, 2)


async def test_what_comes_late_to_an_earlier_place_waits_for_no_poll(
    chancy, dsn, stage, monkeypatch
):
    monkeypatch.setattr(place, "CHEAP", -3600)  # each claim goes on where the last one ended
    monkeypatch.setattr(place, "LONGEST", 3.0)  # if that is not longer ago
    await chancy.declare(Queue("q", executor="async", polling_interval=600), upsert=True)
    stage.go.set()
    async with Worker(chancy), await connect(dsn) as conn:
        await chancy.push(play.bind(stage=dsn, number=2))  # it has a place from now on
        await stage.until_begun(1)
        async with conn.transaction():
            await chancy.push_ex(conn, play.bind(stage=dsn, number=0), wake="poll")
            await chancy.push(play.bind(stage=dsn, number=1))
            await stage.until_begun(2)
        await stage.until_begun(3)
    assert stage.begun == [2, 1, 0]


async def test_a_job_that_went_back_is_claimed_again_wherever_its_queue_has_got(
    chancy, dsn, stage, monkeypatch
):
    monkeypatch.setattr(place, "CHEAP", -3600)
    monkeypatch.setattr(place, "LONGEST", 3600)
    await chancy.declare(Queue("q", executor="async", polling_interval=600), upsert=True)
    stage.go.set()
    async with Worker(chancy):
        (first,) = await push(chancy, dsn, 1)
        await chancy.wait_for_job(first, timeout=10)
        again = await chancy.push(fail.bind().options(max_attempts=2))
        done = await chancy.wait_for_job(again, timeout=10)
    assert done.state is State.FAILED
    assert done.attempts == 2
