"""A day of the history goes while a worker drains: dropped as a partition, or deleted row by row.

    python -m tests.benchmarks.sides.dropping [--drop | --delete] CELL JOBS

The longest wait for a lock is that of any session but the one that drops, as pg_locks tells it,
looked at two hundred times a second.
"""

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from anyio import to_thread
from psycopg import sql

from tests.benchmarks.cells import scaled
from tests.benchmarks.peers import side
from tests.benchmarks.sides import fill, work

ROWS = 1_000_000
#: Seconds after which the day goes: the drain is at its full speed by then.
LATER = 0.5
WAITS = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)::float8
  FROM pg_locks JOIN pg_stat_activity USING (pid)
 WHERE NOT granted AND application_name <> 'going' AND backend_type = 'client backend'
   AND datname = current_database()
"""


def drop(conn: psycopg.Connection, day: str) -> int:
    """Take the partition out without a lock that would hold anybody up, then drop it."""
    partition = sql.Identifier(*day.split("."))
    conn.execute("SET lock_timeout = '1s'")
    detach = "ALTER TABLE chancy_history DETACH PARTITION {} CONCURRENTLY"
    conn.execute(sql.SQL(detach).format(partition))
    conn.execute(sql.SQL("DROP TABLE {}").format(partition))
    return scaled(ROWS)


def delete(conn: psycopg.Connection, _: str) -> int:
    """Delete what lies in it."""
    return conn.execute(f"DELETE FROM chancy_history WHERE finished_at < {fill.TODAY}").rowcount


@contextmanager
def lock_waits() -> Iterator[list[float]]:
    """How long anybody waited for a lock in the block, as it was seen."""
    seen, over = [0.0], threading.Event()

    def look() -> None:
        with psycopg.connect(side.DSN, autocommit=True) as conn:
            while not over.wait(0.005):
                ((wait,),) = conn.execute(WAITS, prepare=True).fetchall()
                seen.append(wait)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


async def gone(told: argparse.Namespace) -> dict[str, float]:
    """Drain, and have the day go meanwhile, if it is to go."""
    await work.prepare()
    day = fill.finished_yesterday(scaled(ROWS))
    await work.push(work.jobs(work.nothing, range(told.jobs)))
    how = {"drop": drop, "delete": delete}.get(told.how)
    took: list[tuple[float, int]] = []

    def go() -> None:
        time.sleep(LATER)
        with psycopg.connect(side.DSN, autocommit=True, application_name="going") as conn:
            begin = time.perf_counter()
            went = how(conn, day) if how else 0
            took.append((time.perf_counter() - begin, went))

    thread = threading.Thread(target=go)
    with lock_waits() as waits:
        thread.start()
        rate = await work.drained(told.jobs)
        await to_thread.run_sync(thread.join)
    ((seconds, went),) = took
    return {"rate": rate, "lock_ms": 1000 * max(waits), "seconds": seconds, "gone": went}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    how = parser.add_mutually_exclusive_group()
    for one in ("drop", "delete"):
        how.add_argument(f"--{one}", dest="how", action="store_const", const=one)
    parser.add_argument("cell", choices=["drop-a-day"])
    parser.add_argument("jobs", type=int)
    side.answer(work.run(gone(parser.parse_args())))


if __name__ == "__main__":
    main()
