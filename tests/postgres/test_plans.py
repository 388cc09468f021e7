"""Plans depend neither on statistics, nor on how many rows there are, nor on when they were made.

Each statement of the hot path is carried out on tables of several sizes, under statistics that are
missing, wrong and right, planned for its parameters and not, and by plans that were made when the
table was empty. It reads no table of jobs as a whole, and no more of it than it is asked for.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString, cast
from uuid import UUID

import psycopg
import pytest
from attrs import frozen
from psycopg import sql

from chancy import Job, Queue
from chancy_core.identity import new_id
from chancy_core.job import State
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.place import FRONT, Place
from chancy_core.statement import Statement
from chancy_core.store import statements
from chancy_core.testing import database
from tests.postgres.stores import NAMES

SIZES = [0, 100_000, pytest.param(1_000_000, marks=pytest.mark.slow)]
QUEUES = [f"queue-{n}" for n in range(7)]
#: How many jobs of the worker that we are run at once.
HELD = 50
#: What a statement may read, for each job that it is asked for: rows of the table, and pages.
ROWS, PAGES = 3, 30
#: Pages that it may read besides: of the tables of queues and workers, and the tops of indexes.
BESIDES = 250

FILL: LiteralString = """
    INSERT INTO chancy_jobs (id, queue, func, args, meta, state, priority, max_attempts,
                             scheduled_at)
    SELECT (lpad(to_hex(1780000000000 + n / 100), 12, '0') || '7' || lpad(to_hex(n %% 100), 3, '0')
            || '8' || substr(md5(n::text), 1, 15))::uuid,  -- as those of clients: they grow
           'queue-' || n %% 7, 'f', '{}', '{}', (ARRAY['pending', 'scheduled'])[1 + n %% 2],
           n %% 5, 1, now() + (n - 3000) * interval '1 second'
      FROM generate_series(%s::int, %s) AS n
"""
RUN: LiteralString = """
    UPDATE chancy_jobs SET state = 'running', worker = %(worker)s, lease_id = gen_random_uuid()
     WHERE id = ANY(ARRAY(SELECT id FROM chancy_jobs WHERE state = 'pending' LIMIT %(count)s))
    RETURNING id, lease_id
"""
#: As if the table had never been analysed.
FORGET: LiteralString = "DELETE FROM pg_statistic WHERE starelid = 'chancy_jobs'::regclass"
UNSEEN: LiteralString = """
    UPDATE pg_class SET relpages = 0, reltuples = -1
     WHERE oid = 'chancy_jobs'::regclass
        OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'chancy_jobs'::regclass)
"""
STATISTICS: dict[str, list[LiteralString]] = {
    "of another day": [],
    "none": [FORGET, UNSEEN],
    "fresh": ["ANALYZE chancy_jobs"],
}


@frozen
class Read:
    """What a statement read of the table of jobs: rows, pages of all tables, and by which nodes."""

    rows: int
    pages: int
    nodes: frozenset[str]


def read(plan: Mapping[str, Any]) -> Read:
    pages = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    rows, nodes = 0, set()
    waiting = [plan]
    while waiting:
        node = waiting.pop()
        waiting += node.get("Plans", [])
        if node.get("Relation Name") == "chancy_jobs" and "Scan" in node["Node Type"]:
            removed = node.get("Rows Removed by Filter", 0)
            rows += round((node["Actual Rows"] + removed) * node["Actual Loops"])
            nodes.add(node["Node Type"])
    return Read(rows, pages, frozenset(nodes))


class Planned:
    """A database with some jobs, and the statements of ours on it, each prepared under its name."""

    def __init__(self, dsn: str, conn: psycopg.Connection) -> None:
        self.dsn = dsn
        self._conn = conn
        self._order: dict[str, list[str]] = {}

    def execute(self, text: LiteralString, *params: Any) -> list[Any]:
        cursor = self._conn.execute(text, *params)
        return cursor.fetchall() if cursor.description else []

    def run(self, statement: Statement[Any]) -> None:
        self._conn.execute(statement.text, statement.params)

    def begin(self, worker: UUID, queues: Sequence[str]) -> None:
        """Announce a worker, and declare its queues."""
        as_ = {"name": "w", "hostname": "h", "pid": 1, "tags": ["*"], "lease": 600.0}
        self.run(statements.announce(NAMES, worker, **cast("Any", as_)))
        for queue in queues:
            self.run(statements.declare(NAMES, Queue(queue), upsert=False))

    def prepare(self, mode: str, made: Mapping[str, tuple[Statement[Any], int]]) -> None:
        self._conn.execute("DEALLOCATE ALL")
        self._conn.execute(f"SET plan_cache_mode = force_{mode}_plan".encode())
        for name, (statement, _) in made.items():
            numbers: dict[str, int] = {}

            def number(match: "re.Match[str]", into: dict[str, int] = numbers) -> str:
                return f"${into.setdefault(match[1], len(into) + 1)}"

            text = re.sub(r"%\((\w+)\)s", number, statement.text.decode())
            self._conn.execute(f"PREPARE {name} AS {text}".encode())
            self._order[name] = list(numbers)

    def explain(self, name: str, statement: Statement[Any]) -> Read:
        """Carry out a prepared statement, and undo it."""
        given = sql.SQL(", ").join(sql.Literal(statement.params[n]) for n in self._order[name])
        execute = sql.SQL("EXECUTE {}").format(sql.Identifier(name))
        execute += sql.SQL("({})").format(given) if self._order[name] else sql.SQL("")
        self._conn.execute("BEGIN")
        try:
            explain = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ")
            row = self._conn.execute(explain + execute).fetchone()
        finally:
            self._conn.execute("ROLLBACK")
        return read(cast("tuple[Any]", row)[0][0]["Plan"])


@contextmanager
def planned(server: str, template: str) -> Iterator[Planned]:
    with (
        database(server, template=template) as dsn,
        psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as conn,
    ):
        conn.execute("ALTER TABLE chancy_jobs SET (autovacuum_enabled = false)")
        yield Planned(dsn, conn)


def settled(held: list[tuple[UUID, UUID]], verdict: Verdict) -> list[Settlement]:
    jobs: list[Any] = [type("Held", (), {"id": id_, "lease_id": lease}) for id_, lease in held]
    return [Settlement(job, Outcome(Kind.SUCCESS, "1"), verdict) for job in jobs]


def hot_path(worker: UUID, held: list[tuple[UUID, UUID]]) -> dict[str, tuple[Statement[Any], int]]:
    """The statements that a worker runs over and over, and how many jobs each is asked for."""
    free = dict.fromkeys(QUEUES, 20)
    places = {queue: Place({4: 100, 2: 200}) for queue in QUEUES}
    known = {lease: id_ for id_, lease in held[1:]}
    said = settled(held, Verdict(State.PENDING))
    return {
        "push": (statements.push(NAMES, {new_id(): Job("f") for _ in range(50)}), 50),
        "claim": (statements.claim(NAMES, worker, free), 140),
        "claim_on": (statements.claim(NAMES, worker, free, places=places), 140),
        "finish": (statements.finish(NAMES, settled(held, Verdict(State.SUCCEEDED))), HELD),
        "progress": (statements.progress(NAMES, [(s.job, "{}") for s in said]), HELD),
        "requeue": (statements.requeue(NAMES, said), HELD),
        "promote": (statements.promote(NAMES), 1000),
        "renew": (statements.renew(NAMES, worker, 10.0, 0.0), 0),
        "audit": (statements.audit(NAMES, worker, known), HELD),
        "give_back": (statements.give_back(NAMES, worker), HELD),
        "rescue": (statements.rescue(NAMES, 3, 100), 2 * HELD),
        "jobs_by_id": (statements.jobs_by_id(NAMES, [id_ for id_, _ in held]), HELD),
        "retry": (statements.retry(NAMES, [id_ for id_, _ in held]), HELD),
        "reprioritize": (
            statements.reprioritize(NAMES, {id_: 1 for id_, _ in held}, wait=False),
            HELD,
        ),
        "holders": (statements.holders(NAMES, ["a", "b"]), 0),
        "look": (statements.look(NAMES, QUEUES), len(QUEUES)),
        "orphaned": (statements.orphaned(NAMES), 2),
        "left_to_do": (statements.left_to_do(NAMES, [QUEUES[1], "none"], name="w", pid=1), HELD),
    }


def too_much(there: Planned, made: Mapping[str, tuple[Statement[Any], int]]) -> dict[str, Read]:
    """Carry out what is prepared; answers what read more than it may."""
    found = {name: there.explain(name, statement) for name, (statement, _) in made.items()}
    return {
        name: seen
        for name, seen in found.items()
        if "Seq Scan" in seen.nodes
        or seen.rows > ROWS * made[name][1] + HELD
        or seen.pages > PAGES * made[name][1] + BESIDES
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", SIZES)
def test_no_plan_reads_all_jobs(server: str, chancy_template: str, size: int) -> None:
    """Kept since the table was small; with statistics of another day, with none, and with fresh."""
    worker, gone = new_id(), new_id()
    with planned(server, chancy_template) as there:
        there.begin(worker, QUEUES)
        there.execute(FILL, [1, 50])
        there.execute("ANALYZE chancy_jobs")
        there.prepare("generic", hot_path(worker, []))
        too_much(there, hot_path(worker, []))  # so that plans are made, and kept
        there.execute(FILL, [51, 50 + size])
        there.execute(RUN, {"worker": gone, "count": HELD})
        made = hot_path(worker, there.execute(RUN, {"worker": worker, "count": HELD}))
        failed = {("generic", "kept"): too_much(there, made)}
        for statistics, make in STATISTICS.items():
            for change in make:
                there.execute(change)
            for mode in ("custom", "generic"):
                there.prepare(mode, made)
                failed[mode, statistics] = too_much(there, made)
    assert {when: what for when, what in failed.items() if what} == {}


#: What lies in the table besides 2,000 jobs in line.
GROWN = {
    "a long line": ("pending", 0, 300_000),
    "many for later that are more urgent": ("scheduled", 9, 100_000),
    "a million for later that are more urgent": ("scheduled", 9, 1_000_000),
}


def grow(there: Planned, state: str, priority: int, queues: int, numbers: range) -> None:
    fill = FILL.replace("'queue-' || n %% 7", "'queue-' || n %% %s")
    fill = fill.replace("(ARRAY['pending', 'scheduled'])[1 + n %% 2]", "%s")
    fill = fill.replace("n %% 5, 1, now() + (n - 3000) *", "%s, 1, now() + interval '1 day' + n *")
    there.execute(fill, [queues, state, priority, numbers.start, numbers.stop - 1])


def pages_of_a_claim(there: Planned, worker: UUID, queues: int, place: Place = FRONT) -> int:
    """Claim 200 jobs, of all queues together."""
    free = {f"queue-{n}": 200 // queues for n in range(queues)}
    places = dict.fromkeys(free, place)
    made = {"claim": (statements.claim(NAMES, worker, free, places=places), 200)}
    there.prepare("generic", made)
    seen = there.explain("claim", made["claim"][0])
    assert seen.rows == 400, "each is read when it is locked, and when it is written"
    return seen.pages


@contextmanager
def lined_up(server: str, template: str, queues: int) -> Iterator[tuple[Planned, UUID]]:
    worker = new_id()
    with planned(server, template) as there:
        there.begin(worker, [f"queue-{n}" for n in range(queues)])
        grow(there, "pending", 0, queues, range(2_000))
        yield there, worker


@pytest.mark.parametrize(
    "what",
    [pytest.param(what, marks=pytest.mark.slow if "million" in what else ()) for what in GROWN],
)
def test_a_claim_reads_no_more_of_a_large_table(
    server: str, chancy_template: str, what: str
) -> None:
    state, priority, count = GROWN[what]
    with lined_up(server, chancy_template, 1) as (there, worker):
        before = pages_of_a_claim(there, worker, 1)
        grow(there, state, priority, 1, range(2_000, 2_000 + count))
        after = pages_of_a_claim(there, worker, 1)
    assert after <= 1.5 * before


def test_a_claim_of_a_hundred_queues_reads_no_more_than_of_one(
    server: str, chancy_template: str
) -> None:
    with lined_up(server, chancy_template, 1) as (there, worker):
        one = pages_of_a_claim(there, worker, 1)
    with lined_up(server, chancy_template, 100) as (there, worker):
        hundred = pages_of_a_claim(there, worker, 100)
    assert hundred <= 1.5 * one


def test_a_claim_at_a_place_reads_nothing_of_the_jobs_that_were_before(
    server: str, chancy_template: str
) -> None:
    """While somebody's snapshot keeps VACUUM, and claims themselves, from clearing them away."""
    with lined_up(server, chancy_template, 1) as (there, worker):
        before = pages_of_a_claim(there, worker, 1)
        with psycopg.connect(there.dsn) as pin:
            pin.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            pin.execute("SELECT FROM chancy_queues")
            grow(there, "pending", 0, 1, range(2_000, 30_000))
            there.execute(RUN, {"worker": worker, "count": 30_000})
            (last,) = there.execute("SELECT max(seq) FROM chancy_jobs")
            there.execute("DELETE FROM chancy_jobs")
            grow(there, "pending", 0, 1, range(30_000, 32_000))
            front = pages_of_a_claim(there, worker, 1)
            place = pages_of_a_claim(there, worker, 1, Place({0: last[0]}))
    assert front > 1.5 * before, "nothing was in the way"
    assert place <= 1.5 * before
