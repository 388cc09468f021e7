"""What a job costs on each executor: in time, and in processor time on both sides of the wire.

    python -m tests.benchmarks.sides.executors --on thread CELL JOBS

The worker has run some jobs and waits; then its queue, which was paused and filled, is resumed. An
executor that needs another Python, or a package that is not here, says so in place of figures.
"""

import argparse
import time
from collections.abc import Iterable, Iterator
from typing import Any

import anyio
from anyio import to_thread

from chancy import Chancy, Job, Queue, Worker
from chancy_core.errors import ChancyError
from chancy_core.installed import open_executor
from tests.benchmarks.peers import side
from tests.benchmarks.sides import processor, work


def on(executor: str, concurrency: int, **options: Any) -> Queue:
    """The queue of an executor."""
    return Queue("q", executor=executor, concurrency=concurrency, executor_options=options)


QUEUES = {
    queue.executor: queue
    for queue in (
        on("async", 200),
        on("thread", 20),
        on("process", 2, max_jobs_per_child=None),
        on("subprocess", 2, commands={"nothing": {"argv": ["true"]}}),
        on("interpreter", 2, max_jobs_per_interpreter=None),
        on("dask", 16, workers=2),  # more than it has threads: they need not wait for the next
    )
}
#: Those that not every machine has.
OPTIONAL = {"interpreter", "dask"}
#: How many jobs each slot runs before it counts: what is started for the first is there by then.
WARM = 4
LEFT = "SELECT FROM chancy_jobs"


def jobs(executor: str, numbers: Iterable[int]) -> Iterator[Job]:
    """Jobs that do nothing there: functions, or a command."""
    if executor == "subprocess":
        return (Job("nothing", queue="q") for _ in numbers)
    return work.jobs(work.nothing if executor == "async" else work.plain, numbers)


async def missing(queue: Queue) -> str | None:
    """Why the executor of a queue does not open here, or None."""
    try:
        async with open_executor(queue):
            return None
    except ChancyError as exc:
        return str(exc)


async def drained(number: int, queue: Queue) -> dict[str, float]:
    """Seconds that so many jobs take, and of the processor those of the worker and the server."""
    first = await to_thread.run_sync(processor.postmaster, side.DSN)
    async with Chancy(side.DSN) as chancy, Worker(chancy) as worker:
        await work.push(jobs(queue.executor, range(warm(queue))))
        await to_thread.run_sync(side.until_done, LEFT)
        await chancy.pause_queue("q")
        while worker.queues["q"].state is not Queue.State.PAUSED:
            await anyio.sleep(0.01)
        await work.push(jobs(queue.executor, range(number)))
        ours, theirs = processor.of_this(), processor.of_tree(first) if first else 0
        begin = time.perf_counter()
        await chancy.resume_queue("q")
        end = await to_thread.run_sync(side.until_done, LEFT)
        spent = {"seconds": end - begin, "worker": processor.of_this() - ours}
        return spent | ({"server": processor.of_tree(first) - theirs} if first else {})


def warm(queue: Queue) -> int:
    """How many jobs run before what counts."""
    return WARM * (queue.concurrency or 1)


async def measure(number: int, executor: str) -> side.Answer:
    """Drain so many jobs; of a server on another machine the processor is not known."""
    queue = QUEUES[executor]
    if executor in OPTIONAL and (why := await missing(queue)):
        return why
    await work.prepare(queue)
    spent = await drained(number, queue)
    seconds = spent.pop("seconds")
    rate = side.rate(number, seconds, side.count(work.DONE) - warm(queue))
    each = {f"{who}_us": used / number * 1e6 for who, used in spent.items()}
    return {"rate": rate, "jobs": number} | each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--on", choices=QUEUES, required=True, help="the executor")
    parser.add_argument("cell", choices=["executors"])
    parser.add_argument("jobs", type=int)
    told = parser.parse_args()
    side.answer(work.run(measure(told.jobs, told.on)))


if __name__ == "__main__":
    main()
