"""How far a job has come is known while it runs, and kept when it has ended."""

import os
import signal
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest

from chancy import Chancy, Job, Queue, State, Worker
from chancy_core import heartbeat, report
from chancy_core.progress import Progress
from chancy_core.store import statements
from tests import jobs

pytestmark = pytest.mark.anyio

HALF = Progress(1, 2, "half")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "EVERY", 0.05)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.05)


async def advancing(chancy: Chancy, executor: str, file: Path) -> Job:
    await chancy.declare(Queue("advance", executor=executor))
    kind = "_async" if executor == "async" else ""
    return Job(f"tests.jobs.advance{kind}", queue="advance", kwargs={"file": str(file)})


@pytest.mark.parametrize("executor", ["async", "thread", "process"])
async def test_it_is_written_while_the_job_runs(dsn: str, tmp_path: Path, executor: str):
    async with Chancy(dsn, jobs=[jobs.__name__], notifications=False) as chancy:
        job = await advancing(chancy, executor, tmp_path / "go")
        async with Worker(chancy) as worker:
            with worker.events.subscribe("job.progress") as seen:
                reference = await chancy.push(job)
                while (told := await seen.next(30)).value[1] != HALF:
                    pass
                assert told.subject == str(reference.id)
                found = await chancy.get_job(reference)
                assert (found.state, found.meta) == (State.RUNNING, {"progress": HALF.plain()})
                await until_shown(chancy)
                (tmp_path / "go").touch()
                done = await chancy.wait_for_job(reference, timeout=30)
    assert (done.state, done.meta["progress"]["done"]) == (State.SUCCEEDED, 2)


async def until_shown(chancy: Chancy) -> None:
    """Return when the only worker tells of a job that is half done."""
    with anyio.fail_after(20):
        while True:
            (info,) = await chancy.get_all_workers()
            if info.running and any(one.progress == HALF for one in info.running.jobs):
                return
            await anyio.sleep(0.02)


async def test_it_outlives_the_process_that_told_it(dsn: str, tmp_path: Path):
    async with Chancy(dsn, jobs=[jobs.__name__]) as chancy:
        job = await advancing(chancy, "process", tmp_path / "go")
        async with Worker(chancy) as worker:
            with worker.events.subscribe("job.progress") as seen:
                reference = await chancy.push(job)
                while (await seen.next(30)).value[1] != HALF:
                    pass
                (place,) = worker.lanes.current["advance"].executor.running()
                assert place.pid is not None
                os.kill(place.pid, signal.SIGKILL)
            done = await chancy.wait_for_job(reference, timeout=30)
    assert (done.state, done.meta) == (State.FAILED, {"progress": HALF.plain()})


async def test_what_the_database_does_not_take_is_written_later(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with Chancy(dsn, jobs=[jobs.__name__]) as chancy:
        job = await advancing(chancy, "async", tmp_path / "go")
        make, tried = statements.progress, []

        def twice_in_vain(*asked: Any) -> Any:
            tried.append(asked)
            if len(tried) < 3:
                raise psycopg.OperationalError("the connection was lost")
            return make(*asked)

        monkeypatch.setattr(statements, "progress", twice_in_vain)
        async with Worker(chancy) as worker:
            with worker.events.subscribe("job.progress") as seen:
                reference = await chancy.push(job)
                assert (await seen.next(30)).value[1] == HALF
            (tmp_path / "go").touch()
            await chancy.wait_for_job(reference, timeout=30)
    assert len(tried) == 3
