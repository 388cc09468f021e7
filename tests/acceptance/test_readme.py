"""The README's ten lines, and the executor of `executors/README.md`, run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from chancy import Chancy, Queue, State, Worker, job
from chancy_core import discovery

ROOT = Path(__file__).parents[2]


def blocks(file: str, language: str) -> list[str]:
    text = (ROOT / file).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_ten_lines(empty_dsn: str, tmp_path: Path, backend: str):
    (code,) = [block for block in blocks("README.md", "python") if "anyio.run" in block]
    script = tmp_path / "app.py"
    script.write_text(code.replace("anyio.run(main) ", f"anyio.run(main, backend={backend!r}) "))
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        env=os.environ | {"CHANCY_DSN": empty_dsn},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("Welcome, Ada!\n", 0), done.stderr


@job(name="readme.twice", queue="shout")
def twice(calls: list[int]) -> int:
    _calls.append(len(calls))
    return len(_calls)


_calls: list[int] = []


@pytest.mark.anyio
async def test_an_executor_of_somebody_elses(dsn: str, monkeypatch: pytest.MonkeyPatch):
    (code,) = blocks("executors/README.md", "python")
    namespace: dict[str, object] = {"__name__": "acme.executors"}
    exec(compile(code, "executors/README.md", "exec"), namespace)
    load = discovery.load
    monkeypatch.setattr(
        discovery,
        "load",
        lambda group, name: namespace["EchoExecutor"] if name == "echo" else load(group, name),
    )
    _calls.clear()
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("shout", executor="echo", executor_options={"times": 3}))
        async with Worker(chancy):
            with anyio.fail_after(20):
                done = await chancy.wait_for_job(await chancy.push(twice.bind(calls=[])))
    assert (done.state, done.result()) == (State.SUCCEEDED, 3)
