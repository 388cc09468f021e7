"""An executor of one's own: it may give functions what only the worker has."""

from typing import Any, Self

import pytest

from chancy import Chancy, Queue, State, Worker, job
from chancy_core import discovery
from chancy_core.executor import Call
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


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    load, ours = discovery.load, {"shop": ShopExecutor, "two": TwoExecutor, "nosy": NosyExecutor}
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
