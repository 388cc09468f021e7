"""The suite through a pooler: `CHANCY_TEST_POOLER=transaction` puts a PgBouncer before the server.

    CHANCY_TEST_POOLER=transaction pytest tests/acceptance tests/kit tests/postgres/test_store.py

What is asked of the database goes through it, by tests as well; what is told comes past it.
"""

import os
from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chancy import Chancy

MODE = os.environ.get("CHANCY_TEST_POOLER")


@pytest.fixture(scope="session")
def pooler(chancy_server: str) -> Iterator[str | None]:
    """The way to the server through the pooler, if one is asked for."""
    if MODE is None:
        yield None
        return
    assert MODE == "transaction", f"CHANCY_TEST_POOLER is transaction, or not set; not {MODE!r}"
    from tests.faults.bouncer import bouncer

    with bouncer(chancy_server, sessions=20) as through:
        yield through


@pytest.fixture
def chancy_dsn(
    chancy_dsn: str, pooler: str | None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A database of the test's own, by way of the pooler if there is one."""
    if pooler is None:
        yield chancy_dsn
        return
    direct = make_conninfo(chancy_dsn)
    through = make_conninfo(pooler, dbname=conninfo_to_dict(direct)["dbname"])
    conninfo = Chancy.listen_conninfo.fget
    assert conninfo is not None

    def past(chancy: Chancy) -> str:
        told = conninfo(chancy)
        return direct if told == through else told

    monkeypatch.setattr(Chancy, "listen_conninfo", property(past))
    yield through
