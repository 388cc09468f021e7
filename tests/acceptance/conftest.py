"""An application with one queue, and a stage for its jobs."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import anyio
import pytest

from chancy import Chancy, Queue
from chancy_core import embedded
from chancy_core.embedded import postmaster
from chancy_core.embedded.temporary import roomy
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


@pytest.fixture
def server_home() -> Iterator[Path]:
    """Where an embedded server of this test's own lives, and nothing may be left running.

    Not pytest's tmp_path, where root's servers, run by another user, cannot go.
    """
    home = Path(tempfile.mkdtemp(prefix="chancy-home-", dir=roomy()))
    home.chmod(0o755)
    yield home
    left = []
    for folder in home.glob("pg*"):
        embedded.stop(folder)
        left += postmaster.orphans(folder / "data")
    shutil.rmtree(home)
    assert not left
