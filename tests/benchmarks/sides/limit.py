"""The limit beside which ours is measured: plain connections, and nothing of ours.

    python -m tests.benchmarks.sides.limit CELL JOBS

A drain is `bare`; `push` is a loop of COPY that makes the same ids and the same JSON.
"""

import asyncio  # noqa: TID251 - what is measured is synchronous; the cells are called alike
import json
import multiprocessing
import time
from multiprocessing.synchronize import Barrier

import psycopg

from chancy_core.identity import new_id
from tests.benchmarks import bare
from tests.benchmarks.peers import side


async def push(jobs: int) -> float:
    """Copy rows into the table of live jobs that `bare` has, in one transaction."""
    with psycopg.connect(side.DSN, autocommit=True) as conn:
        conn.execute(bare.SCHEMA)
        begin = time.perf_counter()
        columns = "COPY bare.jobs (id, queue, func, args) FROM STDIN"
        with conn.cursor() as cursor, cursor.copy(columns) as copy:
            for number in range(jobs):
                arguments = json.dumps({"number": number})
                copy.write_row((new_id(), "q", "benchmark.nothing", arguments))
        seconds = time.perf_counter() - begin
    return side.rate(jobs, seconds, side.count("SELECT count(*) FROM bare.jobs"))


async def drain(jobs: int) -> float:
    """Claim and settle in a loop that runs no code between the two."""
    return bare.run(side.DSN, jobs)


async def drain_two(jobs: int) -> float:
    """The same in two processes at once."""
    with psycopg.connect(side.DSN, autocommit=True) as conn:
        conn.execute(bare.SCHEMA)
        bare.push(conn, jobs)
    afresh = multiprocessing.get_context("spawn")
    start = afresh.Barrier(3)
    both = [afresh.Process(target=_loop, args=(side.DSN, start)) for _ in range(2)]
    for each in both:
        each.start()
    start.wait()
    begin = time.perf_counter()
    for each in both:
        each.join()
    seconds = time.perf_counter() - begin
    return side.rate(jobs, seconds, side.count("SELECT count(*) FROM bare.history"))


def _loop(dsn: str, start: Barrier) -> None:
    with psycopg.connect(dsn, autocommit=True, prepare_threshold=0) as conn:
        start.wait()
        bare.drain(conn)


if __name__ == "__main__":
    side.main(asyncio.run, {"push": push, "drain": drain, "drain-two": drain_two})
