"""A role that may connect, and has been granted nothing at all."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chancy import Chancy, Queue
from tests.stage import push


@pytest.fixture
def stranger(dsn: str) -> Iterator[str]:
    """How that role connects to the test's database."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS chancy_stranger")
        conn.execute("CREATE ROLE chancy_stranger LOGIN")
        yield make_conninfo(dsn, user="chancy_stranger")
        conn.execute("DROP ROLE chancy_stranger")


@pytest.fixture
async def slow(chancy: Chancy) -> str:
    """The name of a queue at which no worker looks by itself for an hour."""
    await chancy.declare(Queue("slow", executor="async", polling_interval=3600))
    return "slow"


async def runs_when_told(chancy: Chancy, dsn: str) -> None:
    """See that a worker is told of a push into the slow queue, and runs it."""
    (reference,) = await push(chancy, dsn, 1, queue="slow")
    await chancy.wait_for_job(reference, timeout=10)
