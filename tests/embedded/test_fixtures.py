"""The databases that the fixtures hand out."""

import psycopg
import pytest

from chancy_core.testing import database


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_has_a_database_of_its_own(dsn: str, turn: int) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE mine (turn int)")


def test_an_empty_database_holds_nothing(empty_dsn: str, dsn: str) -> None:
    assert empty_dsn != dsn
    with psycopg.connect(empty_dsn) as conn:
        row = conn.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert row == (0,)


def test_a_database_is_dropped_though_somebody_is_connected(server: str) -> None:
    with database(server) as dsn:
        conn = psycopg.connect(dsn)
    with conn, pytest.raises(psycopg.OperationalError):
        conn.execute("SELECT 1")


async def test_fixtures_serve_both_event_loops(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT 1").fetchone() == (1,)
