"""A worker that is killed: what it had written counts, and nothing is counted twice."""

import anyio
import pytest

from chancy import Chancy, Job, Queue
from chancy_plugins.metrics import Metrics
from tests.fleet import Fleet

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

INTERVAL = {"CHANCY_METRICS_INTERVAL": "1"}


async def run(chancy: Chancy, times: int) -> None:
    ticks = [Job("member.tick", queue="q")] * times
    await chancy.wait_for_jobs(await chancy.push_many(ticks), timeout=30)


async def finished(metrics: Metrics) -> float:
    return sum(series.whole().total for series in await metrics.query("jobs.finished"))


async def until_finished(metrics: Metrics, number: float) -> None:
    with anyio.fail_after(30):
        while await finished(metrics) < number:
            await anyio.sleep(0.05)
    assert await finished(metrics) == number


async def test_what_a_killed_worker_had_written_counts_and_the_rest_is_all_that_is_lost(
    dsn: str, anyio_backend: str
) -> None:
    async with Chancy(dsn) as chancy:
        metrics = Metrics(chancy)
        await chancy.declare(Queue("q", executor="async"))
        with Fleet(dsn) as fleet:
            killed = fleet.start("a", anyio_backend, environment=INTERVAL, lease=2)
            await run(chancy, 20)
            await until_finished(metrics, 20)
            await run(chancy, 5)
            killed.kill()
            killed.wait()
            kept = await finished(metrics)
            assert 20 <= kept <= 25
            fleet.start("b", anyio_backend, environment=INTERVAL, lease=2)
            await run(chancy, 7)
            await until_finished(metrics, kept + 7)
