"""How a worker stops: in good order, whoever tells it to, and with the error that was."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from chancy import Limit, State, Worker, job
from chancy_core.errors import ChancyError, InvalidValue
from chancy_core.signals import _received
from tests.stage import connect, push, stages

pytestmark = pytest.mark.anyio


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


async def test_a_stop_with_a_grace_period_of_nonsense_is_refused_and_stops_nothing(chancy):
    async with Worker(chancy) as worker:
        with pytest.raises(InvalidValue, match="grace_period must be 0 or more seconds, not -1"):
            worker.stop(grace_period=-1)
        assert not worker.stopping.is_set()


async def test_a_worker_may_be_started_again_if_it_never_began(chancy):
    worker = Worker(chancy)
    chancy.jobs = ("tests.nowhere",)
    with pytest.raises(ModuleNotFoundError):
        await worker.start()
    chancy.jobs = ()
    async with worker:
        assert not worker.stopping.is_set()


async def test_a_worker_has_one_life(chancy):
    worker = Worker(chancy, name="w")
    async with worker:
        with pytest.raises(ChancyError, match="'w' has been started before: make a new Worker"):
            await worker.start()
    with pytest.raises(ChancyError, match="has been started before"):
        async with worker:
            raise AssertionError


async def test_behind_a_block_its_end_is_waited_for(chancy, dsn, stage):
    (reference,) = await push(chancy, dsn, 1)
    async with Worker(chancy) as worker:
        await stage.until_begun(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worker.wait_for_shutdown)
            worker.stop()
            await anyio.wait_all_tasks_blocked()
            assert not worker.stopped.is_set()
            stage.go.set()
        assert worker.stopped.is_set()
        assert await worker.wait_for_shutdown() is True
        assert (await chancy.get_job(reference)).state is State.SUCCEEDED
        assert await workers(dsn) == []


async def test_behind_a_block_a_task_of_ones_own_runs_beside_it(chancy, dsn, stage):
    seen: list[str] = []

    async def watch(worker: Worker) -> None:
        await stage.until_begun(1)
        seen.append(worker.name)

    await push(chancy, dsn, 1)
    async with Worker(chancy, name="watched") as worker, anyio.create_task_group() as tasks:
        tasks.start_soon(watch, worker)
        stage.go.set()
    assert seen == ["watched"]
    assert worker.stopped.is_set()


async def test_a_stop_may_bring_its_own_grace_period(chancy, dsn, stage):
    (reference,) = await push(chancy, dsn, 1)
    with anyio.fail_after(10):
        async with Worker(chancy, grace_period=12) as worker:
            await stage.until_begun(1)
            worker.stop(grace_period=0.05)
            assert await worker.wait_for_shutdown() is False
    assert (await chancy.get_job(reference)).state is State.PENDING


@pytest.fixture
def terminated() -> Iterator[list[int]]:
    """A program with a handler of its own for SIGTERM; answers what reached it."""
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGTERM, before)


async def test_behind_a_block_a_signal_stops_it_while_its_end_is_waited_for(chancy, terminated):
    own = signal.getsignal(signal.SIGTERM)
    async with Worker(chancy) as worker, anyio.create_task_group() as tasks:
        tasks.start_soon(worker.wait_for_shutdown)
        with anyio.fail_after(10):
            while signal.getsignal(signal.SIGTERM) is own:
                await anyio.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)
            await worker.stopped.wait()
    assert terminated == []


@pytest.fixture
def interrupted() -> Iterator[list[int]]:
    """A program with a handler of its own for SIGINT; answers what reached it."""
    received: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: received.append(number))
    yield received
    signal.signal(signal.SIGINT, before)


async def test_signals_are_theirs_again_who_had_them_before(chancy, interrupted):
    """Of SIGINT that is asyncio's Runner; Python's own raises at any line, and leaving may hang."""
    own = signal.getsignal(signal.SIGINT)
    with anyio.fail_after(10):
        async with Worker(chancy) as worker, anyio.create_task_group() as tasks:
            tasks.start_soon(worker.wait_for_shutdown)
            while signal.getsignal(signal.SIGINT) is own:
                await anyio.sleep(0.01)
            worker.stop()
    assert signal.getsignal(signal.SIGINT) is own
    assert interrupted == []


async def test_an_interruption_between_two_handlers_reaches_the_program(interrupted, monkeypatch):
    """asyncio gives SIGINT to Python's own handler for a moment, which raises right there."""

    @contextmanager
    def receiver(*_):
        yield
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "open_signal_receiver", receiver)
    with _received():
        pass
    assert interrupted == [signal.SIGINT]


async def test_a_signal_stops_all_workers_of_a_process(chancy, dsn, stage, terminated):
    own = signal.getsignal(signal.SIGTERM)
    await push(chancy, dsn, 1)
    first, *rest = [Worker(chancy, name=f"w{n}") for n in range(3)]
    left = anyio.Event()

    async def start_first() -> None:
        await first.start()
        left.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(start_first)
            await anyio.wait_all_tasks_blocked()
            for worker in rest:
                tasks.start_soon(worker.start)
            await stage.until_begun(1)
            stage.go.set()
            first.stop()
            await left.wait()
            while signal.getsignal(signal.SIGTERM) is own:
                await anyio.sleep(0.01)  # until another hears in its place
            os.kill(os.getpid(), signal.SIGTERM)
    assert all(worker.stopped.is_set() for worker in rest)
    assert terminated == []


async def test_it_leaves_signals_alone_if_told_to(chancy, dsn, stage, terminated):
    await push(chancy, dsn, 1)
    worker = Worker(chancy, signals=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(worker.start)
        tasks.start_soon(worker.wait_for_shutdown)
        await stage.until_begun(1)
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.wait_all_tasks_blocked()
        assert terminated == [signal.SIGTERM]
        assert not worker.stopping.is_set()
        worker.stop()
        stage.go.set()


async def workers(dsn: str) -> list[tuple]:
    async with await connect(dsn) as conn:
        return await (await conn.execute("SELECT id, dead FROM chancy_workers")).fetchall()


async def test_the_error_of_the_block_is_the_error_that_is_seen(chancy):
    with pytest.raises(KeyError, match="mine"):
        async with Worker(chancy):
            raise KeyError("mine")


@job(name="life.sulk", queue="q")
async def sulk(stage: str) -> None:
    try:
        await stages[stage].play(0)
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
