"""What a process of its own gives to a job: it may die, be killed, or eat all its memory."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from chancy import Limit, Queue
from chancy_core import perform
from chancy_core.errors import ChildDied, InvalidValue
from chancy_core.executor import Call
from chancy_core.installed import find_executor
from chancy_core.outcome import Kind, Outcome
from chancy_executors.children import Child
from tests import jobs
from tests.attempts import attempt, fifo, is_gone, opened, read

REAL_TIME = 40  # a signal that `signal.Signals` does not know
#: What a child is told that needs nothing.
SETUP: dict[str, Any] = {
    "sources": [], "plugins": [], "backend": "asyncio", "capabilities": 3, "levels": {},
    "initializer": None, "max_jobs": None, "max_memory": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _fifos_work(tmp_path: Path) -> None:
    fifo(tmp_path)


@pytest.mark.parametrize(
    ("func", "value", "how"),
    [
        ("vanish", 3, "left with status 3"),
        ("vanish", 0, "left with status 0"),
        ("kill_itself", signal.SIGKILL, "was killed by SIGKILL"),
        ("kill_itself", REAL_TIME, f"was killed by signal {REAL_TIME}"),
    ],
)
async def test_a_dead_child_costs_its_own_job_only(
    func: str, value: int, how: str, anyio_backend: str, tmp_path: Path
) -> None:
    results: dict[str, Outcome] = {}

    async def relay(name: str) -> None:
        tried = attempt("relay", begun=str(tmp_path / f"{name}-begun"), source=str(tmp_path / name))
        results[name] = await tried.run(executor)

    async with opened("process", anyio_backend) as executor:
        async with anyio.create_task_group() as tasks:
            for name in ("left", "right"):
                fifo(tmp_path, name)
                begun = fifo(tmp_path, f"{name}-begun")
                tasks.start_soon(relay, name)
                await read(begun)
            argument = "status" if func == "vanish" else "number"
            outcome = await attempt(func, **{argument: int(value)}).run(executor)
            for name in ("left", "right"):
                (tmp_path / name).write_text(f"to the {name}")
        after = await attempt("add", a=1, b=1).run(executor)
    assert outcome.kind is Kind.CHILD_DIED
    assert outcome.failure is not None
    assert outcome.failure.attempt == 1
    assert outcome.failure.message == f"the child process {how}"
    assert {name: result.result for name, result in results.items()} == {
        "left": '"to the left"',
        "right": '"to the right"',
    }
    assert after.result == "2"


async def test_a_child_that_dies_while_idle_costs_no_job(anyio_backend: str) -> None:
    async with opened("process", anyio_backend) as executor:
        first = int((await attempt("pid").run(executor)).result or 0)
        (child,) = executor._idle  # type: ignore[attr-defined]
        child._process.kill()
        await child._process.wait()
        second = await attempt("pid").run(executor)
        assert second.kind is Kind.SUCCESS, second
        assert int(second.result or 0) != first


async def test_a_child_makes_way_after_so_many_jobs(anyio_backend: str) -> None:
    async with opened("process", anyio_backend, max_jobs_per_child=2) as executor:
        pids = [int((await attempt("pid").run(executor)).result or 0) for _ in range(5)]
        assert is_gone(pids[0])
        assert is_gone(pids[2])
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [2, 2, 1]


async def test_without_such_a_bound_a_child_stays(anyio_backend: str) -> None:
    async with opened("process", anyio_backend, max_jobs_per_child=None) as executor:
        pids = {(await attempt("pid").run(executor)).result for _ in range(5)}
    assert len(pids) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_jobs_per_child": 0}, "max_jobs_per_child must be 1 or more, or None, not 0"),
        ({"max_jobs_per_child": "7"}, "must be of type int, not str"),
        ({"max_jobs": 7}, "max_jobs"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidValue, match=f"{problem}.* queue 'q': executor_options"):
        find_executor(Queue("q", executor="process", executor_options=options))


async def test_a_pipe_that_broke_is_the_childs_death(anyio_backend: str) -> None:
    child = await Child.start(os.environ, None)
    child._process.kill()
    await child._process.wait()
    with pytest.raises(ChildDied, match="was killed by SIGKILL"):
        await child.ask(b"x" * 10_000_000)
    await child.kill()


async def test_a_child_is_used_again(anyio_backend: str) -> None:
    async with opened("process", anyio_backend) as executor:
        pids = {(await attempt("pid").run(executor)).result for _ in range(3)}
        assert len(pids) == 1


@pytest.mark.parametrize("settings", ["acme.settings", ""])
async def test_django_is_set_up_before_jobs_are_loaded(
    anyio_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str
) -> None:
    (tmp_path / "django.py").write_text("ready = []\ndef setup(): ready.append(1)")
    (tmp_path / "acme_models.py").write_text("import django\ndjango.ready[0]\nimport tests.jobs")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", settings)
    async with opened("process", anyio_backend, source="acme_models") as executor:
        outcome = await attempt("pid").run(executor)
    assert outcome.kind is (Kind.SUCCESS if settings else Kind.UNKNOWN_FUNCTION)


async def test_a_child_is_not_used_after_its_job_was_killed(
    anyio_backend: str, tmp_path: Path
) -> None:
    async with opened("process", anyio_backend) as executor:
        tried = attempt("hold", fifo=str(tmp_path / "begun"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run, executor)
            first = int(await read(tmp_path / "begun"))
            tried.scope.cancel()
        second = int((await attempt("pid").run(executor)).result or 0)
        assert first != second
        assert is_gone(first)


async def test_what_a_job_started_dies_with_it(anyio_backend: str, tmp_path: Path) -> None:
    async with opened("process", anyio_backend) as executor:
        tried = attempt("start_a_child_and_hold", fifo=str(tmp_path / "begun"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tried.run, executor)
            _, grandchild = map(int, (await read(tmp_path / "begun")).split())
            tried.scope.cancel()
        with anyio.fail_after(5):
            while not (is_gone(grandchild) or is_zombie(grandchild)):
                await anyio.sleep(0.01)  # the kernel has no event for a stranger's child


def is_zombie(pid: int) -> bool:
    """Whether it is dead, but whoever adopted it has not asked yet how it died."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits memory on Linux only")
async def test_a_memory_limit_ends_an_attempt_and_not_the_child(anyio_backend: str) -> None:
    limit = Limit(Limit.Type.MEMORY, 200_000_000)
    async with opened("process", anyio_backend) as executor:
        child = (await attempt("pid").run(executor)).result
        outcome = await attempt("grow", limit, size=300_000_000).run(executor)
        assert outcome.kind is Kind.MEMORY
        assert outcome.failure is not None
        assert outcome.failure.type == "MemoryLimitExceeded"
        within = await attempt("grow", limit, size=50_000_000).run(executor)
        assert within.result == "50000000"
        without = await attempt("grow", size=300_000_000).run(executor)
        assert without.result == "300000000"
        assert (await attempt("pid").run(executor)).result == child


async def test_what_a_job_prints_or_reads_is_no_frame(anyio_backend: str) -> None:
    async with opened("process", anyio_backend) as executor:
        assert (await attempt("chatter").run(executor)).result == '""'


async def test_closing_leaves_no_child(anyio_backend: str, tmp_path: Path) -> None:
    begun = [fifo(tmp_path, f"begun-{n}") for n in range(3)]
    pids: list[int] = []
    async with opened("process", anyio_backend) as executor:
        async with anyio.create_task_group() as tasks:
            for path in begun:
                (path.parent / f"{path.name}-go").touch()
                tried = attempt("relay", begun=str(path), source=f"{path}-go")
                tasks.start_soon(tried.run, executor)
                pids.append(int(await read(path)))
        pids.append(int((await attempt("pid").run(executor)).result or 0))
    assert all(is_gone(pid) for pid in pids)


async def test_a_module_that_cannot_be_loaded_is_an_unknown_function(anyio_backend: str) -> None:
    async with opened("process", anyio_backend, source="tests.no_such_module") as executor:
        outcome = await attempt("add", a=1, b=1).run(executor)
        assert outcome.kind is Kind.UNKNOWN_FUNCTION
        assert outcome.failure is not None
        assert "tests.no_such_module" in outcome.failure.message


def test_a_child_starts_without_what_it_may_not_need() -> None:
    """Each queue starts children on each worker: what they load is waited for."""
    code = (
        "import sys, chancy_executors.child; print({'anyio', 'cattrs', 'psycopg'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_child_whose_parent_has_died_leaves_quietly() -> None:
    message = json.dumps(SETUP).encode()
    reader, writer = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", "from chancy_executors import child; child.main()"],
        stdin=subprocess.PIPE,
        stdout=writer,
        stderr=subprocess.PIPE,
    ) as child:
        os.close(writer)
        os.close(reader)  # whoever would read the answer
        assert child.stdin is not None
        child.stdin.write(len(message).to_bytes(4, "big") + message)
        child.stdin.flush()  # and stays open: the answer alone tells that nobody is there
        assert child.stderr is not None
        said = child.stderr.read()
    assert (said, child.returncode) == (b"", 0)


async def test_a_child_whose_parent_dies_leaves_while_a_job_runs(
    anyio_backend: str, tmp_path: Path
) -> None:
    def frame(message: bytes) -> bytes:
        return len(message).to_bytes(4, "big") + message

    setup = SETUP | {"sources": [[jobs.__name__, None]], "backend": anyio_backend}
    claimed = attempt("hold", fifo=str(tmp_path / "begun")).claimed
    with subprocess.Popen(
        [sys.executable, "-c", "from chancy_executors import child; child.main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        child.stdin.write(frame(json.dumps(setup).encode()))
        child.stdin.write(frame(perform.request(Call(claimed.job, claimed.arguments))))
        child.stdin.flush()
        assert int(await read(tmp_path / "begun")) == child.pid  # it runs, and does not end
        child.stdin.close()
        try:
            assert await anyio.to_thread.run_sync(child.wait, 10) == 0
        finally:
            child.kill()
