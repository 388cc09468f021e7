"""The document that the project was created from: its examples run as they stand.

Each is run in a process of its own. Only what has to be is changed: the DSN, the modules of jobs
(`CHANCY_JOBS`), and a coroutine around what is a fragment. Under trio, `asyncio.run(main())` is
written `anyio.run(main, backend="trio")`, and the import likewise.
"""

import fcntl
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from chancy import Chancy, JobFilter, Queue, State
from chancy_core.postgres import Listener
from chancy_core.tags import matches
from tests.jobs import add, add_async, pass_gate

ROOT = Path(__file__).parents[2]
PLACE = "shared/seed/queues.txt"
SEED = next((f / PLACE for f in (ROOT, *ROOT.parents) if (f / PLACE).exists()), None)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        SEED is None,
        reason=f"no {PLACE} in this checkout or above it; docs/queues.md and docs/workers.md, "
        "which test_pages.py runs, cover the same calls",
    ),
]

DSN = '"postgresql://localhost/postgres"'
PROGRAM = """\
import asyncio
from chancy import Chancy, Worker, Queue

chancy = Chancy(dsn="postgresql://localhost/postgres")

async def main():
    async with chancy:
{fragment}

if __name__ == "__main__":
    asyncio.run(main())
"""


class Process(subprocess.Popen[bytes]):
    """A program that runs, and what it says."""

    def __init__(self, script: Path) -> None:
        self._said = script.with_suffix(".said")
        told = {"CHANCY_JOBS": "tests.jobs", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
        with self._said.open("w") as said:
            super().__init__(  # -W is for it, PYTHONWARNINGS for the children of its executor
                [sys.executable, "-W", "error", script], env=os.environ | told, stderr=said
            )

    @property
    def said(self) -> str:
        return self._said.read_text()

    async def ended(self) -> int:
        return await anyio.to_thread.run_sync(self.wait, 30)

    async def leave(self) -> None:
        """Ask it to stop, and see it leave well."""
        self.send_signal(signal.SIGTERM)
        assert await self.ended() == 0, self.said
        assert re.fullmatch(r"SIGTERM: worker \S+ stops\n", self.said)


class Seed:
    """The four examples, and how one is run against a database, on one kind of event loop."""

    def __init__(self, dsn: str, backend: str, folder: Path) -> None:
        assert SEED is not None
        text = SEED.read_text("utf-8")
        found = re.findall(
            r"^\.\. code-block:: python\n(?: +:.*\n)*\n((?: +.*\n|\n)+)", text, re.MULTILINE
        )
        self.program, self.worker, self.declare, self.queue = map(textwrap.dedent, found)
        self._dsn = dsn
        self._backend = backend
        self._folder = folder

    def around(self, fragment: str) -> str:
        """Return a program whose opened Chancy does what *fragment* says."""
        return PROGRAM.format(fragment=textwrap.indent(fragment, " " * 8))

    @contextmanager
    def started(self, name: str, program: str) -> Iterator[Process]:
        """Start *program* as the file *name*; it is gone at the end, whatever happened."""
        assert program.count(DSN) == 1
        program = program.replace(DSN, repr(self._dsn))
        if self._backend == "trio":
            assert (program.count("import asyncio"), program.count("asyncio.run(main())")) == (1, 1)
            program = program.replace("import asyncio", "import anyio")
            program = program.replace("asyncio.run(main())", 'anyio.run(main, backend="trio")')
        script = self._folder / name
        script.write_text(program)
        process = Process(script)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            print(name, "said:", process.said)

    async def run(self, name: str, fragment: str) -> None:
        """Run a program around *fragment* to its end."""
        with self.started(name, self.around(fragment)) as process:
            assert (await process.ended(), process.said) == (0, "")


@pytest.fixture
def seed(empty_dsn: str, anyio_backend: str, tmp_path: Path) -> Seed:
    return Seed(empty_dsn, anyio_backend, tmp_path)


@pytest.fixture
async def chancy(empty_dsn: str):
    """Another process of the same application: it pushes jobs, and sees what becomes of them."""
    async with Chancy(empty_dsn) as chancy:
        yield chancy


async def until_default_is_declared(listener: Listener) -> None:
    with anyio.fail_after(30):
        async for event in listener:
            if getattr(event, "payload", None) == "queue.declared:default":
                return


async def until_states(chancy: Chancy, **expected: int) -> None:
    """Return when so many jobs are in these states."""
    with anyio.fail_after(30):
        while True:
            page = await chancy.list_jobs(JobFilter(state=list(expected)))
            if Counter(job.state for job in page.jobs) == expected:
                return
            await anyio.sleep(0.05)


@contextmanager
def shut(gate: Path) -> Iterator[None]:
    """No `pass_gate` of this gate ends within this block."""
    with gate.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def test_the_worker_runs_a_job_and_without_declare_it_sees_the_queue_that_is_stored(
    seed, chancy, empty_dsn, tmp_path
):
    async with Listener(empty_dsn, [chancy.names.channel]) as listener:
        await anext(listener)  # it listens from here on
        with seed.started("worker.py", seed.program) as worker:
            await until_default_is_declared(listener)
            done = await chancy.wait_for_job(await chancy.push(add.bind(a=3, b=4)), timeout=30)
            assert (done.queue, done.state, done.result()) == ("default", State.SUCCEEDED, 7)
            await worker.leave()
    assert await chancy.get_all_workers() == []
    stored = Queue("default", concurrency=10, executor="process", state=Queue.State.ACTIVE)
    assert await chancy.get_all_queues() == [stored]

    again, lines = re.subn(r".*chancy\.declare\(.*\n", "", seed.program)
    assert lines == 1
    gate = tmp_path / "gate"
    with seed.started("again.py", again) as worker:
        with shut(gate):
            references = await chancy.push_many(pass_gate.bind(str(gate)) for _ in range(11))
            await until_states(chancy, running=10, pending=1)  # as many as were declared
        jobs = await chancy.wait_for_jobs(references, timeout=30)
        assert {(job.state, job.claims) for job in jobs} == {(State.SUCCEEDED, 1)}
        await worker.leave()
    assert await chancy.get_all_queues() == [stored]


async def test_only_a_worker_with_the_tag_runs_the_queue(seed, chancy):
    await chancy.migrate()
    await chancy.declare(Queue("other", executor="async"))
    await seed.run("declare.py", seed.declare)
    assert (await chancy.get_queue("default")).tags == {"has=gpu"}
    reference = await chancy.push(add.bind(a=3, b=4))
    with seed.started("worker.py", seed.program) as untagged:
        # Declared again, without upsert, the queue has kept its tags.
        await chancy.wait_for_job(await other(chancy), timeout=30)
        await chancy.wait_for_job(await other(chancy), timeout=30)
        waiting = await chancy.get_job(reference)
        assert (waiting.state, waiting.claims) == (State.PENDING, 0)
        with seed.started("tagged.py", seed.around(seed.worker)) as tagged:
            done = await chancy.wait_for_job(reference, timeout=30)
            assert (done.result(), done.claims) == (7, 1)
            tags = {worker.id: worker.tags for worker in await chancy.get_all_workers()}
            assert len(tags) == 2
            assert {"has=gpu", "has=large-disk"} < tags[done.worker]
            await tagged.leave()
        await untagged.leave()


async def other(chancy: Chancy):
    """Push a job into the queue that every worker runs."""
    return await chancy.push(add_async.bind(a=1, b=1).options(queue="other"))


async def test_a_tag_selects_the_workers_on_python_3_11(seed, chancy):
    await chancy.migrate()
    await chancy.declare(Queue("other", executor="async"))
    await seed.run("declare.py", f"await chancy.declare(\n{seed.queue})")
    reference = await chancy.push(add.bind(a=3, b=4))
    with seed.started("worker.py", seed.around(seed.worker)) as worker:
        if sys.version_info[:2] == (3, 11):
            done = await chancy.wait_for_job(reference, timeout=30)
            assert done.result() == 7
        else:
            await chancy.wait_for_job(await other(chancy), timeout=30)
            await chancy.wait_for_job(await other(chancy), timeout=30)
            assert (await chancy.get_job(reference)).state is State.PENDING
        await worker.leave()
    # What this Python cannot show in a process of its own:
    queue = await chancy.get_queue("default")
    selected = ["python=3.11.0", "python=3.11.13"]
    others = [
        "python=3.12.1",
        "python=3.13.0",
        "python=3.11.0rc1",
        "python=3x11.7",
        "x-python=3.11.7",
    ]
    assert [tag for tag in selected + others if matches(queue.tags, {"*", tag})] == selected
