"""What Prometheus is told, by the endpoint of a worker and by a collector of one's own."""

import gc
import logging
import socket
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio import to_thread
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chancy import Chancy, Job, Queue, Worker, job
from chancy_core.errors import InvalidPlugin
from chancy_plugins.metrics import count, leading, observe, process
from chancy_plugins.metrics import hooks as metrics_hooks
from chancy_plugins.metrics.key import Key, MetricKind
from chancy_plugins.metrics.tally import Cell
from chancy_plugins.prometheus import Prometheus, collector, families, hooks, plugin
from chancy_plugins.prometheus.endpoint import Address

pytestmark = pytest.mark.anyio


@job(name="prometheus.tick", queue="q")
async def tick() -> None:
    count("acme.sent-mails", labels={"country": "fr"})
    observe("acme.wait", 0.75, unit="s")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "SHOWING", 0.05)
    monkeypatch.setattr(plugin, "OFTEN", 0.2)
    monkeypatch.setattr(leading, "LOOKING", 0.2)
    process.here.take()
    for recorder in process._workers.values():
        recorder.gone = True
    process._workers.clear()
    for tally in (process.here, process._gone):
        tally.take()
        tally._before.clear()


@asynccontextmanager
async def working(chancy: Chancy, name: str = "alpha") -> AsyncIterator[Worker]:
    await chancy.declare(Queue("q", executor="async", concurrency=3))
    async with Worker(chancy, name=name, signals=False) as worker:
        yield worker


def parsed(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def asked(port: int) -> dict[tuple[str, ...], float]:
    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    return parsed(await to_thread.run_sync(get))


async def until(port: int, *key: str, least: float = 0) -> dict[tuple[str, ...], float]:
    with anyio.fail_after(20):
        while True:
            found = await asked(port)
            if found.get(key, -1.0) >= least:
                return found
            await anyio.sleep(0.05)


async def opened(made: Prometheus) -> int:
    with anyio.fail_after(10):
        while made.port is None:
            await anyio.sleep(0.02)
    return made.port


@pytest.mark.slow
async def test_an_endpoint_shows_what_a_worker_counts_and_its_installation(chancy_dsn: str):
    made = Prometheus(port=0)
    async with Chancy(chancy_dsn, plugins=[made]) as chancy, working(chancy):
        port = await opened(made)
        await chancy.wait_for_jobs(await chancy.push_many([tick.bind()] * 5), timeout=20)
        await chancy.push_many([Job("nobody.has", queue="elsewhere")] * 4)
        done = ("chancy_jobs_finished_total", "func=prometheus.tick", "queue=q", "state=succeeded")
        found = await until(port, *done, least=5)
        assert found[done] == 5
        of = ("func=prometheus.tick", "queue=q")
        assert found["chancy_attempts_total", of[0], "kind=success", of[1]] == 5
        for name in ("chancy_job_duration_seconds", "chancy_job_wait_seconds"):
            assert found[f"{name}_count", *of] == 5
            assert found[f"{name}_bucket", of[0], "le=+Inf", of[1]] == 5
            assert 0 < found[f"{name}_sum", *of] < 60
        assert found["acme_sent_mails_total", "country=fr"] == 5
        assert found["acme_wait_seconds_bucket", "le=1.0"] == 5
        assert found["acme_wait_seconds_bucket", "le=0.5"] == 0
        waits = ("chancy_jobs", "queue=elsewhere", "state=pending")
        found = await until(port, *waits)
        assert found[waits] == 4
        assert found["chancy_jobs_oldest_timestamp_seconds", "queue=elsewhere"] > 1e9
        found = await until(port, "chancy_table_bytes", "part=rows", "table=jobs")
        assert found["chancy_workers",] == 1
        assert 0 <= found["chancy_read_age_seconds",] < 20
    assert made.port is None
    with pytest.raises(OSError, match="refused"):
        await asked(port)


async def test_by_the_environment(chancy_app: Chancy, monkeypatch):
    monkeypatch.setenv(hooks.VARIABLE, "127.0.0.1:0")
    async with working(chancy_app):
        made = hooks._made[Address("127.0.0.1", 0)]
        assert await asked(await opened(made)) is not None


async def test_without_it_there_is_no_endpoint(chancy_app: Chancy, monkeypatch):
    monkeypatch.delenv(hooks.VARIABLE, raising=False)
    async with working(chancy_app) as worker:
        assert hooks.chancy_worker_services(worker) is None
    monkeypatch.setenv(hooks.VARIABLE, "")
    assert hooks.chancy_worker_services(worker) is None


async def test_an_address_that_is_none_is_told_of_and_stops_nothing(
    chancy_app: Chancy, monkeypatch, caplog
):
    monkeypatch.setenv(hooks.VARIABLE, "everywhere")
    async with working(chancy_app):
        done = await chancy_app.wait_for_job(await chancy_app.push(tick.bind()), timeout=20)
        assert done.state == "succeeded"
    assert "CHANCY_PROMETHEUS: prometheus: an address is host:port" in caplog.text


async def test_a_port_that_is_taken_is_told_of_once_and_stops_nothing(chancy_dsn: str, caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        made = Prometheus(port=taken.getsockname()[1])
        async with Chancy(chancy_dsn, plugins=[made]) as chancy, working(chancy):
            with anyio.fail_after(10):
                while "nobody answers Prometheus" not in caplog.text:
                    await anyio.sleep(0.02)
            done = await chancy.wait_for_job(await chancy.push(tick.bind()), timeout=20)
            assert done.state == "succeeded"
            await anyio.sleep(1)
    assert caplog.text.count("nobody answers Prometheus") == 1
    assert "is left out" not in caplog.text


async def test_two_workers_of_a_process_share_one_endpoint(chancy_dsn: str):
    made = Prometheus(port=0)
    async with Chancy(chancy_dsn, plugins=[made]) as chancy, working(chancy):
        async with working(chancy, "beta"):
            port = await opened(made)
        await anyio.sleep(0.2)
        assert made.port == port
        await asked(port)
    assert made.port is None


async def test_without_the_plugin_metrics_it_counts_itself(chancy_dsn: str, monkeypatch):
    monkeypatch.setenv("CHANCY_DISABLED_PLUGINS", "chancy.plugins:metrics")
    made = Prometheus(port=0)
    async with Chancy(chancy_dsn, plugins=[made]) as chancy, working(chancy):
        port = await opened(made)
        await chancy.wait_for_jobs(await chancy.push_many([tick.bind()] * 3), timeout=20)
        done = ("chancy_jobs_finished_total", "func=prometheus.tick", "queue=q", "state=succeeded")
        assert (await until(port, *done, least=3))[done] == 3


async def test_tables_that_are_not_there_are_told_of_once(chancy_dsn: str, caplog):
    caplog.set_level(logging.WARNING, "chancy.prometheus")
    made = Prometheus(port=0)
    async with Chancy(chancy_dsn, plugins=[made]) as chancy, working(chancy):
        await chancy.migrate(to={"metrics": 0})
        with anyio.fail_after(10):
            while "the installation cannot be read" not in caplog.text:
                await anyio.sleep(0.02)
        await anyio.sleep(1)
        assert await asked(await opened(made)) is not None
        await chancy.migrate()
    assert caplog.text.count("the installation cannot be read") == 1


async def test_counters_do_not_fall_when_a_worker_is_gone(chancy_app: Chancy):
    async with working(chancy_app):
        await chancy_app.wait_for_jobs(await chancy_app.push_many([tick.bind()] * 3), timeout=20)
    key = Key.of(
        MetricKind.COUNTER, "jobs.finished", func="prometheus.tick", queue="q", state="succeeded"
    )
    assert process.totals()[key].total == 3
    gc.collect()
    assert process.totals()[key].total == 3


async def test_a_collector_of_ones_own(chancy_app: Chancy):
    registry, own = CollectorRegistry(auto_describe=False), collector()
    registry.register(own)
    metrics_hooks.chancy_jobs_pushed([await chancy_app.push(tick.bind())], [tick.bind()])
    await chancy_app.push_many([Job("f", queue="r")] * 3)
    found = parsed(generate_latest(registry).decode())
    # of q 2: the plugin has been told of it as well
    assert found["chancy_jobs_pushed_total", "queue=q"] == 2
    assert found["chancy_jobs_pushed_total", "queue=r"] == 3
    assert ("chancy_workers",) not in found
    await own.refresh(chancy_app)
    assert parsed(generate_latest(registry).decode())["chancy_workers",] == 0


async def test_labels_that_are_too_many_are_others(monkeypatch):
    monkeypatch.setattr(families, "MOST", 3)
    cell = Cell()
    cell.add(1)
    made = {
        Key.of(MetricKind.COUNTER, "jobs.finished", func=f"f{n}", queue="q", state="failed"): cell
        for n in range(10)
    }
    (family,) = families.families(made)
    values = {sample.labels["func"]: sample.value for sample in family.samples}
    assert values == {"f0": 1, "f1": 1, "f2": 1, families.OTHERS: 7}


async def test_names_that_would_be_taken_for_ours_are_not_shown():
    cell = Cell()
    cell.add(1)
    keys = [Key.of(MetricKind.GAUGE, name) for name in ("chancy.jobs", "tables.bytes", "acme.x")]
    assert [f.name for f in families.families(dict.fromkeys(keys, cell))] == ["acme_x"]


async def test_addresses():
    assert Address.of("9464") == Address.of(":9464") == Address("127.0.0.1", 9464)
    assert Address.of("0.0.0.0:80") == Address("0.0.0.0", 80)
    assert Address.of("[::1]:80") == Address("::1", 80)
    for wrong in ("", "host", "host:", "a:b", "1:70000", "1:-1"):
        with pytest.raises(InvalidPlugin, match="prometheus"):
            Address.of(wrong)
    for wrong in (-1, 70_000, "80", None, True):
        with pytest.raises(InvalidPlugin, match="a port is 0 to 65,535"):
            Prometheus(port=wrong)
