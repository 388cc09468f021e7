"""What a drain and a claim cost in a database that has grown.

    python -m tests.benchmarks.sides.growth [--finished N] [--pending N] [--scheduled N]
                                            [--queues N] CELL JOBS

The database is filled once and kept for all rounds. In each one jobs are pushed that go before all
others; a few claims of 200 are carried out under EXPLAIN (BUFFERS) and given back; then a worker
drains the jobs, and its claims are timed. The rate is by the times in the rows.
"""

import argparse

import anyio
import psycopg

from chancy import Chancy, Queue, Worker
from tests.benchmarks.cells import scaled
from tests.benchmarks.peers import side
from tests.benchmarks.sides import claims, fill, work

#: Of what is drained: of all other jobs in its queue, those that are due have less.
FIRST, LATER, HIGHEST = 1, 0, 5
CLAIMED, CLAIMS = 200, 10

#: Of the jobs of one round, of which %s is the first: how many, and in how many seconds.
TOOK = f"""
SELECT count(*), extract(epoch FROM max(finished_at) - min(started_at))::float8
  FROM chancy_history WHERE id >= %s AND priority = {FIRST} AND state = 'succeeded'
"""


def queues(number: int) -> list[Queue]:
    """One queue of 200 slots, or many that have as many in all."""
    slots = max(1, CLAIMED // number)
    return [
        work.QUEUE.options(name=f"q{n}" if n else "q", concurrency=slots) for n in range(number)
    ]


async def grown(told: argparse.Namespace) -> list[Queue]:
    """Fill the database, or what the last round has taken from it."""
    declared = queues(told.queues)
    await work.prepare(*declared)
    if not told.finished:
        with psycopg.connect(side.DSN, autocommit=True) as conn:
            conn.execute("TRUNCATE chancy_history")
    elif not side.count("SELECT count(*) FROM (SELECT FROM chancy_history LIMIT 1) AS some_row"):
        fill.finished_today(scaled(told.finished))
    for state, rows in (("pending", told.pending), ("scheduled", told.scheduled)):
        there = side.count(f"SELECT count(*) FROM chancy_jobs WHERE state = '{state}'")
        if missing := max(0, (scaled(rows) if rows else 0) - there):
            (fill.pending if state == "pending" else fill.scheduled)(
                missing, LATER if state == "pending" else HIGHEST
            )
    return declared


async def growth(told: argparse.Namespace) -> dict[str, float]:
    """One round: pages per claimed row, then the drain."""
    declared = await grown(told)
    names = [queue.name for queue in declared]
    made = work.jobs(work.counted, range(told.jobs), priority=FIRST)
    async with Chancy(side.DSN) as chancy:
        references = await chancy.push_many(
            one.options(queue=names[n % len(names)]) for n, one in enumerate(made)
        )
    side.analyze("chancy_jobs")
    free = {name: max(1, CLAIMED // len(names)) for name in names}
    pages = claims.buffers_per_row(free, min(CLAIMS, max(1, told.jobs // CLAIMED)))
    async with Chancy(side.DSN) as chancy:
        with claims.timed() as timed:
            async with Worker(chancy):
                while len(work.RAN) < told.jobs:  # asking the database would be work for it
                    await anyio.sleep(0.01)
    first = min(reference.id for reference in references)
    with psycopg.connect(side.DSN) as conn:
        (done, seconds) = conn.execute(TOOK, [first]).fetchone() or (0, 1.0)
    return {
        "rate": side.rate(told.jobs, seconds, done),
        "claim_p99_ms": claims.p99_ms(timed),
        "buffers": pages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("--finished", "--pending", "--scheduled"):
        parser.add_argument(option, type=int, default=0)
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("cell", choices=["growth"])
    parser.add_argument("jobs", type=int)
    side.answer(work.run(growth(parser.parse_args())))


if __name__ == "__main__":
    main()
