"""pgqueuer, as its own benchmark has it: uvloop, five consumers of one process, ten jobs at a time.

The driver is asyncpg, or psycopg where CHANCY_BENCHMARK_DRIVER says so.
"""

import asyncio
import os
import time

import side
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver, Driver, PsycopgDriver
from pgqueuer.queries import Queries

CONSUMERS, BATCH = 5, 10


async def connect() -> Driver:
    if os.environ.get("CHANCY_BENCHMARK_DRIVER") == "psycopg":
        import psycopg

        return PsycopgDriver(await psycopg.AsyncConnection.connect(side.DSN, autocommit=True))
    import asyncpg
    from psycopg.conninfo import conninfo_to_dict

    told = conninfo_to_dict(side.DSN)
    names = {"dbname": "database"}
    return AsyncpgDriver(await asyncpg.connect(**{names.get(k, k): v for k, v in told.items()}))


async def push(jobs: int) -> float:
    queries = Queries(await connect())
    await queries.install()
    begin = time.perf_counter()
    await queries.enqueue(
        ["nothing"] * jobs, [b'{"number": %d}' % n for n in range(jobs)], [0] * jobs
    )
    seconds = time.perf_counter() - begin
    return side.rate(jobs, seconds, side.count("SELECT count(*) FROM pgqueuer"))


async def drain(jobs: int) -> float:
    await push(jobs)
    side.analyze("pgqueuer")
    consumers = [PgQueuer(await connect()) for _ in range(CONSUMERS)]
    for consumer in consumers:

        @consumer.entrypoint("nothing")
        async def nothing(job: object) -> None:
            pass

    begin = time.perf_counter()
    running = [asyncio.create_task(each.run(batch_size=BATCH)) for each in consumers]
    end = await asyncio.to_thread(side.until_done, "SELECT FROM pgqueuer")
    for consumer in consumers:
        consumer.shutdown.set()
    await asyncio.wait(running, timeout=10)
    done = side.count("SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'")
    return side.rate(jobs, end - begin, done)


if __name__ == "__main__":
    side.main(uvloop.run, {"push": push, "drain": drain})
