"""An application with one queue, and a stage for its jobs."""

from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import pytest

from chancy import Chancy, Queue
from tests.stage import Stage, pass_by, stages


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


@pytest.fixture
async def look(chancy: Chancy, dsn: str, stage: Stage) -> Callable[[], Awaitable[None]]:
    """Return when a worker has looked for work since: it has begun a job of another queue."""
    await chancy.declare(Queue("other", executor="async"))

    async def looked() -> None:
        stage.passed = anyio.Event()
        await chancy.push(pass_by.bind(stage=dsn))
        with anyio.fail_after(5):
            await stage.passed.wait()

    return looked
