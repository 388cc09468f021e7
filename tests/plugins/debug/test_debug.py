"""All that happens in a worker is logged and counted, if somebody asks for it."""

import logging
import os
import subprocess
import sys

import pytest

from chancy import Chancy, Queue, Worker
from chancy_core import beside as core_beside
from chancy_core import hookspecs
from chancy_core.hooks import Hooks, Plugin
from chancy_plugins import debug
from chancy_plugins.debug import Debug
from tests import watched

pytestmark = pytest.mark.anyio

HOOKS = {name for name, spec in vars(hookspecs).items() if hasattr(spec, "chancy_spec")}


async def test_events_and_hooks_are_counted_and_logged(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "chancy.debug")
    made = Debug()
    async with Chancy(dsn, plugins=[made]) as chancy:
        await chancy.declare(Queue("q", executor="async"))
        async with Worker(chancy, name="alpha", signals=False):
            asked = [watched.fail_async.bind(secret="a-secret-argument") for _ in range(3)]
            await chancy.wait_for_jobs(await chancy.push_many(asked), timeout=20)
        names = [plugin.name for plugin in chancy.plugins.plugins]
    assert "Debug" in names
    assert "debug" not in names
    assert made.count("job.started") == made.count("job.settled") == 3
    assert made.count("worker.started") == made.count("worker.stopped") == 1
    for hook in ("chancy_job_meta", "chancy_job_context", "chancy_call_context", "chancy_verdict"):
        assert made.count(hook) == 3, hook
    assert made.count("chancy_configure") == made.count("chancy_worker_services") == 1
    assert made.count("never.happened") == 0
    assert made.counts["chancy_jobs_pushed"] == 1
    lines = [r.getMessage() for r in caplog.records if r.name == "chancy.debug"]
    assert any(line.startswith("worker.started (1): subject='alpha'") for line in lines)
    assert sum(line.startswith("chancy_verdict (") for line in lines) == 3
    assert len(lines) == sum(made.counts.values())
    assert "a-secret-argument" not in caplog.text


def test_each_hook_that_there_is_is_implemented_with_what_it_takes() -> None:
    hooks = Hooks()
    hooks.register(Plugin("debug", "the tests", Debug()))
    assert {name for name in HOOKS if hooks.implemented(name)} == HOOKS
    assert [made for name in HOOKS for made in hooks.implemented(name) if not made.plugin] == []


async def test_it_opens_no_transaction_and_decides_nothing(dsn: str) -> None:
    hooks = Hooks()
    hooks.register(Plugin("debug", "the tests", Debug()))
    given = {"settled": [], "names": Chancy(dsn).names}
    assert list(hooks.each("chancy_settling", **given)) == []
    assert list(hooks.each("chancy_verdict", job=None, outcome=None)) == []


def test_beside_functions_it_is_there_by_its_path() -> None:
    loaded = core_beside.loaded([("Debug", "given to Chancy", Debug.elsewhere)])
    assert len(loaded.called_beside) == 3
    assert {name for name in HOOKS if loaded.implemented(name)} == set(core_beside.HOOKS)


def test_without_being_asked_for_there_is_nothing_of_it() -> None:
    hooks = Hooks()
    hooks.register(Plugin("debug", "the tests", debug.installed))
    assert {name for name in HOOKS if hooks.implemented(name)} == {"chancy_configure"}


@pytest.mark.parametrize(("value", "kind"), [("1", "Debug"), ("0", "_Nothing"), ("", "_Nothing")])
def test_the_environment_asks_for_it(value: str, kind: str) -> None:
    script = "from chancy_plugins import debug; print(type(debug.installed).__name__)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"CHANCY_DEBUG": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == kind
