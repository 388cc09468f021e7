"""A server for tests goes with its owner, and leaves nothing."""

import os
import signal
import tempfile
from pathlib import Path

import psycopg
import pytest

from chancy_core import embedded
from chancy_core.embedded import postmaster
from chancy_core.errors import EmbeddedError
from tests.embedded.processes import Client, eventually, is_alive, kill, state, supervisor_of


@pytest.fixture
def parent(fresh: Path) -> Path:
    return fresh.parent


def _folders(parent: Path) -> list[Path]:
    return list(parent.glob("chancy-throwaway-*"))


def test_it_is_gone_when_it_is_closed(parent: Path) -> None:
    with embedded.throwaway(parent=parent, settings={"max_connections": "7"}) as lease:
        assert lease.folder.parent == parent
        supervisor = supervisor_of(lease.folder)
        with psycopg.connect(lease.dsn) as conn:
            assert conn.execute("SHOW fsync").fetchone() == ("off",)
            assert conn.execute("SHOW max_connections").fetchone() == ("7",)
    eventually(lambda: not is_alive(supervisor))
    assert not _folders(parent)


def test_it_goes_with_its_owner(parent: Path) -> None:
    with Client(parent=parent) as owner:
        folder = Path(owner.joined()["folder"])
        server = state(folder)["pid"]
        owner.kill()
    eventually(lambda: not is_alive(server))
    eventually(lambda: not _folders(parent))


def test_it_goes_with_its_supervisor_and_the_next_one_sweeps(parent: Path) -> None:
    with Client(parent=parent) as owner:
        folder = Path(owner.joined()["folder"])
        server = state(folder)["pid"]
        kill(supervisor_of(folder))
        eventually(lambda: not is_alive(server))
        with embedded.throwaway(parent=parent):
            # Its owner lives, and may want to read the logs.
            assert folder.exists()
        owner.kill()
    with embedded.throwaway(parent=parent) as lease:
        assert lease.folder in _folders(parent)
        assert not folder.exists()


def test_all_killed_at_once_is_swept(parent: Path) -> None:
    with Client(parent=parent) as owner:
        folder = Path(owner.joined()["folder"])
        supervisor = supervisor_of(folder)
        os.kill(supervisor, signal.SIGSTOP)
        for pid in postmaster.orphans(folder / "data"):
            os.kill(pid, signal.SIGKILL)
        kill(supervisor)
        owner.kill()
    with embedded.throwaway(parent=parent):
        assert not folder.exists()


def test_a_failed_start_leaves_nothing(parent: Path) -> None:
    with pytest.raises(EmbeddedError, match="no_such_setting"):
        embedded.throwaway(parent=parent, settings={"no_such_setting": "1"})
    eventually(lambda: not _folders(parent))


def test_it_is_made_where_there_is_room(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chancy_core.embedded.temporary.GIB", 2**60)
    monkeypatch.setattr(tempfile, "tempdir", str(parent))
    with embedded.throwaway() as lease:
        assert lease.folder.parent == parent
