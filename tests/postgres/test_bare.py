"""The yardstick measures what it says: each job goes through a claim and a settle, once."""

import ast
import inspect

import psycopg

from tests.benchmarks import bare


def test_it_drains_every_job_into_the_history(empty_dsn: str) -> None:
    assert bare.run(empty_dsn, jobs=450) > 0
    with psycopg.connect(empty_dsn) as conn:
        found = conn.execute(
            "SELECT count(*), count(DISTINCT id), min(claims), max(claims), min(attempts),"
            " count(lease_id), (SELECT count(*) FROM bare.jobs) FROM bare.history"
        ).fetchone()
    assert found == (450, 450, 1, 1, 1, 450, 0)


def test_it_knows_nothing_of_chancy() -> None:
    nodes = list(ast.walk(ast.parse(inspect.getsource(bare))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "." for node in nodes if isinstance(node, ast.ImportFrom)}
    assert "psycopg" in names
    assert not {name for name in names if name.startswith(("chancy", "tests", "."))}
