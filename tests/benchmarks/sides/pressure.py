"""A steady stream of jobs while somebody holds a snapshot open, or reads the history all the time.

    python -m tests.benchmarks.sides.pressure [--pin | --readers N] CELL SECONDS

A client pushes 500 jobs a second; a worker runs them, and its claims are timed. First for a while
in peace, which says what is normal; then for so many seconds under pressure; then until the claims
of five seconds are as quick as in the slowest five seconds of peace, and nothing lags. The backlog
is what was pushed and has not begun: it is counted in the two processes, since asking the tables
would itself be a burden.
"""

import argparse
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.synchronize import Event

import anyio
import psycopg
from attrs import define, field

from chancy import Chancy, Worker
from tests.benchmarks.cells import scaled
from tests.benchmarks.peers import side
from tests.benchmarks.sides import claims, fill, pacing, work

RATE = 500
#: Seconds: of peace before, of one window of claims, and until the wait for peace is given up.
BEFORE, WINDOW, PATIENCE = 30, 5, 180
#: Finished jobs that the readers read.
HISTORY = 1_000_000
#: By how much the claims of a window may be slower than in peace and still be normal.
NORMAL, SPARE_MS = 1.5, 1.0

SIZES = """
SELECT pg_table_size(relid) / 1e6 AS table_mb, pg_indexes_size(relid) / 1e6 AS index_mb,
       n_dead_tup::float8 AS dead,
       coalesce(n_tup_hot_upd::float8 / nullif(n_tup_upd, 0), 0) AS hot
  FROM pg_stat_user_tables WHERE relname = 'chancy_jobs'
"""


def read_on(dsn: str, over: Event) -> None:
    """Read the history from one end to the other, again and again."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("SET max_parallel_workers_per_gather = 0")
        while not over.is_set():
            conn.execute("SELECT state, count(*), max(args::text) FROM chancy_jobs_v1 GROUP BY 1")


@contextmanager
def readers(number: int) -> Iterator[None]:
    """So many processes that read the history all the time."""
    afresh = multiprocessing.get_context("spawn")
    over = afresh.Event()
    crew = [afresh.Process(target=read_on, args=(side.DSN, over)) for _ in range(number)]
    for each in crew:
        each.start()
    try:
        yield
    finally:
        over.set()
        for each in crew:
            each.join()


@define
class Seen:
    """What is looked at while it lasts."""

    made: list[claims.Claim]
    pushed: pacing.Pushed
    backlog: int = 0
    sizes: dict[str, float] = field(factory=dict)

    async def watch(self, seconds: float) -> float:
        """Look on for so long; the time (ms) that all but one in a hundred claims took at most."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            self.backlog = max(self.backlog, self.pushed.number - len(pacing.BEGAN))
            await anyio.sleep(0.05)
        return claims.p99_ms([one for one in self.made if one.at >= begin])

    async def measure_tables(self) -> None:
        """Keep the sizes, each as it was when it was at its largest."""
        async with await psycopg.AsyncConnection.connect(side.DSN) as conn:
            cursor = await conn.execute(SIZES)
            row = await cursor.fetchone()
            names = [column.name for column in cursor.description or ()]
        self.sizes = dict(zip(names, map(float, row or ()), strict=True))

    async def peace(self) -> tuple[float, float]:
        """The same of a while in peace, and of the slowest of its windows: that is normal.

        A window has some ninety claims, so that one of them decides.
        """
        begin = time.monotonic()
        windows = max(1, scaled(BEFORE) // scaled(WINDOW))
        slowest = max([await self.watch(scaled(WINDOW)) for _ in range(windows)])
        return claims.p99_ms([one for one in self.made if one.at >= begin]), slowest

    async def back(self, normal: float) -> float:
        """The seconds until the claims of a window are as quick as normal, and nothing lags."""
        begin = time.monotonic()
        patience = scaled(PATIENCE, 5)
        while time.monotonic() - begin < patience:
            window = scaled(WINDOW)
            since, self.backlog = time.monotonic(), 0
            took = await self.watch(window)
            if took <= normal * NORMAL + SPARE_MS and self.backlog < RATE / 10:
                return since - begin
        return float(patience)


async def pressed(told: argparse.Namespace) -> dict[str, float]:
    """Before, during and after."""
    await work.prepare()
    if told.readers:
        fill.finished_today(scaled(HISTORY))
    pressure = work.pinned() if told.pin else readers(told.readers)
    async with Chancy(side.DSN) as chancy:
        with claims.timed() as made:
            async with Worker(chancy), pacing.pacing(RATE) as pushed:
                seen = Seen(made, pushed)
                await anyio.sleep(2)
                peace, normal = await seen.peace()
                seen.backlog, begin = 0, time.monotonic()
                with pressure if told.pin or told.readers else nullcontext():
                    under = await seen.watch(told.seconds)
                    await seen.measure_tables()
                backlog, end = seen.backlog, time.monotonic()
                back = await seen.back(normal)
                await anyio.sleep(1)
    late = [1000 * late for at, late in pacing.BEGAN if begin <= at < end]
    return {
        "claim_p99_ms": under,
        "peace_p99_ms": peace,
        "backlog": backlog,
        "late_p99_ms": work.percentile(late, 0.99),
        "back": back,
        "rate": len(late) / (end - begin),
        **seen.sizes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pin", action="store_true")
    parser.add_argument("--readers", type=int, default=0)
    parser.add_argument("cell", choices=["pressure"])
    parser.add_argument("seconds", type=int)
    side.answer(work.run(pressed(parser.parse_args())))


if __name__ == "__main__":
    main()
