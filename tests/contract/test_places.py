"""Where each call runs: what `chancy top` is told."""

import threading
from pathlib import Path

import anyio
import psutil
import pytest

from chancy_core.executor import Executor, Running
from chancy_core.outcome import Kind
from chancy_core.run import Attempt
from tests.attempts import attempt, opened
from tests.lines import allowing, asked, sh

pytestmark = pytest.mark.anyio


async def while_it_runs(executor: Executor, made: Attempt, path: Path) -> Running:
    """Where a call is that goes on for as long as there is a file."""
    found: list[Running] = []

    async def look() -> None:
        with anyio.fail_after(20):
            while not (path.exists() and executor.running()):
                await anyio.sleep(0.01)
        found.extend(executor.running())
        for each in found:
            if each.pid is not None:
                assert psutil.Process(each.pid).is_running()
        path.unlink()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        await made.run(executor)
    assert executor.running() in ([], ())
    (place,) = found
    assert place.job == made.job.id
    return place


async def test_a_thread_and_a_child_are_told(anyio_backend: str, tmp_path: Path):
    path = tmp_path / "there"
    async with opened("thread", anyio_backend) as executor:
        place = await while_it_runs(executor, attempt("stay_while", path=str(path)), path)
    assert place.pid is None
    assert place.thread not in (None, threading.get_native_id())
    async with opened("process", anyio_backend) as executor:
        place = await while_it_runs(executor, attempt("stay_while", path=str(path)), path)
    assert (place.pid, place.thread) != (None, None)


#: Says its number, and goes on for as long as there is a file.
STAY = 'echo $$ >"$1.pid"; touch "$1"; while [ -e "$1" ]; do sleep 0.02; done'


async def test_the_process_of_a_command_is_told(anyio_backend: str, tmp_path: Path):
    path = tmp_path / "there"
    async with allowing(anyio_backend, {"it": sh(STAY, args=1)}) as executor:
        place = await while_it_runs(executor, asked("it", args=[str(path)]), path)
    assert (place.pid, place.thread) == (int((tmp_path / "there.pid").read_text()), None)


async def test_a_command_that_is_cancelled_is_told_of_no_more(anyio_backend: str, tmp_path: Path):
    path = tmp_path / "there"
    async with allowing(anyio_backend, {"it": sh(STAY, args=1)}) as executor:
        made = asked("it", args=[str(path)])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.run, executor)
            with anyio.fail_after(20):
                while not executor.running():
                    await anyio.sleep(0.01)
            made.end(Kind.CANCELLED)
        assert executor.running() == []
