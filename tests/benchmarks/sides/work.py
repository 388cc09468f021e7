"""The queues of our own sides, and what all of them do: on which loop, from what to when."""

import os
import time
from collections.abc import Awaitable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import anyio
import psycopg
from anyio import to_thread

from chancy import Chancy, Job, Queue, Worker
from chancy_core.statement import Names
from tests.benchmarks.peers import side
from tests.benchmarks.sides.functions import (  # noqa: F401 - all sides have them from here
    RAN,
    SPANS,
    burn,
    burnt,
    counted,
    nothing,
    plain,
    short,
    spanned,
)

T = TypeVar("T")
BACKEND = os.environ.get("CHANCY_BENCHMARK_BACKEND", "asyncio")
QUEUE = Queue("q", executor="async", concurrency=200)
NAMES = Names()
#: What has been done here: finished jobs that were only made to be there are called otherwise.
DONE = "SELECT count(*) FROM chancy_history WHERE state = 'succeeded' AND func <> 'benchmark.past'"


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
