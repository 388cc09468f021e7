"""How many jobs one worker finishes in a second, beside the plain loop of `bare`, in turns.

    python -m tests.benchmarks.drain [--jobs 20000] [--rounds 5] [--trio]

A job counts when its outcome is committed. Both sides run on the same server, a durable one
unless CHANCY_DSN names another; the ratio of each pair is what matters, since machines are noisy.
"""

import argparse
import statistics
import time

import anyio
import psycopg

from chancy import Chancy, Job, Queue, Worker, job
from chancy_core.testing import database
from tests.benchmarks import bare
from tests.benchmarks.server import durable_server


@job(name="drain.nothing", queue="drain")
async def nothing(number: int) -> None:
    """Do nothing: what is measured is everything around it."""


async def drain(dsn: str, jobs: int, concurrency: int) -> float:
    """Push *jobs*, then let one worker finish them: committed jobs a second."""
    async with Chancy(dsn) as chancy:
        await chancy.migrate()
        await chancy.declare(Queue("drain", executor="async", concurrency=concurrency))
        await chancy.push_many(
            Job("drain.nothing", kwargs={"number": n}, queue="drain") for n in range(jobs)
        )
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute("VACUUM ANALYZE chancy_jobs")
        async with Worker(chancy):
            begin = time.perf_counter()
            async with chancy.store.pool.connection() as conn:
                while await _live(conn):
                    await anyio.sleep(0.02)
            elapsed = time.perf_counter() - begin
            async with chancy.store.pool.connection() as conn:
                cursor = await conn.execute(
                    "SELECT count(*) FROM chancy_history WHERE state = 'succeeded'"
                )
                row = await cursor.fetchone()
        assert row is not None
        assert row[0] == jobs, f"{row[0]} of {jobs} jobs succeeded"
    return jobs / elapsed


async def _live(conn: psycopg.AsyncConnection[tuple[bool]]) -> bool:
    row = await (await conn.execute("SELECT EXISTS (SELECT FROM chancy_jobs)")).fetchone()
    return row is not None and row[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--trio", action="store_true")
    options = parser.parse_args()
    backend = "trio" if options.trio else "asyncio"
    pairs: list[tuple[float, float]] = []
    with durable_server() as server:
        for _ in range(options.rounds):
            with database(server) as dsn:
                plain = bare.run(dsn, options.jobs)
            with database(server) as dsn:
                ours = anyio.run(drain, dsn, options.jobs, options.concurrency, backend=backend)
            pairs.append((ours, plain))
            print(
                f"chancy {ours:8,.0f} jobs/s   bare {plain:8,.0f} jobs/s   ratio {ours / plain:.2f}"
            )
    ratio = statistics.median(ours / plain for ours, plain in pairs)
    ours, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"median, {backend}: chancy {ours:,.0f}, bare {plain:,.0f}, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
