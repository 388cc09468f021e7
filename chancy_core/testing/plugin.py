"""The fixtures, which pytest finds by the entry point `pytest11`.

Every run of pytest imports this module where the package is installed: pytest and the standard
library alone, until a fixture is used.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from chancy_core.app import Chancy
    from chancy_core.testing.clock import Clock
    from chancy_core.testing.enqueued import Enqueued


@pytest.fixture(scope="session")
def chancy_server() -> Iterator[str]:
    """The DSN of a server on which tests may create databases.

    `CHANCY_TEST_DSN`, else `CHANCY_DSN`, else a server of this run's own, which needs the extra
    `embedded` or PostgreSQL's programs. Nothing that is on the server already is touched.
    """
    told = os.environ.get("CHANCY_TEST_DSN") or os.environ.get("CHANCY_DSN")
    if told:
        yield told
        return
    from chancy_core import embedded
    from chancy_core.errors import EmbeddedError

    try:
        lease = embedded.throwaway(settings={"max_connections": "200"})
    except EmbeddedError as exc:
        pytest.fail(
            "the fixtures of chancy need a PostgreSQL: name one by CHANCY_TEST_DSN, or "
            f'`pip install "chancy[embedded]"`. {exc}',
            pytrace=False,
        )
    with lease:
        yield lease.dsn


@pytest.fixture
def chancy_empty_dsn(chancy_server: str) -> Iterator[str]:
    """The DSN of a database of the test's own, with nothing in it."""
    from chancy_core.testing.databases import database

    with database(chancy_server) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def chancy_prepare() -> Callable[[str], None]:
    """What is done, once a run, to the database that all others are copied from; given its DSN.

    Override it to make the tables of your application.
    """
    return lambda _: None


@pytest.fixture(scope="session")
def chancy_template(chancy_server: str, chancy_prepare: Callable[[str], None]) -> Iterator[str]:
    """The name of the database that `chancy_dsn` copies: with the newest schema, and prepared."""
    from psycopg.conninfo import conninfo_to_dict

    from chancy_core.app import Chancy
    from chancy_core.testing.databases import database

    with database(chancy_server) as dsn:
        with Chancy(dsn) as chancy:
            chancy.sync_migrate()
        chancy_prepare(dsn)
        yield str(conninfo_to_dict(dsn)["dbname"])


@pytest.fixture
def chancy_dsn(chancy_server: str, chancy_template: str) -> Iterator[str]:
    """The DSN of a database of the test's own, with the newest schema."""
    from chancy_core.testing.databases import database

    with database(chancy_server, template=chancy_template) as dsn:
        yield dsn


@pytest.fixture
def chancy_under_test(chancy_dsn: str) -> "Chancy":
    """The application that `chancy_app` opens. Override it to test your own, not yet opened."""
    from chancy_core.app import Chancy

    return Chancy(chancy_dsn)


@pytest.fixture
async def chancy_opened(chancy_under_test: "Chancy") -> "AsyncIterator[Chancy]":
    """The application, open: for `chancy_app` in tests that anyio runs."""
    async with chancy_under_test:
        yield chancy_under_test


@pytest.fixture
def chancy_app(request: pytest.FixtureRequest, chancy_under_test: "Chancy") -> "Iterator[Chancy]":
    """An application on a database of the test's own.

    It is open in a coroutine that anyio's plugin runs, on whatever loop that uses; in a plain test
    its `sync_` twins work. Under another plugin for coroutines open it: `async with chancy_app:`.
    """
    from chancy_core.statement import Names
    from chancy_core.testing.threads import apart

    if chancy_under_test.names != Names():  # the template has tables by the usual names alone
        apart(chancy_under_test.sync_migrate)
    if "anyio_backend" in request.fixturenames:
        request.getfixturevalue("chancy_opened")
    yield chancy_under_test
    apart(chancy_under_test.sync_close)


@pytest.fixture
def chancy_enqueued(chancy_app: "Chancy") -> "Enqueued":
    """What the test has pushed, and has not been run to its end."""
    from chancy_core.testing.enqueued import Enqueued

    return Enqueued(chancy_app)


@pytest.fixture
def chancy_clock(chancy_app: "Chancy") -> "Clock":
    """The clock of the test's database, which can be moved."""
    from chancy_core.testing.clock import Clock

    return Clock(chancy_app)
