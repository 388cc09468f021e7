import anyio
import pytest

from chancy import Chancy, Queue, Worker, job
from chancy_acme.executor import OrderlyExecutor
from chancy_core.testing import check_executor

busy: set[str] = set()
begun: dict[str, anyio.Event] = {}


@job(queue="sync")
async def sync(account: str, until: str) -> None:
    """Run until another account's job has begun as well."""
    assert account not in busy, f"two jobs of {account} at once"
    busy.add(account)
    begun[account].set()
    await begun[until].wait()
    busy.remove(account)


async def test_it_passes_the_exam() -> None:
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


async def test_an_option_that_does_not_exist_is_refused(chancy_app: Chancy) -> None:
    with pytest.raises(ValueError, match="executor_options"):
        await chancy_app.declare(Queue("q", executor="orderly", executor_options={"per": "day"}))
