"""What a job costs, stage by stage, in microseconds on both sides of the wire.

    python -m tests.benchmarks.stages [--jobs 20000] [--rounds 5] [--trio]

Prints the table of `docs/performance.md`. What the server does is its own count of the time that it
executed (pg_stat_statements), for COPY with what it waited for the client; what the client does is
timed piece by piece, on the same jobs; what the process used in all is the system's figure. Beside
them the plain loop of `bare`, by the same count of the server's.
"""

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anyio
import psycopg
from psycopg import sql

from chancy import Chancy, Queue, Reference, Worker, job
from chancy_core import given
from chancy_core.identity import new_id
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.statement import Names
from chancy_core.store import rows, statements
from chancy_core.testing import database
from tests.benchmarks import bare
from tests.benchmarks.server import durable_server

NAMES = Names()
#: How many jobs one statement is about, where only its making is timed.
PORTION = 200
#: Stages, by their words in the tables, and what each took in each round.
Took = dict[str, list[float]]

STATEMENTS = {
    "COPY%chancy_jobs%": "push: COPY, with its commit",
    "WITH want AS%": "claim",
    "WITH outcome AS%INTO%": "settle, into the history",
    "WITH chosen AS%": "`bare`: claim",
    "WITH settled AS%": "`bare`: settle",
}


@job(name="stages.nothing", queue="q")
async def nothing(number: int) -> None:
    """Do nothing: what is measured is everything around it."""


def timed(number: int, work: Callable[[], Any]) -> float:
    """Microseconds for each of so many."""
    begin = time.perf_counter()
    work()
    return (time.perf_counter() - begin) / number * 1e6


def of_a_push(jobs: int, took: Took) -> None:
    """What a producer does for each job before it is sent."""
    made = [nothing.bind(number=n) for n in range(jobs)]
    ids = [new_id() for _ in made]
    by_id = dict(zip(ids, made, strict=True))
    stages = {
        "push: `bind`": lambda: [nothing.bind(number=n) for n in range(jobs)],
        "push: check": lambda: [given.job(one) for one in made],
        "push: id": lambda: [new_id() for _ in made],
        "push: JSON and row": lambda: statements.push_many(NAMES, by_id, meanwhile=False),
        "push: reference": lambda: [Reference(id_) for id_ in ids],
    }
    for name, stage in stages.items():
        took[name].append(timed(jobs, stage))


def of_a_drain(dsn: str, took: Took) -> None:
    """What a worker does for each job besides waiting: on jobs that are claimed, and given back."""
    worker = uuid4()
    announced = {"name": "w", "hostname": "h", "pid": 1, "tags": ["*"], "lease": 60.0}
    with psycopg.connect(dsn, prepare_threshold=0) as conn:
        announce = statements.announce(NAMES, worker, **announced)
        conn.execute(announce.text, announce.params)
        claim = statements.claim(NAMES, worker, {"q": PORTION})
        cursor = conn.execute(claim.text, claim.params, binary=True)
        found: list[Any] = []
        took["claim: fetch"].append(timed(PORTION, lambda: found.extend(cursor.fetchall())))
        claims: list[rows.Claimed] = []
        read = timed(PORTION, lambda: claims.extend(rows.claimed(found)))
        took["claim: read"].append(read)
        conn.rollback()
    settled = [_settled(claimed.job) for claimed in claims]
    took["settle: parameters"].append(timed(PORTION, lambda: statements.finish(NAMES, settled)))


def _settled(done: QueuedJob) -> Settlement:
    return Settlement(done, Outcome(Kind.SUCCESS, "null"), Verdict(State.SUCCEEDED))


async def drained(dsn: str, jobs: int) -> tuple[float, float]:
    """Push so many jobs and drain them; microseconds of this process for each, of both."""
    async with Chancy(dsn) as chancy:
        spent = time.process_time()
        await chancy.push_many(nothing.bind(number=n) for n in range(jobs))
        pushed = time.process_time() - spent
        async with chancy.store.connection() as conn:
            await conn.execute("VACUUM ANALYZE chancy_jobs")
            spent = time.process_time()
            async with Worker(chancy):
                while await _live(conn):
                    await anyio.sleep(0.02)
            ran = time.process_time() - spent
    return pushed / jobs * 1e6, ran / jobs * 1e6


async def _live(conn: psycopg.AsyncConnection[Any]) -> bool:
    row = await (await conn.execute("SELECT EXISTS (SELECT FROM chancy_jobs)")).fetchone()
    return bool(row and row[0])


def one_round(server: str, jobs: int, backend: str, took: Took) -> None:
    """Measure everything once, on a database of its own."""
    with database(server) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        track = "ALTER DATABASE {} SET pg_stat_statements.track = 'all'"
        conn.execute(sql.SQL(track).format(sql.Identifier(conn.info.dbname)))
        anyio.run(_prepared, dsn, backend=backend)
        anyio.run(_pushed, dsn, PORTION, backend=backend)
        of_a_push(jobs, took)
        of_a_drain(dsn, took)
        conn.execute("SELECT pg_stat_statements_reset()")
        pushed, ran = anyio.run(drained, dsn, jobs - PORTION, backend=backend)
        took["push: all of the process"].append(pushed)
        took["drain: all of the process"].append(ran)
        bare.run(dsn, jobs)
        for like, name in STATEMENTS.items():
            took[name].append(_executed(conn, like) / jobs)


async def _prepared(dsn: str) -> None:
    async with Chancy(dsn) as chancy:
        await chancy.migrate()
        await chancy.declare(Queue("q", executor="async", concurrency=200))


async def _pushed(dsn: str, jobs: int) -> None:
    async with Chancy(dsn) as chancy:
        await chancy.push_many(nothing.bind(number=n) for n in range(jobs))


def _executed(conn: psycopg.Connection[Any], like: str) -> float:
    """Microseconds that statements like this one have taken in all."""
    row = conn.execute(
        "SELECT 1000 * sum(total_exec_time) FROM pg_stat_statements AS s"
        "  JOIN pg_database AS d ON d.oid = s.dbid AND d.datname = current_database()"
        " WHERE query LIKE %s",
        [like],
    ).fetchone()
    if row is None or row[0] is None:
        raise SystemExit(f"no statement was like {like!r}")
    return float(row[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trio", action="store_true")
    options = parser.parse_args()
    took: Took = defaultdict(list)
    with durable_server() as server:
        for _ in range(options.rounds):
            one_round(server, options.jobs, "trio" if options.trio else "asyncio", took)
    print("| stage | us a job, median | lowest |\n| --- | --- | --- |")
    for name, values in took.items():
        print(f"| {name} | {statistics.median(values):.1f} | {min(values):.1f} |")


if __name__ == "__main__":
    main()
