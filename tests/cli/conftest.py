"""A shell in a folder with an application, on a database of its own."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve

from tests.ready import Ready
from tests.terminal import Acme, Shell

APP = """\
from datetime import date
from uuid import UUID

from chancy import Chancy, job

chancy = Chancy()


@job(queue="mail", max_attempts=5, aliases=["app.hello"])
async def welcome(name: str, times: int = 1) -> str:
    return f"Welcome, {name}" + "!" * times


@job(queue="mail")
async def age(born: date, key: UUID | None = None, exact: bool = False) -> dict[str, object]:
    return {"born": born.year, "key": str(key), "exact": exact}


@job(queue="mail")
async def broken() -> None:
    raise ValueError("no luck")
"""
OURS = ("CHANCY_", "DATABASE_URL", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "PYTHONWARNINGS")


def environment(**more: str) -> dict[str, str]:
    """The environment without what is ours in it, and with this."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return kept | {"PYTHONWARNINGS": "error"} | more


@pytest.fixture(scope="session")
def ready() -> Iterator[Ready]:
    with Ready(environment()) as ready:
        yield ready


@pytest.fixture
def bare(tmp_path: Path, ready: Ready) -> Shell:
    """A shell in an empty folder, without a database."""
    folder, packages = tmp_path / "bare", tmp_path / "packages"
    folder.mkdir()
    packages.mkdir()
    home = str(tmp_path / "home")
    return Shell(folder, environment(CHANCY_HOME=home, PYTHONPATH=str(packages)), ready)


@pytest.fixture
def shell(bare: Shell, dsn: str) -> Shell:
    """A shell in a folder with an application, whose database is there and migrated."""
    (bare.folder / "app.py").write_text(APP)
    return evolve(bare, environ={**bare.environ, "CHANCY_DSN": dsn, "CHANCY_APP": "app.py"})


@pytest.fixture
def acme(bare: Shell) -> Acme:
    return Acme(Path(bare.environ["PYTHONPATH"]))
