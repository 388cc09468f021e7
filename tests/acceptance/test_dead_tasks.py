"""A task of a worker's own dies: it is named, and the worker leaves in good order."""

import sys
from contextlib import suppress

import anyio
import pytest

from chancy import State, Worker, job
from chancy_core.errors import ChancyError
from chancy_core.heartbeat import Heartbeat
from chancy_core.holding import Holding
from chancy_core.watchdog import Watchdog
from tests.stage import push

pytestmark = pytest.mark.anyio


class Defect(Exception):
    """What a task dies of."""


async def works_until_it_dies(worker: Worker) -> BaseException:
    """Return the only error that ends *worker*."""
    with anyio.fail_after(8), pytest.raises(ExceptionGroup) as caught:
        await worker.start()
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    return error


async def left(chancy) -> int:
    return len(await chancy.get_all_workers())


@pytest.mark.parametrize(("owner", "task"), [(Watchdog, "watch"), (Holding, "audit")])
async def test_what_it_held_goes_back(chancy, dsn, stage, monkeypatch, caplog, owner, task):  # noqa: PLR0917
    (reference,) = await push(chancy, dsn, 1)

    async def dies(_):
        await stage.until_begun(1)
        raise Defect

    monkeypatch.setattr(owner, {"watch": "run"}.get(task, task), dies)
    assert isinstance(await works_until_it_dies(Worker(chancy, signals=False)), Defect)
    job = await chancy.get_job(reference)
    assert (job.state, job.attempts, job.crashes) == (State.PENDING, 0, 0)
    assert await left(chancy) == 0
    assert f"its task {task!r} has died, and ends the worker" in caplog.text


async def test_outcomes_are_written_although_their_writer_was_cancelled(
    chancy, dsn, stage, monkeypatch
):
    """All services of ours end with the first that dies; the writer too, with what it has."""
    references = await push(chancy, dsn, 4)
    settle = type(chancy.store).settle

    async def slow(self, batch, **how):
        if not how["again"]:
            await anyio.sleep(0.5)
        return await settle(self, batch, **how)

    async def dies(_):
        await stage.until_begun(4)
        stage.go.set()
        await anyio.sleep(0.2)
        raise Defect

    monkeypatch.setattr(type(chancy.store), "settle", slow)
    monkeypatch.setattr(Watchdog, "run", dies)
    assert isinstance(await works_until_it_dies(Worker(chancy, signals=False)), Defect)
    jobs = await chancy.get_jobs(references)
    assert [job.state for job in jobs] == [State.SUCCEEDED] * 4


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_worker_whose_heartbeat_has_ended_ends(chancy, monkeypatch, caplog):
    monkeypatch.setattr("chancy_core.heartbeat.INTERVAL", 0.1)

    def leave(_):
        sys.exit()

    monkeypatch.setattr(Heartbeat, "_once", leave)
    error = await works_until_it_dies(Worker(chancy, signals=False))
    assert isinstance(error, ChancyError)
    assert "its heartbeat has died, so its lease runs out" in str(error)


async def test_a_task_that_returns_has_died(chancy, monkeypatch):
    async def returns(_):
        await anyio.sleep(0.1)

    monkeypatch.setattr(Holding, "watch_lease", returns)
    error = await works_until_it_dies(Worker(chancy, signals=False, name="w"))
    assert str(error) == "worker w: its task 'watch the lease' returned, and must not"


@job(name="dead.stay", queue="q")
async def stay(seconds: float) -> None:
    until = anyio.current_time() + seconds
    while anyio.current_time() < until:
        with suppress(BaseException):  # this is what it is for
            await anyio.sleep(0.05)


async def test_a_job_that_does_not_end_keeps_no_dying_worker_on_the_list(chancy, monkeypatch):
    reference = await chancy.push(stay.bind(seconds=3.0))
    running = anyio.Event()

    async def dies(_):
        await running.wait()
        raise Defect

    monkeypatch.setattr(Holding, "watch_lease", dies)
    worker = Worker(chancy, signals=False)
    worker.events.on("job.started", lambda _: running.set())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(works_until_it_dies, worker)
        with anyio.fail_after(2.5):
            await worker.stopped.wait()
        found = await chancy.get_job(reference)
        assert (found.state, found.claims, found.crashes) == (State.PENDING, 1, 0)
        assert await left(chancy) == 0


@job(name="dead.cancel_itself", queue="q")
async def cancel_itself() -> str:
    import asyncio  # noqa: TID251 - nobody else can do this

    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    return "done"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_job_that_cancels_its_own_task_costs_no_slot(chancy):
    """trio has nothing of the kind."""
    async with Worker(chancy, signals=False):
        for _ in range(6):  # the queue has four slots
            reference = await chancy.push(cancel_itself.bind())
            assert (await chancy.wait_for_job(reference, timeout=5)).result() == "done"
