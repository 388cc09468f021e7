"""awa: jobs written by COPY, run by handlers in Python under its runtime in Rust."""

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlencode

import awa
import side
from psycopg.conninfo import conninfo_to_dict

MAX_WORKERS = 200
#: Its own view of all jobs takes a minute to be read when there are 50,000.
COMPLETED = "SELECT coalesce(sum(completed_count), 0) FROM awa.receipt_completion_batches"


@dataclass
class Nothing:
    number: int


def url() -> str:
    """The DSN as its driver wants it, a socket's folder among the parameters."""
    told = conninfo_to_dict(side.DSN)
    where = urlencode({k: told[k] for k in ("host", "port") if told.get(k)})
    return f"postgres://{told['user']}@localhost/{told['dbname']}?{where}"


async def pushed(client: awa.AsyncClient, jobs: int) -> float:
    await client.migrate()
    await client.install_queue_storage()
    begin = time.perf_counter()
    await client.enqueue_many_copy([Nothing(n) for n in range(jobs)], queue="q")
    return time.perf_counter() - begin


async def push(jobs: int) -> float:
    client = awa.AsyncClient(url())
    seconds = await pushed(client, jobs)
    await client.close()
    return side.rate(jobs, seconds, side.count("SELECT count(*) FROM awa.jobs"))


async def drain(jobs: int) -> float:
    client = awa.AsyncClient(url())
    await pushed(client, jobs)

    @client.task(Nothing, queue="q")
    async def nothing(job: object) -> None:
        pass

    begin = time.perf_counter()
    await client.start([("q", MAX_WORKERS)], poll_interval_ms=50)
    end = await asyncio.to_thread(side.until_done, f"SELECT WHERE ({COMPLETED}) < {jobs}")
    await client.shutdown()
    await client.close()
    return side.rate(jobs, end - begin, side.count(COMPLETED))


if __name__ == "__main__":
    side.main(asyncio.run, {"push": push, "drain": drain})
