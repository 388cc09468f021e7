"""The jobs of our own sides, in a module that loads nothing else which an executor could refuse.

Child processes, sub-interpreters and other workers find them here under one name.
"""

import os
import time
from pathlib import Path

import anyio

from chancy import job

#: The numbers of the jobs that ran in this process, and when: begun, ended, by the machine's clock.
RAN: list[int] = []
SPANS: list[tuple[int, float, float]] = []


@job(name="benchmark.nothing", queue="q")
async def nothing(number: int) -> None:
    """Do nothing: what is measured is everything around it."""


@job(name="benchmark.plain", queue="q")
def plain(number: int) -> None:
    """Do nothing, in a thread or a process."""


@job(name="benchmark.short", queue="q")
async def short(number: int) -> None:
    """Wait for 1 ms, as for somebody's answer."""
    await anyio.sleep(0.001)


@job(name="benchmark.counted", queue="q")
async def counted(number: int) -> None:
    """Remember that it ran."""
    RAN.append(number)


@job(name="benchmark.spanned", queue="q")
async def spanned(number: int, seconds: float) -> None:
    """Remember when it ran, and for how long."""
    begin = time.monotonic()
    if seconds:
        await anyio.sleep(seconds)
    SPANS.append((number, begin, time.monotonic()))


def burnt(number: int, log: str | None = None) -> None:
    """Take 5 ms of a processor's time, in this thread; note in *log* that it begins, and where."""
    if log is not None:
        with Path(log).open("a") as file:  # so short a line is written at once
            file.write(f"{os.getpid()} {number}\n")
    until = time.thread_time() + 0.005
    while time.thread_time() < until:
        pass


@job(name="benchmark.burn", queue="q")
def burn(number: int, log: str | None = None) -> None:
    """Do the same, as a job."""
    burnt(number, log)
