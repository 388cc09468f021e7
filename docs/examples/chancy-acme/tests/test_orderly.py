from typing import Any

import anyio
import pytest
from chancy import Chancy, Queue, Worker, job
from chancy_core.testing import check_executor

from chancy_acme.orderly import OrderlyExecutor

busy: list[str] = []
begun: dict[str, anyio.Event] = {}


@job(queue="sync")
async def sync(account: str, until: str) -> None:
    """Run until another account's job has begun as well."""
    assert account not in busy, f"two jobs of {account} at once"
    busy.append(account)
    begun[account].set()
    await begun[until].wait()
    busy.remove(account)


async def test_it_keeps_the_contract() -> None:
    await check_executor(OrderlyExecutor)


async def test_one_job_of_an_account_at_a_time(chancy_app: Chancy) -> None:
    begun.update(ada=anyio.Event(), bob=anyio.Event())
    await chancy_app.declare(Queue("sync", executor="orderly"))
    references = [
        await chancy_app.push(sync.bind(account=account, until=until))
        for account, until in [("ada", "bob"), ("ada", "bob"), ("bob", "ada")]
    ]
    async with Worker(chancy_app):
        for ended in await chancy_app.wait_for_jobs(references, timeout=20):
            ended.result()


@job(queue="pairs")
async def pair(customer: str) -> None:
    """Run until there are two."""
    busy.append(customer)
    if busy.count(customer) == 2:
        begun[customer].set()
    await begun[customer].wait()


async def test_or_as_many_as_the_queue_says(chancy_app: Chancy) -> None:
    busy.clear()
    begun["eve"] = anyio.Event()
    options = {"by": "customer", "each": 2}
    await chancy_app.declare(Queue("pairs", executor="orderly", executor_options=options))
    references = [await chancy_app.push(pair.bind(customer="eve")) for _ in range(2)]
    async with Worker(chancy_app):
        for ended in await chancy_app.wait_for_jobs(references, timeout=20):
            ended.result()


@pytest.mark.parametrize("options", [{"each": 0}, {"each": "2"}, {"by": ""}, {"per": "day"}])
async def test_options_that_make_no_sense_are_refused(
    chancy_app: Chancy, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="executor_options") as refused:
        await chancy_app.declare(Queue("q", executor="orderly", executor_options=options))
    assert next(iter(options)) in str(refused.value)
