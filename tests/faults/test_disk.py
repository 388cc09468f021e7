"""The disk is full, and has room again: outcomes are kept meanwhile, nothing is lost."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from chancy import Chancy
from tests.faults.cluster import Cluster, running
from tests.faults.scenario import scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

MIB = 2**20


@contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of this size; skips where this machine lets nobody make one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("no capability to mount a small file system: needs root on Linux")
    folder = Path(tempfile.mkdtemp(prefix="chancy-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        folder.rmdir()
        pytest.skip(f"no capability to mount a small file system: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()


def _database_on(cluster: Cluster, disk: Path) -> str:
    """The DSN of a database with our tables, all of it on that disk."""
    place = disk / "data"
    cluster._own(place)
    disk.chmod(0o755)
    with psycopg.connect(cluster.dsn, autocommit=True) as conn:
        conn.execute(f"CREATE TABLESPACE small LOCATION '{place}'")
        conn.execute("CREATE DATABASE small TABLESPACE small")
    dsn = cluster.dsn.replace("dbname=postgres", "dbname=small")
    with Chancy(dsn) as chancy:
        chancy.sync_migrate()
    return dsn


def test_full_and_freed(tmp_path):
    """B13: while it is full work that runs goes on, and its outcomes wait in memory."""
    seconds = size(5, 30)
    with small_disk("96m") as disk, running() as cluster:
        dsn = _database_on(cluster, disk)
        with scenario("disk full", dsn, tmp_path) as run:
            run.man(2)
            for _ in range(size(1, 5)):
                run.push(run.jobs("work", 5_000, seconds=0.02))
                until(lambda: run.left() < 4_800, 30, "they run")
                filler = disk / "filler"
                _fill(filler)
                began = time.monotonic()
                refused = 0
                while time.monotonic() - began < seconds:
                    for job in run.jobs("work", 200, seconds=0.0):
                        refused += not run.try_to_push(job)
                    time.sleep(0.2)
                filler.unlink()
                figure("disk full: pushes refused with an error", refused)
                run.drained(60)
            assert not run.armada.look(), "a worker ended"
            log = run.armada.log.read_text()
            found = run.judged()
    assert "No space left" in log, "the disk was never full for the workers"
    ended = [move for move in found.moved if move.op == "finished"]
    assert {move.new for move in ended} == {"succeeded"}
    assert {move.crashes for move in ended} == {0}


def _fill(path: Path) -> None:
    """Take all the room that is left."""
    with path.open("wb", buffering=0) as file:
        for step in (MIB, 4096):
            try:
                while True:
                    file.write(b"\0" * step)
            except OSError:
                pass
