"""The jobs and queues of our own sides, and what all of them do: on which loop, from what to when.

A module of its own, so that child processes and other workers find the jobs under one name.
"""

import os
import time
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import psycopg
from anyio import to_thread

from chancy import Chancy, Job, Queue, Worker, job
from chancy_core.statement import Names
from tests.benchmarks.peers import side

T = TypeVar("T")
BACKEND = os.environ.get("CHANCY_BENCHMARK_BACKEND", "asyncio")
QUEUE = Queue("q", executor="async", concurrency=200)
NAMES = Names()
#: What has been done here: finished jobs that were only made to be there are called otherwise.
DONE = "SELECT count(*) FROM chancy_history WHERE state = 'succeeded' AND func <> 'benchmark.past'"

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


def jobs(function: Any, numbers: Iterable[int], **settings: Any) -> Iterator[Job]:
    """Many jobs of one function, numbered."""
    for number in numbers:
        made = function.bind(number=number)
        yield made.options(**settings) if settings else made


async def prepare(*queues: Queue) -> None:
    """Bring the tables up to date, and declare these queues."""
    async with Chancy(side.DSN) as chancy:
        await chancy.migrate()
        for queue in queues or (QUEUE,):
            await chancy.declare(queue, upsert=True)


async def push(made: Iterable[Job]) -> None:
    """Push many, and let the server look at them as autovacuum would by the time."""
    async with Chancy(side.DSN) as chancy:
        await chancy.push_many(made)
    await to_thread.run_sync(side.analyze, "chancy_jobs")


async def drained(jobs: int) -> float:
    """Jobs per second of one worker, from its start until the last outcome is committed."""
    async with Chancy(side.DSN) as chancy:
        begin = time.perf_counter()
        async with Worker(chancy):
            end = await to_thread.run_sync(side.until_done, "SELECT FROM chancy_jobs")
    return side.rate(jobs, end - begin, side.count(DONE))


@contextmanager
def pinned() -> Iterator[None]:
    """Hold a snapshot open, as a report or a dump does: no dead row can be removed meanwhile."""
    with psycopg.connect(side.DSN) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute("SELECT count(*) FROM chancy_queues")
        yield


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def run(cell: Awaitable[T]) -> T:
    """Run a cell on the event loop that was asked for."""

    async def main() -> T:
        return await cell

    return anyio.run(main, backend=BACKEND)
