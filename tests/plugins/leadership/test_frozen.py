"""Leaders that are killed, and such as stand still and wake up in another's term (D5)."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from chancy import Chancy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MEMBER = """
import sys

import anyio

from chancy import Chancy, Worker
from chancy_core.hookspecs import hookimpl
from chancy_core.statement import Statement, nothing
from chancy_plugins.leadership import led


class Marking:
    @hookimpl
    def chancy_worker_services(self, worker):
        database = worker.chancy.database

        async def mark(term):
            params = {"term": term.number, "worker": worker.name}
            text = "INSERT INTO {marks} (term, worker) VALUES (%(term)s, %(worker)s)"
            write = Statement.written(text, database.names, params, nothing)
            while True:
                await database.run(term.fence(database.names), write)
                await anyio.sleep(0.005)

        return [led(worker, "marks", mark, ttl=1.5)]


async def main():
    async with Chancy(sys.argv[1], plugins=[Marking()]) as chancy:
        await Worker(chancy, name=sys.argv[2]).start()


anyio.run(main, backend=sys.argv[3])
"""


@contextmanager
def crew(dsn: str, backend: str, folder: Path, names: str) -> Iterator[dict[str, subprocess.Popen]]:
    script = folder / "member.py"
    script.write_text(MEMBER)
    members = {
        name: subprocess.Popen(
            [sys.executable, script, dsn, name, backend], stderr=subprocess.DEVNULL
        )
        for name in names
    }
    try:
        yield members
    finally:
        for member in members.values():
            member.kill()
            member.wait()


def until(answer: Callable[[], str | None], within: float = 40) -> str:
    end = time.monotonic() + within
    while time.monotonic() < end:
        if found := answer():
            return found
        time.sleep(0.02)
    raise TimeoutError


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_a_frozen_leader_writes_when_it_wakes_up_is_not_written(
    chancy_app: Chancy, chancy_dsn: str, tmp_path: Path, backend: str
) -> None:
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE chancy_marks "
            "(id bigserial PRIMARY KEY, term bigint NOT NULL, worker text NOT NULL)"
        )

        def last() -> str | None:
            row = conn.execute("SELECT worker FROM chancy_marks ORDER BY id DESC LIMIT 1")
            found = row.fetchone()
            return found and found[0]

        with crew(chancy_dsn, backend, tmp_path, "abc") as members:
            for way in (signal.SIGSTOP, signal.SIGSTOP, signal.SIGKILL):
                leader = until(last)
                os.kill(members[leader].pid, way)
                until(lambda leader=leader: found if (found := last()) != leader else None)
                if way is signal.SIGSTOP:
                    os.kill(members[leader].pid, signal.SIGCONT)
                time.sleep(1)
        terms = conn.execute("SELECT term, worker FROM chancy_marks ORDER BY id").fetchall()
    numbers = [term for term, _ in terms]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) >= 4
    assert len({(term, worker) for term, worker in terms}) == len(set(numbers))
