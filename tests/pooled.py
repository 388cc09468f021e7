"""The suite through a pooler: `CHANCY_TEST_POOLER=transaction` puts a PgBouncer before the server.

    CHANCY_TEST_POOLER=transaction pytest tests/acceptance tests/kit tests/postgres/test_store.py

What is asked of the database goes through it, by tests as well; what is told comes past it.
Workers in processes of their own hear nothing then: they find out by looking.
"""

import os
from collections.abc import Iterator

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chancy import Chancy

MODE = os.environ.get("CHANCY_TEST_POOLER")
#: The way to each database of a test that leads past the pooler, by the one that leads through it.
_direct: dict[str, str] = {}


def past(dsn: str) -> str:
    """The way to a test's database that leads past the pooler, for whoever needs a session."""
    return _direct.get(dsn, dsn)


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
    monkeypatch.setitem(_direct, through, direct)
    listens = Chancy.listen_conninfo.fget
    assert listens is not None
    monkeypatch.setattr(Chancy, "listen_conninfo", property(lambda self: past(listens(self))))
    yield through
