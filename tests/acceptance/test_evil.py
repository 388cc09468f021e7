"""A distribution that offers something in every group, and should not be let in.

Each import of its modules is seen by an audit hook, in all processes: each runs `sitecustomize`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.site import Site

SEEN = """
import os, sys

def seen(event, args):
    if event == "import":
        name = args[0]
    elif event == "exec":  # all that an import by `importlib` is heard of
        name = getattr(args[0], "co_filename", "").removesuffix("/__init__.py")
        name = name.removesuffix(".py").rpartition("site/")[2].replace("/", ".")
    else:
        return
    if name.startswith("evil") or name.endswith("chancy_executors.child"):
        with open(os.environ["SEEN"], "a") as file:
            print(os.getpid(), name, file=file)

sys.addaudithook(seen)
"""

SCRIPT = """
import json, os, sys

import anyio

from chancy import Chancy, Queue, Worker, job
from chancy_core import discovery
from chancy_core.errors import OfferError


@job(queue="q")
def pid() -> int:
    return os.getpid()


async def main():
    async with Chancy() as chancy:
        await chancy.migrate()
        await chancy.check()
        await chancy.declare(Queue("q", executor="process", concurrency=1))
        try:
            await chancy.declare(Queue("other", executor="evil"))
        except OfferError as exc:
            print(exc, file=sys.stderr)
        async with Worker(chancy, grace_period=5) as worker:
            done = await chancy.wait_for_job(await pid.push(chancy), timeout=30)
    for name in discovery.offers("chancy.commands"):
        discovery.load("chancy.commands", name)
    listed = {f"{o.group}:{o.name}": o.standing for o in discovery.survey() if "evil" in o.value}
    print(json.dumps([os.getpid(), done.result(), sorted(worker.tags), listed]))


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1])
"""

EVERY = (
    "chancy.executors",
    "chancy.tags",
    "chancy.migrations",
    "chancy.commands",
    "chancy.plugins",
)
MODULES = {
    "evil_executors": "from chancy_executors.aio import AsyncExecutor as Thing",
    "evil_tags": "def Thing(): return {'evil=yes'}",
    "evil_commands": "def Thing(): ...",
    "evil_plugins": "",
}
#: What is offered beside the core's own names, and what would take these.
APART = {
    "chancy.executors": ("evil = evil_executors:Thing",),
    "chancy.tags": ("evil = evil_tags:Thing",),
    "chancy.migrations": ("evil = evil_migrations",),
    "chancy.commands": ("evil = evil_commands:Thing",),
    "chancy.plugins": ("evil = evil_plugins",),
}
CLASHES = {
    "chancy.executors": ("process = evil_executors:Thing",),
    "chancy.tags": ("host = evil_tags:Thing",),
    "chancy.migrations": ("core = evil_migrations",),
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path / "site")
    made.folder.mkdir()
    made.module("sitecustomize", SEEN)
    for name, text in MODULES.items():
        made.module(name, text)
    line = made.folder / "evil_migrations"
    line.mkdir()
    (line / "__init__.py").touch()
    (line / "0001_evil.up.sql").write_text("-- chancy: oldest 1\nCREATE TABLE {evil} (id int);\n")
    (line / "0001_evil.down.sql").write_text("DROP TABLE {evil};\n")
    return made


def run(site: Site, dsn: str, backend: str, **settings: str) -> tuple[list[object], set[str], str]:
    """Run the script; answers what it printed, which evil modules were imported, and the log."""
    script = site.folder.parent / "app.py"
    script.write_text(SCRIPT)
    seen = site.folder.parent / "seen"
    done = subprocess.run(
        [sys.executable, "-W", "error", script, backend],
        env={
            **{name: text for name, text in os.environ.items() if not name.startswith("CHANCY_")},
            "CHANCY_DSN": dsn,
            "PYTHONPATH": str(site.folder),
            "SEEN": str(seen),
            **settings,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    imports = [line.split() for line in seen.read_text().splitlines()]
    # The hook is there in the child too: it has seen the child's own module being imported.
    assert [str(told[1]), "chancy_executors.child"] in imports
    return told, {module for _, module in imports if module.startswith("evil")}, done.stderr


@pytest.mark.parametrize(
    ("backend", "settings", "standing"),
    [
        ("asyncio", {"CHANCY_ALLOW": ""}, "not allowed"),
        ("trio", {"CHANCY_ALLOW": "acme"}, "not allowed"),
        ("asyncio", {"CHANCY_DISABLED_PLUGINS": "Evil.Corp"}, "disabled"),
        ("trio", {"CHANCY_ALLOW": "evil-corp", "CHANCY_DISABLED_PLUGINS": "evil-corp"}, "disabled"),
    ],
)
def test_nothing_is_imported_of_whoever_is_kept_out(
    empty_dsn: str, site: Site, backend: str, settings: dict[str, str], standing: str
) -> None:
    both = {group: APART[group] + CLASHES.get(group, ()) for group in EVERY}
    site.offer("evil-corp", both)
    (_, _, tags, listed), imported, log = run(site, empty_dsn, backend, **settings)
    assert imported == set()
    assert "evil=yes" not in tags
    assert [tag for tag in tags if tag.startswith("cpus=")]  # ours is not in the way of evil's
    assert {key.partition(":")[0] for key in listed} == set(EVERY)
    assert set(listed.values()) == {standing}
    assert "evil-corp 1.0 offers 'evil', but" in log


@pytest.mark.parametrize("settings", [{}, {"CHANCY_ALLOW": "evil-corp"}])
def test_all_is_imported_of_whoever_is_let_in(
    empty_dsn: str, site: Site, settings: dict[str, str]
) -> None:
    site.offer("evil-corp", APART)
    (_, _, tags, listed), imported, _ = run(site, empty_dsn, "asyncio", **settings)
    assert imported >= {*MODULES, "evil_migrations"}
    assert "evil=yes" in tags
    assert set(listed.values()) == {"in"}
