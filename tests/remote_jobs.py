"""The job functions of the tests of clusters; Dask workers import them, as `tests.remote_jobs`."""

import os
import signal
import threading
import time
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import anyio

from chancy import INJECTED, QueuedJob, job


class Start(NamedTuple):
    """That a function has begun: in which process, for which job and claim."""

    pid: int
    job: UUID
    claims: int


def _note(log: str, me: QueuedJob) -> None:
    with Path(log).open("a") as file:  # so short a line is written at once, whoever else writes
        file.write(f"{os.getpid()} {me.id} {me.claims}\n")


def begun(log: Path) -> list[Start]:
    """Return which functions have begun that note it in *log*."""
    if not log.exists():
        return []
    words = (line.split() for line in log.read_text().splitlines())
    return [Start(int(pid), UUID(id_), int(claims)) for pid, id_, claims in words]


def burn(seconds: float) -> None:
    """Take so much of a processor's time, in this thread."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@job
def add(a: int, b: int) -> int:
    return a + b


@job
def note_and_wait(log: str, until: str, *, me: QueuedJob = INJECTED) -> str:
    """Note it, and return once there is a file."""
    _note(log, me)
    while not Path(until).exists():
        time.sleep(0.01)
    return "waited"


@job
def note_and_die(log: str, *, me: QueuedJob = INJECTED) -> None:
    _note(log, me)
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()


@job
def note_and_fail(log: str, *, me: QueuedJob = INJECTED) -> None:
    _note(log, me)
    raise LookupError(f"failure {len(begun(Path(log)))}")


@job
def note(log: str, *, me: QueuedJob = INJECTED) -> int:
    _note(log, me)
    return len(begun(Path(log)))


@job
def compute(log: str, seconds: float, *, me: QueuedJob = INJECTED) -> None:
    """Note it, and take so much of a processor's time."""
    _note(log, me)
    burn(seconds)


@job
def claimed(*, me: QueuedJob = INJECTED) -> int:
    me.meta["seen"] = me.claims
    return me.claims


@job
def listen(log: str, ended: str, *, me: QueuedJob = INJECTED) -> None:
    """Note it, go on until it is over, and leave a file."""
    _note(log, me)
    while not me.over:
        time.sleep(0.01)
    Path(ended).touch()


@job
async def listen_async(log: str, ended: str, *, me: QueuedJob = INJECTED) -> None:
    """Note it, wait until it is cancelled, and leave a file."""
    _note(log, me)
    try:
        await anyio.sleep_forever()
    finally:
        Path(ended).touch()


@job
async def add_async(a: int, b: int) -> int:
    await anyio.sleep(0)
    return a + b
