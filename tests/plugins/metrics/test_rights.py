"""Under roles of least rights: workers write, and whoever looks reads."""

import anyio
import psycopg
import pytest

from chancy import Chancy, Queue, Worker, job
from chancy_plugins.metrics import Metrics, leading
from tests.roles import EVERY, granted

pytestmark = pytest.mark.anyio


@job(name="metrics.least", queue="q")
async def least() -> None: ...


async def test_workers_write_and_whoever_looks_reads(chancy_dsn: str, monkeypatch, caplog):
    monkeypatch.setattr(leading, "FIRST", 0.0)
    monkeypatch.setattr(leading, "LOOKING", 0.2)
    monkeypatch.setenv("CHANCY_METRICS_INTERVAL", "1")
    with granted(chancy_dsn, migrations=EVERY) as made:
        async with Chancy(made["work"]) as chancy:
            await chancy.declare(Queue("q", executor="async"))
            await chancy.push(least.bind().with_queue("nobodys"))
            async with Worker(chancy, signals=False):
                await chancy.wait_for_job(await chancy.push(least.bind()), timeout=20)
                with anyio.fail_after(20):
                    for name in ("tables.bytes", "jobs.live"):
                        while not await Metrics(chancy).query(name):
                            await anyio.sleep(0.05)
        assert not [r for r in caplog.records if r.name == "chancy.metrics"]
        async with Chancy(made["look"]) as chancy:
            metrics = Metrics(chancy)
            (done,) = await metrics.query("jobs.finished", by=["func"])
            assert (done.labels, done.whole().total) == ({"func": "metrics.least"}, 1)
            assert "jobs.live" in {one.name for one in await metrics.names()}
            assert await metrics.counts()
            metrics.count("acme.mails")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await metrics.flush()
