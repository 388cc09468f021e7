"""What every test can ask for: an event loop of either kind, and a database of its own."""

import os
import uuid
from collections.abc import Iterator

import psycopg
import pytest


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def server() -> str:
    """The DSN of a server on which tests may create databases."""
    return os.environ["CHANCY_DSN"]


@pytest.fixture
def empty_dsn(server: str) -> Iterator[str]:
    """The DSN of a database of the test's own, with nothing in it."""
    name = f"chancy_test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        yield psycopg.conninfo.make_conninfo(server, dbname=name)
        conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
