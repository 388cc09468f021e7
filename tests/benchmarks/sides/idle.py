"""What workers cost that have nothing to do: twenty processes on ten queues.

    python -m tests.benchmarks.sides.idle CELL SECONDS

The statements are counted by pg_stat_statements, all that any of them sends, the processor time by
the system.
"""

import time

import anyio
import psutil
import psycopg
from psycopg import sql

from chancy import Queue
from tests.benchmarks.cells import scaled
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work
from tests.benchmarks.sides.member import members

WORKERS, QUEUES = 20, 10
#: Seconds after which what belongs to the start is over, the idle back-off as well.
SETTLED = 20
SENT = "SELECT sum(calls)::bigint FROM pg_stat_statements WHERE dbid = %s AND queryid <> 0"


async def idle(seconds: int) -> dict[str, float]:
    """Let them be idle for so long."""
    await work.prepare(*(Queue(f"q{n}", executor="async", concurrency=5) for n in range(QUEUES)))
    with psycopg.connect(side.DSN, autocommit=True) as conn:
        database = sql.Identifier(conn.info.dbname)
        conn.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        track = "ALTER DATABASE {} SET pg_stat_statements.track = 'all'"
        conn.execute(sql.SQL(track).format(database))
        (dbid,) = conn.execute(
            "SELECT oid FROM pg_database WHERE datname = current_database()"
        ).fetchone() or (0,)
        with members(scaled(WORKERS)) as crew:
            await anyio.sleep(scaled(SETTLED))
            known = [psutil.Process(each.process.pid) for each in crew]
            begin, before = time.monotonic(), [_spent(each) for each in known]
            # This connection is older than the setting, so that it is not counted itself.
            sent = _number(conn, dbid)
            await anyio.sleep(seconds)
            sent = _number(conn, dbid) - sent
            lasted = time.monotonic() - begin
            spent = [_spent(each) - had for each, had in zip(known, before, strict=True)]
            memory = [each.memory_info().rss / 2**20 for each in known]
    return {
        "statements": sent / lasted,
        "cpu_most": 100 * max(spent) / lasted,
        "cpu_mean": 100 * sum(spent) / lasted / len(spent),
        "rss_mb": max(memory),
    }


def _spent(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _number(conn: psycopg.Connection, dbid: int) -> int:
    (number,) = conn.execute(SENT, [dbid]).fetchone() or (0,)
    return int(number or 0)


if __name__ == "__main__":
    side.main(work.run, {"idle": idle})
