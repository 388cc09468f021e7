"""What all peers' scripts share: how they are called, when a drain has ended, what they answer.

    PYTHON script.py CELL SIZE          with the database's DSN in CHANCY_BENCHMARK_DSN

A script runs in its peer's own environment, so nothing of ours is imported here but this file. Each
prints one line of JSON: jobs per second, committed, and whatever else the cell is about.
"""

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable

import psycopg

DSN = os.environ["CHANCY_BENCHMARK_DSN"]
#: A rate, or figures by their names; a text says why there are none here.
Answer = float | dict[str, float] | str


def until_done(left: str) -> float:
    """Look each 10 ms whether `left` finds a row that has no outcome yet; the time when none does.

    *left* is SQL for EXISTS. Blocks: it is for a thread of its own.
    """
    with psycopg.connect(DSN, autocommit=True) as conn:
        while conn.execute(f"SELECT EXISTS ({left})", prepare=True).fetchone() != (False,):
            time.sleep(0.01)
    return time.perf_counter()


def count(sql: str) -> int:
    """The number that a query answers."""
    with psycopg.connect(DSN, autocommit=True) as conn:
        (number,) = conn.execute(sql).fetchone() or (0,)
    return int(number)


def main(
    run: Callable[[Awaitable[Answer]], Answer], cells: dict[str, Callable[[int], Awaitable[Answer]]]
) -> None:
    """Run the cell that was asked for, and print what it gave."""
    cell, size = sys.argv[-2:]
    answer(run(cells[cell](int(size))))


def answer(found: Answer) -> None:
    """Print what was found: a rate, if it is a number."""
    if not isinstance(found, dict):
        found = {"missing": found} if isinstance(found, str) else {"rate": found}
    print(json.dumps(found), flush=True)


def analyze(*tables: str) -> None:
    """What autovacuum would have done by the time that so much is there."""
    with psycopg.connect(DSN, autocommit=True) as conn:
        for table in tables:
            conn.execute(f"VACUUM ANALYZE {table}")


def rate(jobs: int, seconds: float, done: int) -> float:
    """Jobs per second; an error if not all are there."""
    if done != jobs:
        raise SystemExit(f"{done} of {jobs} jobs are there")
    return jobs / seconds
