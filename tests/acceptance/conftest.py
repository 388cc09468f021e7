"""An application with one queue, and a stage for its jobs."""

from collections.abc import AsyncIterator

import pytest

from chancy import Chancy, Queue
from tests.stage import Stage, stages


@pytest.fixture
def stage(dsn: str):
    """The stage of this test's jobs, under the name of its database."""
    stages[dsn] = Stage()
    yield stages[dsn]
    del stages[dsn]


@pytest.fixture
async def chancy(dsn: str) -> AsyncIterator[Chancy]:
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("q", executor="async", concurrency=4))
        yield chancy
