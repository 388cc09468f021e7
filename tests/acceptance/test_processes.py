"""Workers in processes of their own: scripts, signals, and kill -9."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import psycopg
import pytest

from chancy import Chancy, Job, Queue, State

pytestmark = pytest.mark.anyio

SCRIPT = Path(__file__).with_name("serve.py")


@contextmanager
def served(dsn: str, backend: str) -> Iterator[subprocess.Popen[str]]:
    """A worker process that has begun to work; it is gone at the end, whatever happened."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(SCRIPT), backend],
        env=os.environ | {"CHANCY_DSN": dsn},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
async def chancy(dsn: str):
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("thread", executor="thread", concurrency=2))
        await chancy.declare(Queue("process", executor="process", concurrency=1))
        yield chancy


def hold(folder: Path, name: str = "a") -> Job:
    files = {"begun": str(folder / f"{name}.begun"), "until": str(folder / f"{name}.until")}
    return Job("serve.hold", kwargs=files, queue="thread")


async def begun(folder: Path, name: str = "a", times: int = 1) -> None:
    file = anyio.Path(folder / f"{name}.begun")
    with anyio.fail_after(40):
        while not await file.exists() or (await file.read_text()).count("begun") < times:
            await anyio.sleep(0.02)


async def left(process: subprocess.Popen[str], within: float) -> int:
    return await anyio.to_thread.run_sync(process.wait, within)


def workers(dsn: str) -> int:
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT count(*) FROM chancy_workers").fetchone()
        assert row is not None
        return row[0]


async def test_children_load_a_script_by_its_own_name(chancy, dsn, anyio_backend):
    with served(dsn, anyio_backend):
        reference = await chancy.push(Job("serve.whose", queue="process"))
        done = await chancy.wait_for_job(reference, timeout=30)
    assert done.result() == "serve"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_jobs_end_and_the_process_leaves_with_status_0(
    chancy, dsn, anyio_backend, tmp_path, number
):
    reference = await chancy.push(hold(tmp_path))
    with served(dsn, anyio_backend) as process:
        await begun(tmp_path)
        process.send_signal(number)
        (tmp_path / "a.until").touch()
        assert await left(process, 20) == 0
        assert process.stdout is not None
        assert process.stdout.read() == "left\n"
    assert (await chancy.get_job(reference)).result() == "held"
    assert workers(dsn) == 0


async def test_a_second_signal_skips_the_grace_period(chancy, dsn, anyio_backend, tmp_path):
    reference = await chancy.push(hold(tmp_path))
    with served(dsn, anyio_backend) as process:
        await begun(tmp_path)
        process.send_signal(signal.SIGTERM)
        await until_no_more_is_claimed(chancy, tmp_path)
        process.send_signal(signal.SIGTERM)
        with anyio.fail_after(15):
            while (job := await chancy.get_job(reference)).state is not State.PENDING:
                await anyio.sleep(0.02)
        assert (job.claims, job.attempts, job.crashes) == (1, 0, 0)
        (tmp_path / "a.until").touch()  # a thread cannot be ended, and keeps its process
        assert await left(process, 20) == 0


async def until_no_more_is_claimed(chancy: Chancy, folder: Path) -> None:
    """Return when the worker has noticed the signal: it leaves a new job alone."""
    (folder / "probe.until").touch()
    for _ in range(50):
        reference = await chancy.push(hold(folder, "probe"))
        try:
            await chancy.wait_for_job(reference, timeout=1)
        except TimeoutError:
            return
    raise AssertionError("the worker goes on claiming")


UNGUARDED = """
import anyio
from chancy import Chancy, Queue, Worker, job

@job(queue="process")
def greet() -> str:
    return "hello"

async def main():
    async with Chancy() as chancy, Worker(chancy):
        reference = await chancy.push(greet)
        with anyio.fail_after(10):
            while not (await chancy.get_job(reference)).errors:
                await anyio.sleep(0.02)

anyio.run(main, backend="{backend}")
"""


async def test_a_script_without_a_guard_does_not_start_itself_in_its_children(
    chancy, dsn, anyio_backend, tmp_path
):
    script = tmp_path / "unguarded.py"
    script.write_text(UNGUARDED.replace("{backend}", anyio_backend))
    done = await anyio.run_process(
        [sys.executable, "-W", "error", str(script)],
        env=os.environ | {"CHANCY_DSN": dsn},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"could not load the jobs: ChancyError: " in done.stderr
    (job,) = (await chancy.list_jobs()).jobs  # pushed once, by the parent
    assert "'unguarded'" in job.errors[0].message
    assert 'behind `if __name__ == "__main__":`' in job.errors[0].message
    assert (job.state, job.attempts) == (State.SCHEDULED, 0)


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # the workers have a loop of either kind
async def test_the_jobs_of_killed_workers_run_again_and_they_are_buried(
    chancy, dsn, anyio_backend, tmp_path
):
    await chancy.declare(Queue("thread", executor="thread", concurrency=1), upsert=True)
    references = [await chancy.push(hold(tmp_path, name)) for name in "ab"]
    with served(dsn, "asyncio") as doomed, served(dsn, "trio") as other:
        for name in "ab":  # each has one of them
            await begun(tmp_path, name)
        with served(dsn, "asyncio"), served(dsn, "trio"):
            doomed.kill()
            other.kill()
            for name in "ab":  # as each of their heirs has
                await begun(tmp_path, name, times=2)
                (tmp_path / f"{name}.until").touch()
            jobs = await chancy.wait_for_jobs(references, timeout=20)
            known = await chancy.get_all_workers()
            assert sorted(worker.alive for worker in known) == [False, False, True, True]
    counted = [(job.state, job.claims, job.attempts, job.crashes) for job in jobs]
    assert counted == [(State.SUCCEEDED, 2, 1, 1)] * 2
