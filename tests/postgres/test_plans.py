"""Plans must depend neither on statistics nor on whether PostgreSQL plans for the parameters."""

import re
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from chancy_core.identity import new_id
from chancy_core.job import State
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.statement import Statement
from chancy_core.store import statements
from tests.postgres.stores import NAMES

ROWS = 5_000
FILL: LiteralString = """
    INSERT INTO chancy_jobs (id, queue, func, args, meta, state, priority, max_attempts, worker,
                             lease_id, scheduled_at)
    SELECT gen_random_uuid(), 'queue-' || n %% 7, 'f', '{}', '{}',
           (ARRAY['pending', 'running', 'scheduled'])[1 + n %% 3], n %% 5, 1,
           CASE WHEN n %% 3 = 1 THEN gen_random_uuid() END,
           CASE WHEN n %% 3 = 1 THEN gen_random_uuid() END,
           now() + n * interval '1 second'
      FROM generate_series(1, %s) AS n
"""


Nodes = list[tuple[str, str]]


def nodes(plan: dict[str, Any]) -> Nodes:
    found = [(plan["Node Type"], plan.get("Relation Name", ""))]
    for child in plan.get("Plans", []):
        found += nodes(child)
    return found


def explain(conn: psycopg.Connection, statement: Statement[Any], *, generic: bool) -> Nodes:
    """Return the nodes of the plan by which a prepared statement of ours is run."""
    numbers: dict[str, int] = {}

    def number(match: "re.Match[str]") -> str:
        return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    text = re.sub(r"%\((\w+)\)s", number, statement.text.decode())
    conn.execute(f"PREPARE it AS {text}".encode())
    given = sql.SQL(", ").join(sql.Literal(statement.params[name]) for name in numbers)
    given = sql.SQL("({})").format(given) if numbers else sql.SQL("")
    row = conn.execute(sql.SQL("EXPLAIN (FORMAT JSON) EXECUTE it") + given).fetchone()
    kind = "SELECT generic_plans > 0 FROM pg_prepared_statements WHERE name = 'it'"
    made = conn.execute(kind).fetchone()
    conn.execute("DEALLOCATE it")
    assert row is not None
    assert made == (generic or not numbers,), "this is not the kind of plan asked for"
    return nodes(row[0][0]["Plan"])


def example_statements() -> dict[str, Statement[Any]]:
    ids = [new_id() for _ in range(50)]
    settled = []
    for id_ in ids:
        job: Any = type("Held", (), {"id": id_, "lease_id": id_})
        settled.append(Settlement(job, Outcome(Kind.SUCCESS, "1"), Verdict(State.SUCCEEDED)))
    return {
        "claim": statements.claim(NAMES, ids[0], {f"queue-{n}": 10 for n in range(3)}),
        "finish": statements.finish(NAMES, settled),
        "requeue": statements.requeue(NAMES, settled),
        "promote": statements.promote(NAMES),
        "give_back": statements.give_back(NAMES, ids[0]),
        "holders": statements.holders(NAMES, ["a", "b"]),
        "look": statements.look(NAMES, ["queue-1", "queue-2"]),
        "orphaned": statements.orphaned(NAMES),
        "left_to_do": statements.left_to_do(NAMES, ["queue-1", "none"], name="w", pid=1),
        "jobs_by_id": statements.jobs_by_id(NAMES, ids),
        "retry": statements.retry(NAMES, ids),
    }


@pytest.mark.parametrize("mode", ["custom", "generic"])
@pytest.mark.parametrize("statistics", ["none", "of an empty table", "fresh"])
def test_no_plan_reads_all_jobs(dsn: str, mode: str, statistics: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE chancy_jobs SET (autovacuum_enabled = false)")
        if statistics == "of an empty table":
            conn.execute("VACUUM ANALYZE chancy_jobs")
        conn.execute(FILL, [ROWS])
        if statistics == "fresh":
            conn.execute("ANALYZE chancy_jobs")
        conn.execute(f"SET plan_cache_mode = force_{mode}_plan".encode())
        plans = {
            name: explain(conn, made, generic=mode == "generic")
            for name, made in example_statements().items()
        }
    assert all("chancy_jobs" in {table for _, table in plan} for plan in plans.values())
    assert {name for name, plan in plans.items() if ("Seq Scan", "chancy_jobs") in plan} == set()
