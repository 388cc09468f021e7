"""Our bulk pushes and drains by one worker process, in a process of its own as the peers' are.

    python -m tests.benchmarks.sides.drains [--clean] [--plain] CELL JOBS

runs on the loop that CHANCY_BENCHMARK_BACKEND names. `--clean` leaves out what a cell is
burdened with, `--plain` all plugins.
"""

import os
import sys
import time
from contextlib import nullcontext

from chancy import Chancy, Queue
from chancy_core.discovery import survey
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work

FOUR = tuple(Queue(f"q{n}", executor="async", concurrency=50) for n in range(4))
THREADS = Queue("q", executor="thread", concurrency=20)
CHILDREN = Queue(
    "q", executor="process", concurrency=2, executor_options={"max_jobs_per_child": None}
)


async def push(jobs: int) -> float:
    """`push_many`: ids, JSON and COPY, committed batch by batch."""
    await work.prepare()
    async with Chancy(side.DSN) as chancy:
        begin = time.perf_counter()
        await chancy.push_many(work.jobs(work.nothing, range(jobs)))
        seconds = time.perf_counter() - begin
    return side.rate(jobs, seconds, side.count("SELECT count(*) FROM chancy_jobs"))


async def drain(jobs: int) -> float:
    """One queue, asynchronous jobs that do nothing."""
    await work.prepare()
    await work.push(work.jobs(work.nothing, range(jobs)))
    return await work.drained(jobs)


async def four(jobs: int) -> float:
    """The same jobs on four queues, and as many slots in all."""
    await work.prepare(*FOUR)
    await work.push(
        made
        for n, queue in enumerate(FOUR)
        for made in work.jobs(work.nothing, range(n, jobs, 4), queue=queue.name)
    )
    return await work.drained(jobs)


async def short(jobs: int) -> float:
    """Jobs of a millisecond."""
    await work.prepare()
    await work.push(work.jobs(work.short, range(jobs)))
    return await work.drained(jobs)


async def threads(jobs: int) -> float:
    """Plain functions in threads."""
    await work.prepare(THREADS)
    await work.push(work.jobs(work.plain, range(jobs)))
    return await work.drained(jobs)


async def processes(jobs: int) -> float:
    """Plain functions in two child processes; that these start is part of it."""
    await work.prepare(CHILDREN)
    await work.push(work.jobs(work.plain, range(jobs)))
    return await work.drained(jobs)


async def pinned(jobs: int) -> float:
    """The drain while another connection holds a snapshot open, from before it begins."""
    await work.prepare()
    await work.push(work.jobs(work.nothing, range(jobs)))
    with nullcontext() if "--clean" in sys.argv else work.pinned():
        return await work.drained(jobs)


async def plugged(jobs: int) -> float:
    """The drain with all plugins that are installed, or with none."""
    if "--plain" in sys.argv:
        names = (offer.name for offer in survey() if offer.group == "chancy.plugins")
        os.environ["CHANCY_DISABLED_PLUGINS"] = ",".join(f"chancy.plugins:{n}" for n in names)
    async with Chancy(side.DSN) as chancy:
        assert bool(chancy.plugins.plugins) is ("--plain" not in sys.argv)
    return await drain(jobs)


CELLS = {
    "push": push,
    "drain": drain,
    "drain-queues": four,
    "drain-1ms": short,
    "drain-threads": threads,
    "drain-processes": processes,
    "drain-pinned": pinned,
    "plugins": plugged,
}

if __name__ == "__main__":
    side.main(work.run, CELLS)
