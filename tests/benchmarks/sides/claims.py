"""What a claim costs: its time, as a worker sees it, and the pages that it touches."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
from attrs import frozen

from chancy_core.statement import Statement, load
from chancy_core.store import statements
from chancy_core.store.store import Store
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work

CLAIM = work.NAMES.render(load("claim")).encode()


@frozen
class Claim:
    """One claim: when it ended, how long it took, and how many rows it answered."""

    at: float
    seconds: float
    rows: int


@contextmanager
def timed() -> Iterator[list[Claim]]:
    """The claims that workers of this process make in the block, in the order of their ends.

    Their time is the worker's: what it waits for a connection and for its turn is part of it.
    """
    found: list[Claim] = []
    run = Store.run

    async def watched(self: Store, *asked: Statement[Any]) -> Any:
        if not any(statement.text == CLAIM for statement in asked):
            return await run(self, *asked)
        begin = time.monotonic()
        answer = await run(self, *asked)
        end = time.monotonic()
        found.append(Claim(end, end - begin, len(answer)))
        return answer

    Store.run = watched  # type: ignore[method-assign,assignment]
    try:
        yield found
    finally:
        Store.run = run  # type: ignore[method-assign]
    if not found:
        raise SystemExit("no claim was seen: has a worker another way to the database by now?")


def p99_ms(claims: Sequence[Claim]) -> float:
    """The time that all but one in a hundred take at most, of those that found something.

    Infinite if none did: jobs wait then, and nobody gets them.
    """
    took = [one.seconds for one in claims if one.rows]
    return 1000 * work.percentile(took, 0.99) if took else float("inf")


def buffers_per_row(free: dict[str, int], times: int) -> float:
    """The pages that the real claim touches for each row that it claims, by EXPLAIN (BUFFERS).

    So many claims are carried out by a worker that is none; what it holds is given back.
    """
    nobody = uuid4()
    pages = rows = 0
    with psycopg.connect(side.DSN, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO chancy_workers (id, name, hostname, pid, tags, expires_at)"
            " VALUES (%s, 'nobody', 'nowhere', 0, '{}', now() + interval '1 hour')",
            [nobody],
        )
        for _ in range(times):
            more, claimed = _explained(conn, nobody, free)
            pages, rows = pages + more, rows + claimed
        back = statements.give_back(work.NAMES, nobody)
        conn.execute(back.text, back.params)
        conn.execute("DELETE FROM chancy_workers WHERE id = %s", [nobody])
    if not rows:
        raise SystemExit("EXPLAIN has claimed nothing")
    side.analyze("chancy_jobs")
    return pages / rows


def _explained(conn: psycopg.Connection, worker: UUID, free: dict[str, int]) -> tuple[int, int]:
    claim = statements.claim(work.NAMES, worker, free)
    explain = b"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) " + claim.text
    ((plan,),) = conn.execute(explain, claim.params).fetchall()
    node = plan[0]["Plan"]
    return node["Shared Hit Blocks"] + node["Shared Read Blocks"], round(node["Actual Rows"])
