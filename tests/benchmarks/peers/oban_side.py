"""Oban for Python: its pool as in its own benchmark, one queue that runs twenty at once."""

import asyncio
import time

import side
from oban import Oban, job
from oban._config import Config
from oban.schema import install


@job(queue="default")
async def nothing(number: int) -> None:
    pass


async def push(jobs: int) -> float:
    pool = await Config(dsn=side.DSN, pool_min_size=2, pool_max_size=10).create_pool()
    await install(pool)
    oban = Oban(pool=pool, leadership=False)
    begin = time.perf_counter()
    await oban.enqueue_many(*[nothing.new(number=n) for n in range(jobs)])
    seconds = time.perf_counter() - begin
    await pool.close()
    return side.rate(jobs, seconds, side.count("SELECT count(*) FROM oban_jobs"))


async def drain(jobs: int) -> float:
    await push(jobs)
    side.analyze("oban_jobs")
    pool = await Config(dsn=side.DSN, pool_min_size=2, pool_max_size=10).create_pool()
    oban = Oban(pool=pool, queues={"default": 20}, leadership=False, stager={"interval": 0.01})
    begin = time.perf_counter()
    async with oban:
        end = await asyncio.to_thread(
            side.until_done, "SELECT FROM oban_jobs WHERE state IN ('available', 'executing')"
        )
    await pool.close()
    done = side.count("SELECT count(*) FROM oban_jobs WHERE state = 'completed'")
    return side.rate(jobs, end - begin, done)


if __name__ == "__main__":
    side.main(asyncio.run, {"push": push, "drain": drain})
