"""A worker that runs jobs in sub-interpreters, or says why it cannot."""

import anyio
import pytest

from chancy import Chancy, Job, Queue, State, Worker
from chancy_executors import subinterpreter
from tests.acceptance.test_processes import served

pytestmark = pytest.mark.anyio

needed = pytest.mark.skipif(
    not subinterpreter.AVAILABLE, reason="sub-interpreters need Python 3.13"
)


@pytest.fixture
async def chancy(dsn: str):
    async with Chancy(dsn) as chancy:
        # The jobs are another process's: those that are registered here are the tests'.
        await chancy.declare(Queue("aside", executor="interpreter", concurrency=2), check=False)
        yield chancy


@needed
async def test_a_worker_runs_jobs_of_its_script_in_sub_interpreters(chancy, dsn, anyio_backend):
    with served(dsn, anyio_backend):
        references = await chancy.push_many(Job("serve.whose", queue="aside") for _ in range(20))
        done = await chancy.wait_for_jobs(references, timeout=60)
    assert [(job.state, job.result()) for job in done] == [(State.SUCCEEDED, "serve")] * 20


@needed
async def test_a_worker_leaves_what_does_not_end_and_gives_its_job_back(
    chancy, dsn, anyio_backend, tmp_path
):
    begun, until = tmp_path / "begun", tmp_path / "until"
    files = {"begun": str(begun), "until": str(until)}
    with served(dsn, anyio_backend) as process:
        reference = await chancy.push(Job("serve.hold", kwargs=files, queue="aside"))
        with anyio.fail_after(40):
            while not begun.exists():
                await anyio.sleep(0.02)
            process.terminate()
            await anyio.sleep(0.3)
            process.terminate()  # skips the grace period
            while (job := await chancy.get_job(reference)).state is not State.PENDING:
                await anyio.sleep(0.02)
        assert (job.claims, job.attempts, job.crashes) == (1, 0, 0)
        until.touch()  # Python waits for what goes on in its threads
        assert await anyio.to_thread.run_sync(process.wait, 20) == 0


@pytest.mark.skipif(subinterpreter.AVAILABLE, reason="there are sub-interpreters")
async def test_a_worker_without_them_leaves_the_queue_alone_and_says_which_python_it_needs(chancy):
    worker = Worker(chancy)
    with worker.events.subscribe("worker.queue.skipped") as seen:
        async with worker:
            told = await seen.next(10)
    assert told.subject == "aside"
    assert "needs sub-interpreters, which CPython has from version 3.13 on" in str(told.value)
