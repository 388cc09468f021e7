"""Jobs in threads that do not end when they are told to: the worker goes on without them."""

import threading
import time
from collections.abc import Iterator
from functools import partial

import anyio
import pytest
from anyio import to_thread

from chancy import INJECTED, Chancy, Job, Limit, Queue, QueuedJob, State, Worker, job
from chancy_core import watchdog
from chancy_core.errors import AttemptOver

pytestmark = pytest.mark.anyio

LIMIT = Limit(Limit.Type.TIME, 0.3)


class Play:
    """What the jobs of one test wait for, and what they have done."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)
        self.ended = threading.Event()
        self.raised: list[BaseException] = []

    async def until_begun(self) -> None:
        assert await to_thread.run_sync(partial(self.begun.acquire, timeout=10))


#: The plays of the running tests, by the names of their databases.
plays: dict[str, Play] = {}


@pytest.fixture
def play(dsn: str) -> Iterator[Play]:
    plays[dsn] = Play()
    yield plays[dsn]
    plays[dsn].go.set()
    del plays[dsn]


@job(name="stuck.stay", queue="threads")
def stay(play: str) -> str:
    playing = plays[play]
    playing.begun.release()
    playing.go.wait(30)
    playing.ended.set()
    return "too late"


@job(name="stuck.listen", queue="threads")
def listen(play: str, *, me: QueuedJob = INJECTED) -> None:
    playing = plays[play]
    playing.begun.release()
    try:
        while not playing.go.is_set():
            me.checkpoint()
            time.sleep(0.005)
    except AttemptOver as exc:
        playing.raised.append(exc)
        raise
    finally:
        playing.ended.set()


@job(name="stuck.add", queue="threads")
def add(a: int, b: int) -> int:
    return a + b


async def declare(chancy: Chancy, **options: int) -> None:
    await chancy.declare(
        Queue(
            "threads",
            executor="thread",
            concurrency=1,
            polling_interval=0.1,
            executor_options=options,
        )
    )


def limited(dsn: str) -> Job:
    return stay.bind(dsn).with_limits([LIMIT])


async def test_a_stuck_job_holds_up_no_other_and_its_late_return_does_not_count(
    chancy: Chancy, dsn: str, play: Play, monkeypatch: pytest.MonkeyPatch, caplog
):
    monkeypatch.setattr(watchdog, "STUCK", 0.1)
    monkeypatch.setattr(watchdog, "LOOK", 0.1)
    await declare(chancy)
    async with Worker(chancy) as worker:
        with worker.events.subscribe("job.stuck") as seen:
            stuck = await chancy.push(limited(dsn))
            others = await chancy.push_many(add.bind(n, 1) for n in range(5))
            done = await chancy.wait_for_jobs([stuck, *others], timeout=20)
            assert (await seen.next(10)).subject == str(stuck)
        play.go.set()
        assert await to_thread.run_sync(play.ended.wait, 10)
        again = await chancy.push(add.bind(1, 1))
        assert (await chancy.wait_for_job(again, timeout=20)).result() == 2
    assert [one.state for one in done] == [State.FAILED] + [State.SUCCEEDED] * 5
    (error,) = done[0].errors
    assert (error.kind, error.message) == ("timeout", "it took longer than 0.3 s")
    assert "playing.go.wait(30)" in error.traceback
    messages = [r.getMessage() for r in caplog.records if "was told to end" in r.msg]
    (named,) = {message.partition("was told")[0] for message in messages}
    assert named == f"job {stuck} (stuck.stay) "
    after = await chancy.get_job(stuck)
    assert (after.state, after.attempts, after.errors) == (State.FAILED, 1, done[0].errors)


async def test_beyond_the_most_that_may_be_stuck_jobs_are_left_to_others_until_one_ends(
    chancy: Chancy, dsn: str, play: Play, look
):
    await declare(chancy, max_stuck=0)
    async with Worker(chancy):
        stuck = await chancy.push(limited(dsn))
        assert (await chancy.wait_for_job(stuck, timeout=20)).state is State.FAILED
        waiting = await chancy.push(add.bind(1, 2))
        await look()
        left = await chancy.get_job(waiting)
        assert (left.state, left.claims, left.attempts) == (State.PENDING, 0, 0)
        play.go.set()
        done = await chancy.wait_for_job(waiting, timeout=20)
    assert (done.state, done.result(), done.attempts) == (State.SUCCEEDED, 3, 1)
    assert done.errors == ()


async def test_a_loop_that_asks_ends_when_its_worker_stops(chancy: Chancy, dsn: str, play: Play):
    await declare(chancy)
    reference = await chancy.push(listen.bind(dsn))
    async with Worker(chancy, grace_period=0.05):
        await play.until_begun()
    assert await to_thread.run_sync(play.ended.wait, 10)
    assert [type(exc) for exc in play.raised] == [AttemptOver]
    back = await chancy.get_job(reference)
    assert (back.state, back.attempts, back.errors) == (State.PENDING, 0, ())


async def test_a_loop_that_asks_ends_when_its_job_is_cancelled(
    chancy: Chancy, dsn: str, play: Play
):
    await declare(chancy)
    async with Worker(chancy):
        reference = await chancy.push(listen.bind(dsn))
        await play.until_begun()
        await chancy.cancel_job(reference)
        with anyio.fail_after(10):
            done = await chancy.wait_for_job(reference)
            assert await to_thread.run_sync(play.ended.wait, 10)
    assert (done.state, done.attempts) == (State.CANCELLED, 0)
    assert [type(exc) for exc in play.raised] == [AttemptOver]
