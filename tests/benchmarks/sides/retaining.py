"""The plugin `retention` removes a day of the history while a worker drains, and others read.

    python -m tests.benchmarks.sides.retaining [--drop | --walk | --export] [--readers N] CELL JOBS

It runs in the worker's process, as it does where that worker leads. The longest wait for a lock is
that of any session but its own, as pg_locks tells it, looked at two hundred times a second. Readers
are processes that list jobs and look one up, fifty times a second, and the longest of these took as
long as is told.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from typing import Any

import anyio
from attrs import define
from psycopg.conninfo import make_conninfo

from chancy import Chancy
from chancy_plugins.retention import Keep, Removed, Retention, days
from tests.benchmarks.cells import scaled
from tests.benchmarks.peers import side
from tests.benchmarks.sides import dropping, fill, work

#: How many days ago the jobs ended that are removed.
AGE = 5
LEFT = f"SELECT count(*) FROM chancy_history WHERE finished_at < {fill.TODAY}"
#: Seconds between two reads of a reader.
PAUSE = 0.02


def read_on(dsn: str, over: Event, told: "Queue[float]") -> None:
    """List jobs, and look one up, again and again; tell how long the longest of these took."""
    longest = 0.0
    with Chancy(dsn) as chancy:
        (some,) = chancy.sync_list_jobs(limit=1).jobs
        while not over.is_set():
            begin = time.perf_counter()
            chancy.sync_list_jobs(limit=50)
            chancy.sync_get_job(some.id)
            longest = max(longest, time.perf_counter() - begin)
            time.sleep(PAUSE)
    told.put(longest)


@contextmanager
def readers(number: int) -> Iterator[list[float]]:
    """So many processes that read; how long their longest reads took is there after the block."""
    afresh = multiprocessing.get_context("spawn")
    over, told = afresh.Event(), afresh.Queue()
    crew = [afresh.Process(target=read_on, args=(side.DSN, over, told)) for _ in range(number)]
    for each in crew:
        each.start()
    longest: list[float] = []
    try:
        yield longest
    finally:
        over.set()
        longest += [told.get(timeout=30) for _ in crew]
        for each in crew:
            each.join()


@define
class Removal:
    """What the plugin does meanwhile, and what came of it."""

    retention: Retention | None
    gone: int = 0
    seconds: float = 0.0

    async def go(self) -> None:
        """Begin once the drain is at its full speed."""
        await anyio.sleep(dropping.LATER)
        if self.retention is None:
            return
        begin = time.perf_counter()
        async with Chancy(make_conninfo(side.DSN, application_name="going")) as chancy:
            try:
                removed = await self.retention.run(chancy)
                self.gone = removed.dropped + removed.deleted
                _check(removed)
            finally:
                self.seconds = time.perf_counter() - begin


def _check(removed: Removed) -> None:
    if removed.problems:
        raise SystemExit(f"it removed {removed}, and has problems: {removed.problems}")


def asked(how: str | None, folder: str) -> Retention | None:
    """How the plugin is told what this side wants of it."""
    told: dict[str, dict[str, Any]] = {
        "drop": {"keep": days(2)},
        "export": {"keep": days(2), "export": folder},
        "walk": {"rules": [Keep(queue=work.QUEUE.name, state="succeeded", for_=days(1))]},
    }
    return Retention(**told[how]) if how else None


async def kept(told: argparse.Namespace) -> dict[str, float]:
    """Drain, and have the day go meanwhile, if it is to go."""
    await work.prepare()
    fill.finished_days_ago(scaled(dropping.ROWS), AGE)
    await work.push(work.jobs(work.nothing, range(told.jobs)))
    with tempfile.TemporaryDirectory() as folder:
        removal = Removal(asked(told.how, folder))
        with readers(told.readers) as longest, dropping.lock_waits() as waits:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(removal.go)
                rate = await work.drained(told.jobs)
                if told.how == "walk":  # it goes on for longer than the drain
                    removal.gone = scaled(dropping.ROWS) - side.count(LEFT)
                    tasks.cancel_scope.cancel()
    return {
        "rate": rate,
        "lock_ms": 1000 * max(waits),
        "read_ms": 1000 * max(longest, default=0.0),
        "seconds": removal.seconds,
        "gone": removal.gone,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    how = parser.add_mutually_exclusive_group()
    for one in ("drop", "walk", "export"):
        how.add_argument(f"--{one}", dest="how", action="store_const", const=one)
    parser.add_argument("--readers", type=int, default=0)
    parser.add_argument("cell", choices=["retention"])
    parser.add_argument("jobs", type=int)
    side.answer(work.run(kept(parser.parse_args())))


if __name__ == "__main__":
    main()
