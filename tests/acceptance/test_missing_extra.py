"""Where the library of a plugin's extra is missing, the plugin is, and nothing else."""

import json
import os
import subprocess
import sys

import pytest

from chancy_core.cli.plugging import problem
from chancy_core.discovery import survey

SCRIPT = """\
import json, logging, sys

for name in ("cronsim", "opentelemetry", "sentry_sdk"):
    sys.modules[name] = None  # as if they were not installed

import anyio

from chancy import Chancy, Queue, Worker, job
from chancy_core.errors import MissingExtra
from chancy_plugins.cron import cron

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")


@job(queue="q")
async def add(a: int, b: int) -> int:
    return a + b


async def main():
    async with Chancy() as chancy:
        await chancy.check()
        await chancy.declare(Queue("q", executor="async"))
        async with Worker(chancy):
            done = await chancy.wait_for_job(await add.push(chancy, a=1, b=2), timeout=30)
    try:
        cron("0 3 * * *")
    except MissingExtra as exc:
        said = str(exc)
    names = [plugin.name for plugin in chancy.plugins.plugins]
    print(json.dumps([done.result(), names, chancy.plugins.broken, said]))


anyio.run(main, backend=sys.argv[1])
"""


def test_the_rest_works_and_it_is_said_what_to_install(dsn: str, anyio_backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, anyio_backend],
        env=os.environ | {"CHANCY_DSN": dsn},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result, names, broken, said = json.loads(done.stdout)
    assert result == 3
    assert {"log-context", "recovery", "retry"} <= set(names)
    extras = {"cron": "cron", "opentelemetry": "otel", "sentry": "sentry"}
    assert broken.keys() == extras.keys()
    assert "pip install 'chancy[cron]'" in said
    lines = done.stderr.splitlines()
    for name, extra in extras.items():
        assert f"pip install 'chancy[{extra}]'" in broken[name]
        (told,) = (line for line in lines if f"plugin {name} " in line)
        assert told.startswith(f"INFO plugin {name} is left out: ")
    assert not [line for line in lines if line.startswith(("WARNING", "ERROR"))]


def test_whoever_looks_at_what_is_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cronsim", None)
    for name in ("hooks", "command"):
        monkeypatch.delitem(sys.modules, f"chancy_plugins.cron.{name}", raising=False)
    wrong = {
        (offer.group, offer.name)
        for offer in survey()
        if "cronsim" in str(problem(offer)) and offer.name == "cron"
    }
    assert wrong == {("chancy.plugins", "cron"), ("chancy.commands", "cron")}


def test_prometheus_says_what_to_install_and_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "chancy_plugins.prometheus.hooks", raising=False)
    wrong = {
        (offer.group, offer.name): str(problem(offer))
        for offer in survey()
        if "pip install 'chancy[prometheus]'" in str(problem(offer))
    }
    assert wrong.keys() == {("chancy.plugins", "prometheus")}
