"""An executor of one's own: it may give functions what only the worker has."""

from typing import Any, Self

import pytest

from chancy import Chancy, Queue, Worker, job
from chancy_core import discovery
from chancy_core.executor import Call
from chancy_executors.aio import AsyncExecutor

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


async def test_an_executor_gives_functions_what_it_holds_open(
    chancy: Chancy, monkeypatch: pytest.MonkeyPatch
):
    load = discovery.load
    monkeypatch.setattr(
        discovery,
        "load",
        lambda group, name: ShopExecutor if name == "shop" else load(group, name),
    )
    await chancy.declare(Queue("shop", executor="shop"))
    async with Worker(chancy):
        done = await chancy.wait_for_job(await price.push(chancy, of="tea"), timeout=20)
    assert done.result() == 3
    assert done.kwargs == {"of": "tea"}
