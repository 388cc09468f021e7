"""A database that the tests of a module share, and ways to look at it from outside."""

import uuid
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo


@pytest.fixture(scope="module")
def driver_dsn(server: str) -> Iterator[str]:
    name = f"chancy_driver_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        yield make_conninfo(server, dbname=name)
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def outside(driver_dsn: str) -> Iterator[psycopg.Connection]:
    """An ordinary connection, which sees what the tested ones leave behind."""
    with psycopg.connect(driver_dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def app(request: pytest.FixtureRequest) -> str:
    """A name by which the connections of this test are known to the server."""
    return uuid.uuid4().hex


@pytest.fixture
def sessions(outside: psycopg.Connection, app: str) -> Callable[[], list[int]]:
    """The server processes of this test's connections."""

    def look() -> list[int]:
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        return [row[0] for row in outside.execute(query, [app])]

    return look
