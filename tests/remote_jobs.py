"""The job functions of the tests of clusters; Dask workers import them, as `tests.remote_jobs`."""

import os
import signal
import threading
import time
from pathlib import Path

import anyio

from chancy import INJECTED, QueuedJob, job


def _note(log: str) -> None:
    """Say in *log* that a function has begun, and in which process."""
    with Path(log).open("a") as file:  # so short a line is written at once, whoever else writes
        file.write(f"{os.getpid()}\n")


def begun(log: Path) -> list[int]:
    """Return in which processes functions have begun that note it in *log*."""
    return [int(line) for line in log.read_text().split()] if log.exists() else []


@job
def add(a: int, b: int) -> int:
    return a + b


@job
def note_and_wait(log: str, until: str) -> str:
    """Note it, and return once there is a file."""
    _note(log)
    while not Path(until).exists():
        time.sleep(0.01)
    return "waited"


@job
def note_and_die(log: str) -> None:
    _note(log)
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


@job
def note_and_fail(log: str) -> None:
    _note(log)
    raise LookupError(f"failure {len(begun(Path(log)))}")


@job
def note(log: str) -> int:
    _note(log)
    return len(begun(Path(log)))


@job
def claimed(*, me: QueuedJob = INJECTED) -> int:
    me.meta["seen"] = me.claims
    return me.claims


@job
def late(*, me: QueuedJob = INJECTED) -> None:
    """Go on until the time limit is over, and notice that."""
    while True:
        me.checkpoint()
        time.sleep(0.01)


@job
async def add_async(a: int, b: int) -> int:
    await anyio.sleep(0)
    return a + b


@job
def compute(log: str, seconds: float) -> None:
    """Note it, and take so much of a processor's time."""
    _note(log)
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
