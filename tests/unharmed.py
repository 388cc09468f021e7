"""An innocent queue that is worked on while somebody does harm: it must go on."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chancy import Chancy, State, Worker
from tests.stage import push, stages
from tests.told import hearing


async def innocent_job(chancy: Chancy, dsn: str) -> None:
    """Push an innocent job, and see it succeed."""
    (reference,) = await push(chancy, dsn, 1)
    assert (await chancy.wait_for_job(reference, timeout=20)).state is State.SUCCEEDED


@asynccontextmanager
async def unharmed(chancy: Chancy, dsn: str, **options) -> AsyncIterator[Worker]:
    """A worker that runs the jobs of `q`; after whatever the block does, it still does."""
    stages[dsn].go.set()
    async with hearing(Worker(chancy, name="innocent", **options)) as worker:
        await innocent_job(chancy, dsn)
        yield worker
        await innocent_job(chancy, dsn)
        alive = [(w.name, w.pid > 0) for w in await chancy.get_all_workers() if w.alive]
        assert ("innocent", True) in alive
