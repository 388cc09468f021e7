"""What every test can ask for: an event loop of either kind, and a database of its own."""

import os
from collections.abc import Iterator

import anyio
import pytest
from psycopg.conninfo import conninfo_to_dict

from chancy import Chancy
from chancy_core import embedded
from tests.databases import database


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The DSN of a server on which tests may create databases: CHANCY_DSN, or one for this run."""
    told = os.environ.get("CHANCY_DSN")
    if told:
        yield told
        return
    with embedded.throwaway(settings={"max_connections": "200"}) as lease:
        yield lease.dsn


@pytest.fixture
def empty_dsn(server: str) -> Iterator[str]:
    """The DSN of a database of the test's own, with nothing in it."""
    with database(server) as dsn:
        yield dsn


def _prepare_template(dsn: str) -> None:
    """Bring the database that all others are copied from to the newest schema."""

    async def migrate() -> None:
        async with Chancy(dsn) as chancy:
            await chancy.migrate()

    anyio.run(migrate)


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a database with the newest schema, for `dsn` to copy."""
    with database(server) as dsn:
        _prepare_template(dsn)
        yield str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def dsn(server: str, template: str) -> Iterator[str]:
    """The DSN of a database of the test's own, with the newest schema."""
    with database(server, template=template) as dsn:
        yield dsn
