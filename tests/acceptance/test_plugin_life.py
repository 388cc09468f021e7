"""What a plugin does and hears in the life of a worker: its services, and what was committed."""

from collections.abc import Sequence

import anyio
import pytest

from chancy import Chancy, Queue, QueuedJob, State, Worker, job
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service, WorkerHost
from chancy_core.outcome import Settlement

pytestmark = pytest.mark.anyio


@job(name="plugin_life.add", queue="q")
async def add(a: int, b: int) -> int:
    return a + b


class Companion:
    """Stays with a worker, and reads each job that it hears of from the database."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.seen: list[QueuedJob] = []
        self.heard = anyio.Event()

    @hookimpl
    def chancy_worker_services(self, worker: WorkerHost) -> list[Service]:
        async def stay() -> None:
            self.happened.append(f"begun with {worker.name}")
            try:
                await anyio.sleep_forever()
            finally:
                self.happened.append(f"ended after {len(self.seen)}")

        return [Service("stay", stay)]

    @hookimpl
    async def chancy_jobs_settled(self, settled: Sequence[Settlement], worker: WorkerHost) -> None:
        chancy = worker.chancy
        assert isinstance(chancy, Chancy)
        self.seen += await chancy.get_jobs([one.job.id for one in settled])
        self.heard.set()


async def test_a_service_lives_as_long_as_its_worker_and_an_observer_hears_after_the_commit(
    dsn: str,
) -> None:
    companion = Companion()
    async with Chancy(dsn, plugins=[companion]) as chancy:
        await chancy.declare(Queue("q", executor="async"))
        async with Worker(chancy, name="alpha"):
            reference = await add.push(chancy, 1, 2)
            with anyio.fail_after(30):
                await companion.heard.wait()
            assert companion.happened == ["begun with alpha"]
        assert companion.happened == ["begun with alpha", "ended after 1"]
    (seen,) = companion.seen
    assert (seen.id, seen.state, seen.result()) == (reference.id, State.SUCCEEDED, 3)
