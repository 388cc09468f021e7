"""chancy 0.26, the system that this one comes from: an asynchronous queue that polls eagerly."""

import asyncio
import logging
import time

import side

from chancy import Chancy, Queue, Worker, job

logging.disable(logging.INFO)  # else it says something of each job
QUEUE = Queue(
    "q",
    concurrency=200,
    executor=Chancy.Executor.Async,
    polling_interval=1,
    eager_polling=True,
)


@job(queue="q")
async def nothing(*, number: int) -> None:
    pass


async def push(jobs: int) -> float:
    async with Chancy(side.DSN) as chancy:
        await chancy.migrate()
        await chancy.declare(QUEUE)
        begin = time.perf_counter()
        pushed = [nothing.job.with_kwargs(number=n) for n in range(jobs)]
        async for _ in chancy.push_many(pushed):
            pass
        seconds = time.perf_counter() - begin
    return side.rate(jobs, seconds, side.count("SELECT count(*) FROM chancy_jobs"))


async def drain(jobs: int) -> float:
    await push(jobs)
    side.analyze("chancy_jobs")
    async with Chancy(side.DSN) as chancy:
        begin = time.perf_counter()
        async with Worker(chancy) as worker:
            end = await asyncio.to_thread(
                side.until_done, "SELECT FROM chancy_jobs WHERE state IN ('pending', 'running')"
            )
            await worker.stop()
    done = side.count("SELECT count(*) FROM chancy_jobs WHERE state = 'succeeded'")
    return side.rate(jobs, end - begin, done)


if __name__ == "__main__":
    side.main(asyncio.run, {"push": push, "drain": drain})
