"""A deploy that rolls: workers of old and of new code, and the jobs of both."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from chancy import Chancy, Job, Queue, QueuedJob, Reference, State
from chancy_core.statement import Statement, nothing

pytestmark = pytest.mark.anyio

OLD = """
from chancy import job

@job(name="rolling.mail.send")
async def send(address: str) -> list[object]:
    return ["old", address, 1]

@job(name="rolling.count")
async def count(a: int) -> list[object]:
    return ["old", a]
"""
NEW = """
from chancy import job

def name_the_recipient(arguments):
    return {"to": arguments["address"], "times": 1}

def begin_at_zero(arguments):
    return {"a": arguments["a"], "b": 0}

@job(
    name="rolling.letters.send",
    aliases=["rolling.mail.send"],
    version=2,
    upcasters={1: name_the_recipient},
)
async def send(to: str, times: int) -> list[object]:
    return ["new", to, times]

@job(name="rolling.count", version=2, upcasters={1: begin_at_zero})
async def count(a: int, b: int) -> list[object]:
    return ["new", a + b]
"""
WORKER = """
import sys
import anyio
from chancy import Chancy, Worker

async def main():
    async with Chancy(jobs=["acme_jobs"]) as chancy:
        print("ready", flush=True)
        await Worker(chancy, name=sys.argv[2]).start()

if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1])
"""


@pytest.fixture
def codes(tmp_path: Path) -> dict[str, Path]:
    """Folders with the old and the new code, and the worker that runs either."""
    (tmp_path / "worker.py").write_text(WORKER)
    folders = {name: tmp_path / name for name in ("old", "new")}
    for name, text in (("old", OLD), ("new", NEW)):
        folders[name].mkdir()
        (folders[name] / "acme_jobs.py").write_text(text)
    return folders


@contextmanager
def working(code: Path, dsn: str, backend: str) -> Iterator[None]:
    """A worker of that code, named like its folder, that has begun to work."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(code.parent / "worker.py"), backend, code.name],
        env=os.environ | {"CHANCY_DSN": dsn, "PYTHONPATH": str(code)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=20)
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def hurried(chancy: Chancy) -> AsyncIterator[None]:
    """Bring forward what was refused, which is offered again after seconds, as long as it lasts."""

    async def bring() -> None:
        text = "UPDATE {jobs} SET scheduled_at = {now}() WHERE state = 'scheduled'"
        while True:
            await chancy.database.run(Statement.written(text, chancy.names, {}, nothing))
            await anyio.sleep(0.1)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(bring)
        yield
        tasks.cancel_scope.cancel()


def old_jobs(count: int) -> list[Job]:
    sent = [Job("rolling.mail.send", kwargs={"address": f"a{n}"}, queue="q") for n in range(count)]
    return sent + [Job("rolling.count", kwargs={"a": n}, queue="q") for n in range(count)]


def new_jobs(count: int) -> list[Job]:
    sent = [
        Job("rolling.letters.send", kwargs={"to": f"a{n}", "times": 2}, queue="q", version=2)
        for n in range(count)
    ]
    return sent + [
        Job("rolling.count", kwargs={"a": n, "b": 5}, queue="q", version=2) for n in range(count)
    ]


async def refused(chancy: Chancy, references: list[Reference]) -> None:
    """Return once each of these has been refused by somebody."""
    with anyio.fail_after(30):
        while not all(job.errors for job in await chancy.get_jobs(references)):
            await anyio.sleep(0.05)


async def done(chancy: Chancy, references: list[Reference]) -> list[QueuedJob]:
    jobs = await chancy.wait_for_jobs(references, timeout=60)
    assert {job.state for job in jobs} == {State.SUCCEEDED}
    assert {job.attempts for job in jobs} == {1}
    assert {error.kind for job in jobs for error in job.errors} <= {"unknown-function"}
    return jobs


def whose(jobs: list[QueuedJob]) -> set[str]:
    return {job.result()[0] for job in jobs}


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["async", "process"])
async def test_each_job_is_done_by_a_worker_that_knows_it(
    dsn: str, codes: dict[str, Path], anyio_backend: str, executor: str
) -> None:
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("q", executor=executor, concurrency=4))
        with working(codes["old"], dsn, anyio_backend):
            before = await chancy.push_many(old_jobs(3))
            assert whose(await done(chancy, before)) == {"old"}
            # A producer of new code is ahead of the workers.
            early = await chancy.push_many(new_jobs(3))
            await refused(chancy, early)
            by = {
                e.message.rpartition(" ")[2] for j in await chancy.get_jobs(early) for e in j.errors
            }
            assert by == {"old]"}
            with working(codes["new"], dsn, anyio_backend):
                async with hurried(chancy):
                    both = await chancy.push_many([*old_jobs(10), *new_jobs(10)])
                    assert whose(await done(chancy, early)) == {"new"}
                    jobs = await done(chancy, both)
        assert whose(jobs[20:]) == {"new"}
        results = [job.result()[1:] for job in jobs]
        assert results == [
            *([f"a{n}", 1] for n in range(10)),
            *([n] for n in range(10)),
            *([f"a{n}", 2] for n in range(10)),
            *([n + 5] for n in range(10)),
        ]
        # The old code is gone; what it pushed, and what it has finished, can still be run.
        late = await chancy.push_many(old_jobs(3))
        with working(codes["new"], dsn, anyio_backend):
            assert whose(await done(chancy, late)) == {"new"}
            await chancy.retry_jobs(before)
            again = await done(chancy, before)
        assert whose(again) == {"new"}
        assert [job.func for job in again] == ["rolling.mail.send"] * 3 + ["rolling.count"] * 3
        assert {job.version for job in again} == {1}
        assert again[0].kwargs == {"address": "a0"}


async def test_a_release_that_is_taken_back_fails_no_job(
    dsn: str, codes: dict[str, Path], anyio_backend: str
) -> None:
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("q", executor="async", concurrency=4))
        newer = await chancy.push_many(new_jobs(2))
        older = await chancy.push_many(old_jobs(2))
        with working(codes["old"], dsn, anyio_backend):
            assert whose(await done(chancy, older)) == {"old"}
            await refused(chancy, newer)
        assert {job.state for job in await chancy.get_jobs(newer)} <= {"scheduled", "pending"}
        with working(codes["new"], dsn, anyio_backend):
            async with hurried(chancy):
                assert whose(await done(chancy, newer)) == {"new"}
