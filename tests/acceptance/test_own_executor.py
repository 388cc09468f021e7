"""An executor of one's own: it may give functions what only the worker has."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self
from uuid import UUID

import psycopg
import pytest

from chancy import Chancy, Limit, Queue, QueuedJob, State, Worker, job
from chancy_core import discovery, heartbeat
from chancy_core.executor import Call, Capability
from chancy_core.identity import new_id
from chancy_core.store import statements
from chancy_executors.aio import AsyncExecutor
from tests.stage import Stage, push

pytestmark = pytest.mark.anyio


@job(name="own.price", queue="shop")
async def price(of: str, *, shop: Any = None) -> int:
    return shop[of]


class ShopExecutor(AsyncExecutor):
    """Opens something once, and gives it to each function."""

    async def __aenter__(self) -> Self:
        self.shop = {"tea": 3}
        return await super().__aenter__()

    async def run(self, call: Call) -> Any:
        func, arguments = call.resolve(self.capabilities)
        return await func(**arguments, shop=self.shop)


class TwoExecutor(AsyncExecutor):
    """Runs two at once, unless the queue says otherwise."""

    default_concurrency = 2


class NosyExecutor(AsyncExecutor):
    """Looks at each result, and does not like any."""

    async def run(self, call: Call) -> Any:
        raise ValueError(f"I do not like {await super().run(call)}")


class FarExecutor(AsyncExecutor):
    """Runs what outlives the worker, or so it says; says of each call how it ended."""

    capabilities = Capability.ASYNC | Capability.REMOTE
    wanted: ClassVar[list[bool]] = []

    async def run(self, call: Call) -> Any:
        try:
            return await super().run(call)
        except BaseException:
            self.wanted.append(not call.unwanted)
            raise


class HearingExecutor(AsyncExecutor):
    """Looks at the rows of jobs when it hears that their outcomes are written."""

    dsn: ClassVar[str]
    written: ClassVar[list[tuple[UUID, str]]] = []

    def settled(self, jobs: Sequence[QueuedJob]) -> None:
        query = "SELECT id, state FROM chancy_jobs_v1 WHERE id = ANY(%s)"
        with psycopg.connect(self.dsn) as conn:
            self.written.extend(conn.execute(query, [[job.id for job in jobs]]))


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    FarExecutor.wanted.clear()
    HearingExecutor.written.clear()
    load = discovery.load
    ours = {
        "shop": ShopExecutor,
        "two": TwoExecutor,
        "nosy": NosyExecutor,
        "far": FarExecutor,
        "hearing": HearingExecutor,
    }
    monkeypatch.setattr(
        discovery, "load", lambda group, name: ours[name] if name in ours else load(group, name)
    )


@pytest.mark.usefixtures("_installed")
async def test_an_executor_gives_functions_what_it_holds_open(chancy: Chancy):
    await chancy.declare(Queue("shop", executor="shop"))
    async with Worker(chancy):
        done = await chancy.wait_for_job(await price.push(chancy, of="tea"), timeout=20)
    assert done.result() == 3
    assert done.kwargs == {"of": "tea"}


@pytest.mark.usefixtures("_installed")
async def test_a_queue_leaves_its_concurrency_to_the_executor(
    chancy: Chancy, dsn: str, stage: Stage
):
    await chancy.declare(Queue("q", executor="two"), upsert=True)
    references = await push(chancy, dsn, 5)
    async with Worker(chancy):
        await stage.until_begun(2)
        stage.go.set()
        await chancy.wait_for_jobs(references, timeout=20)
    assert stage.most == 2


@pytest.mark.usefixtures("_installed")
async def test_what_an_executor_raises_is_the_jobs_error(chancy: Chancy, dsn: str, stage: Stage):
    stage.go.set()
    await chancy.declare(Queue("nosy", executor="nosy"))
    (reference,) = await push(chancy, dsn, 1, queue="nosy")
    (other,) = await push(chancy, dsn, 1)
    async with Worker(chancy):
        done, neighbour = await chancy.wait_for_jobs([reference, other], timeout=20)
    assert (done.state, done.attempts) == (State.FAILED, 1)
    assert done.errors[0].message == "I do not like 0"
    assert neighbour.state is State.SUCCEEDED


@pytest.mark.usefixtures("_installed")
async def test_an_executor_hears_of_outcomes_once_they_are_written(
    chancy: Chancy, dsn: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(HearingExecutor, "dsn", dsn, raising=False)
    stage.go.set()
    await chancy.declare(Queue("q", executor="hearing"), upsert=True)
    references = await push(chancy, dsn, 20)
    async with Worker(chancy):
        await chancy.wait_for_jobs(references, timeout=20)
    assert sorted(HearingExecutor.written) == sorted((each.id, "succeeded") for each in references)


async def lose(chancy: Chancy, queues: Sequence[str]) -> None:
    """Claim a job of each queue for a worker that is gone."""
    gone, names = new_id(), chancy.names
    there = statements.announce(names, gone, name="g", hostname="h", pid=1, tags=[], lease=60)
    await chancy.store.run(there)
    claimed = await chancy.store.run(statements.claim(names, gone, dict.fromkeys(queues, 1)))
    assert len(claimed) == len(queues)
    await chancy.store.run(statements.retire(names, gone))


@pytest.mark.usefixtures("_installed")
async def test_what_runs_far_away_is_no_crash_when_its_worker_dies(
    chancy: Chancy, dsn: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    """Whoever takes it back runs neither that queue, nor has it ever."""
    monkeypatch.setattr(heartbeat, "LEASE", 1.0)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.2)
    await chancy.declare(Queue("far", executor="far", tags=["nowhere"]))
    far, near = [(await push(chancy, dsn, 1, queue=queue))[0] for queue in ("far", "q")]
    await lose(chancy, ["far", "q"])
    async with Worker(chancy) as worker:
        with worker.events.subscribe("job.rescued") as rescued:
            told = {(await rescued.next(20)).subject for _ in range(2)}
            assert told == {str(far.id), str(near.id)}
        stage.go.set()
    found = await chancy.get_jobs([far, near])
    assert [job.crashes for job in found] == [0, 1]


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("end", ["stop", "cancel", "timeout"])
async def test_what_ends_far_away_knows_whether_it_is_wanted(
    chancy: Chancy, dsn: str, stage: Stage, end: str
):
    """When its worker stops, the job goes back into the queue, and could go on where it runs."""
    await chancy.declare(Queue("far", executor="far"))
    limits = [Limit(Limit.Type.TIME, 0.3)] if end == "timeout" else []
    (reference,) = await push(chancy, dsn, 1, queue="far", limits=limits)
    async with Worker(chancy, grace_period=0):
        await stage.until_begun(1)
        if end == "cancel":
            await chancy.cancel_job(reference)
        if end != "stop":
            await chancy.wait_for_job(reference, timeout=20)
    assert FarExecutor.wanted == [end == "stop"]
