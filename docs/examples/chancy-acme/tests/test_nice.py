import os
import signal
from datetime import UTC, datetime
from uuid import uuid4

import anyio
import pytest
from chancy import Chancy, Queue, QueuedJob, State, Worker, job
from chancy_core import perform
from chancy_core.executor import Call, ExecutorHost
from chancy_core.testing import check_executor

from chancy_acme.nice import GONE, NiceExecutor, Options


@job(queue="reports")
def niceness() -> int:
    return os.nice(0)


@job
def stay() -> None:
    signal.pause()


async def test_it_keeps_the_contract() -> None:
    await check_executor(NiceExecutor)


async def test_its_processes_stand_back(chancy_app: Chancy) -> None:
    await chancy_app.declare(Queue("reports", executor="nice", executor_options={"niceness": 3}))
    reference = await chancy_app.push(niceness.bind())
    async with Worker(chancy_app):
        done = await chancy_app.wait_for_job(reference, timeout=30)
    assert done.result() == min(19, os.nice(0) + 3)


def held() -> Call:
    """A call that does not come to an end by itself."""
    now = datetime.now(UTC)
    return Call(QueuedJob(stay.name, id=uuid4(), state=State.RUNNING, created_at=now), "{}")


async def test_it_says_in_which_process_a_call_runs(anyio_backend: str) -> None:
    call, host = held(), ExecutorHost([(__name__, None)], anyio_backend)
    async with NiceExecutor(Options(), 1, host) as executor:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(executor.run, call)
            with anyio.fail_after(30):
                while not executor.running():
                    await anyio.sleep(0.01)
            (place,) = executor.running()
            pid = place.pid or 0
            assert place.job == call.job.id
            assert pid > 0
            os.kill(pid, 0)
            tasks.cancel_scope.cancel()
        assert executor.running() == []
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_process_ends_with_its_worker_whatever_runs(anyio_backend: str) -> None:
    host = ExecutorHost([(__name__, None)], anyio_backend)
    async with NiceExecutor(Options(), 1, host) as executor:
        child = await executor._child()

        async def ask() -> None:
            with pytest.raises(GONE):
                await child.ask(perform.request(held()))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await anyio.wait_all_tasks_blocked()
                await child._to.aclose()  # as the system does it for a worker that has died
        assert await child.end() == 0


@pytest.mark.parametrize("niceness", [-1, 20, "5"])
async def test_what_no_system_knows_is_refused(chancy_app: Chancy, niceness: object) -> None:
    options = {"niceness": niceness}
    with pytest.raises(ValueError, match="executor_options") as refused:
        await chancy_app.declare(Queue("q", executor="nice", executor_options=options))
    assert "niceness" in str(refused.value)
