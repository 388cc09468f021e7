"""A shell in a folder with an application, on a database of its own."""

import os
from pathlib import Path

import pytest

from tests.terminal import Shell

APP = """\
from datetime import date
from uuid import UUID

from chancy import Chancy, job

chancy = Chancy()


@job(queue="mail", max_attempts=5)
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


@pytest.fixture
def bare(tmp_path: Path) -> Shell:
    """A shell in an empty folder, without a database."""
    folder = tmp_path / "bare"
    folder.mkdir()
    return Shell(folder, environment(CHANCY_HOME=str(tmp_path / "home")))


@pytest.fixture
def shell(bare: Shell, dsn: str) -> Shell:
    """A shell in a folder with an application, whose database is there and migrated."""
    (bare.folder / "app.py").write_text(APP)
    return Shell(bare.folder, environment(CHANCY_DSN=dsn, CHANCY_APP="app.py"))
