"""Single pushes, each committed before the next, by one or more client processes.

    python -m tests.benchmarks.sides.singles [--quiet | --within] CELL JOBS

`--quiet` pushes without wake-ups; `--within` in a transaction of the caller's own (`push_ex`),
which writes a row beside it. Somebody listens, as workers do, but runs nothing: what is measured is
pushing. The clients begin together, and each pushes its part.
"""

import argparse
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier

import anyio
import psycopg
from psycopg import sql

from chancy import Chancy
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work

CLIENTS = {"push-one": 1, "push-eight": 8}
#: Seconds after the first push in which its hint is sent, for which a connection is opened.
WARM = 0.5


async def client(jobs: int, start: Barrier, *, wakes: bool) -> None:
    """Push jobs, one after the other; all clients begin together."""
    async with Chancy(side.DSN, notifications=wakes) as chancy:
        await chancy.push(work.nothing.bind(number=-1))
        await anyio.sleep(WARM)
        start.wait()
        for number in range(jobs):
            await chancy.push(work.nothing.bind(number=number))


def client_within(jobs: int, start: Barrier) -> None:
    """Write a row and push a job beside it, in one transaction, one after the other."""
    chancy = Chancy(side.DSN)
    with psycopg.connect(side.DSN) as conn:
        chancy.push_ex(conn, work.nothing.bind(number=-1))
        conn.commit()
        start.wait()
        for number in range(jobs):
            conn.execute("INSERT INTO orders (number) VALUES (%s)", [number])
            chancy.push_ex(conn, work.nothing.bind(number=number))
            conn.commit()


def _client(kind: str, jobs: int, start: Barrier) -> None:
    if kind == "within":
        client_within(jobs, start)
    else:

        async def main() -> None:
            await client(jobs, start, wakes=kind == "awake")

        anyio.run(main, backend=work.BACKEND)


@contextmanager
def listening() -> Iterator[list[str]]:
    """Hear the hints, as a worker does, and count them."""
    heard: list[str] = []
    with psycopg.connect(side.DSN, autocommit=True) as conn:
        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(work.NAMES.channel)))
        over = threading.Event()

        def hear() -> None:
            while not over.is_set():
                heard.extend(note.payload for note in conn.notifies(timeout=0.2))

        thread = threading.Thread(target=hear)
        thread.start()
        try:
            yield heard
        finally:
            over.set()
            thread.join()


def measure(kind: str, clients: int, jobs: int) -> dict[str, float]:
    """So many jobs pushed by so many clients."""
    work.run(work.prepare())
    with psycopg.connect(side.DSN) as conn:
        conn.execute("CREATE TABLE orders (number integer)")
    each = max(1, jobs // clients)
    afresh = multiprocessing.get_context("spawn")
    start = afresh.Barrier(clients + 1)
    crew = [afresh.Process(target=_client, args=(kind, each, start)) for _ in range(clients)]
    with listening() as heard:
        for one in crew:
            one.start()
        start.wait(timeout=120)
        begin = time.perf_counter()
        for one in crew:
            one.join()
        seconds = time.perf_counter() - begin
    done = side.count("SELECT count(*) FROM chancy_jobs WHERE args ->> 'number' <> '-1'")
    return {"rate": side.rate(each * clients, seconds, done), "hints": len(heard)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quiet", dest="kind", action="store_const", const="quiet")
    kind.add_argument("--within", dest="kind", action="store_const", const="within")
    parser.add_argument("cell", choices=CLIENTS)
    parser.add_argument("jobs", type=int)
    told = parser.parse_args()
    side.answer(measure(told.kind or "awake", CLIENTS[told.cell], told.jobs))


if __name__ == "__main__":
    main()
