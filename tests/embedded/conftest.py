"""Folders for servers, of which nothing may be left running."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chancy_core import embedded
from chancy_core.embedded import postmaster
from chancy_core.embedded.temporary import roomy


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for a server that has never been started, with a home of its own.

    Not pytest's tmp_path, where root's servers, run by another user, cannot go.
    """
    home = Path(tempfile.mkdtemp(prefix="chancy-home-", dir=roomy()))
    home.chmod(0o755)
    monkeypatch.setenv("CHANCY_HOME", str(home))
    yield home / "pg"
    embedded.stop(home / "pg")
    left = postmaster.orphans(home / "pg" / "data") if (home / "pg").exists() else []
    for _ in range(100):  # a supervisor may be at it, too
        shutil.rmtree(home, ignore_errors=True)
        if not home.exists():
            break
        time.sleep(0.1)
    assert not left
    assert not home.exists()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A cluster to copy, because making one takes half a second."""
    home = Path(tempfile.mkdtemp(prefix="chancy-home-", dir=roomy()))
    home.chmod(0o755)
    embedded.join(home / "pg", linger=0).close()
    embedded.stop(home / "pg")
    yield home / "pg" / "data"
    shutil.rmtree(home)


@pytest.fixture
def folder(fresh: Path, cluster: Path) -> Path:
    """A folder with a cluster in it, whose server does not run."""
    fresh.mkdir(mode=0o755)
    subprocess.run(["cp", "-a", cluster, fresh / "data"], check=True)
    return fresh


@pytest.fixture
def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may run servers as another user")
