"""Our side of a benchmark, in a process of its own, as the peers' are.

python -m tests.benchmarks.ours CELL JOBS     on the loop that CHANCY_BENCHMARK_BACKEND names
"""

import os
import time
from collections.abc import Awaitable

import anyio
from anyio import to_thread

from chancy import Chancy, Queue, Worker, job
from tests.benchmarks.peers import side

QUEUE = Queue("q", executor="async", concurrency=200)


@job(name="benchmark.nothing", queue="q")
async def nothing(number: int) -> None:
    """Do nothing: what is measured is everything around it."""


async def push(jobs: int) -> float:
    """`push_many`: ids, JSON and COPY, committed batch by batch."""
    async with Chancy(side.DSN) as chancy:
        await chancy.migrate()
        await chancy.declare(QUEUE)
        begin = time.perf_counter()
        await chancy.push_many(nothing.bind(number=n) for n in range(jobs))
        seconds = time.perf_counter() - begin
    return side.rate(jobs, seconds, side.count("SELECT count(*) FROM chancy_jobs"))


async def drain(jobs: int) -> float:
    """One worker, from its start until the last outcome is committed."""
    await push(jobs)
    side.analyze("chancy_jobs")
    async with Chancy(side.DSN) as chancy:
        begin = time.perf_counter()
        async with Worker(chancy):
            end = await to_thread.run_sync(side.until_done, "SELECT FROM chancy_jobs")
    done = side.count("SELECT count(*) FROM chancy_history WHERE state = 'succeeded'")
    return side.rate(jobs, end - begin, done)


def run(cell: Awaitable[float]) -> float:
    """Run a cell on the event loop that was asked for."""

    async def main() -> float:
        return await cell

    backend = os.environ.get("CHANCY_BENCHMARK_BACKEND", "asyncio")
    return anyio.run(main, backend=backend)


if __name__ == "__main__":
    side.main(run, {"push": push, "drain": drain})
