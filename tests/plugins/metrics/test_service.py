"""What workers do for metrics: as commits are in doubt, tables come and go, connections are cut."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import anyio
import pytest

from chancy import Chancy, Queue, State, Worker, job
from chancy_core import registry
from chancy_core.errors import DatabaseError
from chancy_core.outcome import Rescued
from chancy_core.statement import Statement
from chancy_plugins.metrics import Metrics, count, hooks, leading, process, service
from chancy_plugins.metrics.key import Key, MetricKind
from chancy_plugins.metrics.recorder import Recorder
from tests.plugins.metrics import recorded

pytestmark = pytest.mark.anyio

PUSHED = Key.of(MetricKind.COUNTER, "jobs.pushed", queue="q")


@job(name="metrics.tick", queue="q")
async def tick() -> None:
    count("acme.ticks")


@job(name="metrics.fails", queue="q")
async def fails() -> None:
    raise RuntimeError("no")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is done at once: by default one would wait for seconds."""
    monkeypatch.setenv("CHANCY_METRICS_INTERVAL", "1")
    monkeypatch.setattr(leading, "OFTEN", 0.2)


@asynccontextmanager
async def working(chancy: Chancy, name: str = "alpha") -> AsyncIterator[Metrics]:
    await chancy.declare(Queue("q", executor="async"))
    async with Worker(chancy, name=name, signals=False):
        yield Metrics(chancy)


async def total(metrics: Metrics, name: str, **asked: Any) -> float:
    return sum(series.whole().total for series in await metrics.query(name, **asked))


async def until(metrics: Metrics, name: str, amount: float, **asked: Any) -> None:
    with anyio.fail_after(20):
        while await total(metrics, name, **asked) < amount:
            await anyio.sleep(0.05)
    assert await total(metrics, name, **asked) == amount


async def run(chancy: Chancy, times: int, func: Any = tick) -> None:
    await chancy.wait_for_jobs(await chancy.push_many([func.bind()] * times), timeout=30)


async def test_a_worker_writes_what_it_does_and_one_merges_it(chancy_app: Chancy):
    async with working(chancy_app) as metrics:
        await run(chancy_app, 20)
        await run(chancy_app, 2, fails)
        await until(metrics, "jobs.finished", 20, where={"state": "succeeded"})
        await until(metrics, "jobs.attempts", 2, where={"kind": "error", "queue": "q"})
        await until(metrics, "acme.ticks", 20)
        await until(metrics, "jobs.pushed", 22, where={"queue": "q"})
        (took,) = await metrics.query("jobs.duration", by=["func"], where={"func": "metrics.tick"})
        assert 0 < took.whole().mean < took.whole().high < 10
        (wait,) = await metrics.query("jobs.wait", by=["queue"])
        assert wait.whole().count == 22
        assert 0 <= wait.whole().quantile(0.99) < 30
        merged = Statement.written(
            "SELECT FROM {metric_points} LIMIT 1", chancy_app.names, {}, bool
        )
        with anyio.fail_after(20):
            while not await chancy_app.database.run(merged):
                await anyio.sleep(0.05)
        with anyio.fail_after(20):
            while not await metrics.query("workers.slots"):
                await anyio.sleep(0.05)
        assert await metrics.query("tables.bytes", by=["table"], where={"table": "jobs"})


async def test_what_happened_last_is_written_when_a_worker_stops(chancy_app: Chancy, monkeypatch):
    monkeypatch.setenv("CHANCY_METRICS_INTERVAL", "300")
    async with working(chancy_app) as metrics:
        await anyio.sleep(0.3)  # it has written once, and will not again
        await run(chancy_app, 10)
    assert await total(metrics, "jobs.finished") == 10
    assert await total(metrics, "acme.ticks") == 10
    ended = Statement.written("SELECT ended FROM {metric_sessions}", chancy_app.names, {}, list)
    assert await chancy_app.database.run(ended) == [(True,)]


async def test_a_commit_in_doubt_is_not_counted_twice(chancy_app: Chancy, monkeypatch):
    """It was committed, and the answer was lost: the same is written once more."""
    recorder, lost = Recorder("alpha"), [True, True, False, True, False]
    metrics, real = Metrics(chancy_app), type(chancy_app.database).run

    async def run_and_lose(self: Any, *asked: Statement[Any]) -> Any:
        answer = await real(self, *asked)
        if b"metric_sessions" in asked[0].text and lost and lost.pop(0):
            recorder.tally.add(PUSHED, 1)  # meanwhile the worker goes on
            raise DatabaseError("the connection was lost")
        return answer

    monkeypatch.setattr(type(chancy_app.database), "run", run_and_lose)
    recorder.tally.add(PUSHED, 1)
    for _ in range(4):
        with suppress(DatabaseError):
            await recorder.flush(chancy_app)
    monkeypatch.undo()
    await recorder.flush(chancy_app)
    assert await total(metrics, "jobs.pushed") == 4


async def test_what_is_recorded_while_it_is_written_is_kept(chancy_app: Chancy, monkeypatch):
    recorder, real = Recorder("alpha"), type(chancy_app.database).run

    async def record_meanwhile(self: Any, *asked: Statement[Any]) -> Any:
        recorder.tally.add(PUSHED, 1)
        return await real(self, *asked)

    recorder.tally.add(PUSHED, 1)
    monkeypatch.setattr(type(chancy_app.database), "run", record_meanwhile)
    await recorder.flush(chancy_app)
    monkeypatch.undo()
    await recorder.flush(chancy_app)
    assert await total(Metrics(chancy_app), "jobs.pushed") == 2


async def test_what_could_not_be_written_at_the_end_is_written_by_the_next(
    chancy_app: Chancy, monkeypatch, caplog
):
    monkeypatch.setenv("CHANCY_METRICS_INTERVAL", "300")
    real = type(chancy_app.database).run

    async def fail(self: Any, *asked: Statement[Any]) -> Any:
        if b"metric_sessions" in asked[0].text:
            raise DatabaseError("no way there")
        return await real(self, *asked)

    async with working(chancy_app) as metrics:
        await anyio.sleep(0.3)
        await run(chancy_app, 5)
        monkeypatch.setattr(type(chancy_app.database), "run", fail)
    assert "the last of worker alpha are kept in this process" in caplog.text
    monkeypatch.setattr(type(chancy_app.database), "run", real)
    assert await total(metrics, "jobs.finished") == 0
    await metrics.flush()
    await metrics.flush()
    assert await total(metrics, "jobs.finished", where={"worker": "alpha"}) == 5


async def test_two_workers_of_one_application_are_kept_apart(chancy_app: Chancy):
    await chancy_app.declare(Queue("only-b", executor="async", tags={"worker_id=b"}))
    async with working(chancy_app, "a") as metrics, working(chancy_app, "b"):
        await run(chancy_app, 3, tick.options(queue="only-b"))
        await until(metrics, "jobs.finished", 3, where={"worker": "b"})
        assert await total(metrics, "jobs.finished", where={"worker": "a"}) == 0


async def test_a_name_that_is_used_again_is_another_session(chancy_app: Chancy):
    for n in (1, 2):
        async with working(chancy_app) as metrics:
            await run(chancy_app, 2)
        assert await total(metrics, "jobs.finished", where={"worker": "alpha"}) == 2 * n


async def test_connections_that_are_cut_are_outlived_and_nothing_is_lost(
    chancy_app: Chancy, chancy_dsn: str
):
    """W2: each lost connection is one that a commit may have been in doubt on."""
    cut = Statement.written(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        chancy_app.names,
        {},
        list,
    )
    async with working(chancy_app) as metrics, Chancy(chancy_dsn) as other:
        for _ in range(4):
            await run(other, 5)
            await other.database.run(cut)
            await anyio.sleep(0.4)
        await run(other, 5)
        await until(Metrics(other), "acme.ticks", 25)
        assert metrics


async def test_without_its_tables_it_says_so_once_and_the_worker_goes_on(
    chancy_app: Chancy, monkeypatch, caplog
):
    monkeypatch.setattr("chancy_plugins.trouble.LASTING", 0.2)
    caplog.set_level(logging.INFO, "chancy.metrics")
    async with working(chancy_app) as metrics:
        await chancy_app.migrate(to={"metrics": 0})
        await run(chancy_app, 1)
        with anyio.fail_after(20):
            while "writing them down fails" not in caplog.text:
                await run(chancy_app, 1)
                await anyio.sleep(0.05)
        await anyio.sleep(2)
        said = [r.getMessage() for r in caplog.records if "run `chancy migrate`" in r.getMessage()]
        assert len(said) == len({text.partition(":")[2][:20] for text in said}) <= 4
        await chancy_app.migrate()
        await run(chancy_app, 3)
        with anyio.fail_after(20):
            while "writing them down works again" not in caplog.text:
                await anyio.sleep(0.05)
        assert await total(metrics, "acme.ticks") >= 4


async def test_a_defect_of_its_own_is_the_plugins_and_no_others(
    chancy_app: Chancy, monkeypatch, caplog
):
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Recorder, "flush", broken)
    async with working(chancy_app):
        await run(chancy_app, 3)
        with anyio.fail_after(10):
            while "its service 'metrics' is left out: RuntimeError: a defect" not in caplog.text:
                await anyio.sleep(0.02)


@pytest.mark.parametrize("executor", ["thread", "process", "interpreter"])
async def test_what_children_and_threads_record_reaches_the_worker(
    chancy_app: Chancy, executor, monkeypatch, caplog
):
    # Other tests have jobs too, in modules that no sub-interpreter can load.
    monkeypatch.setattr(registry, "sources", lambda: [(recorded.__name__, None)])
    if executor == "interpreter" and sys.version_info < (3, 13):
        pytest.skip("sub-interpreters come with Python 3.13")
    caplog.set_level(logging.DEBUG)
    await chancy_app.declare(Queue("children", executor=executor, concurrency=2))
    async with working(chancy_app) as metrics:
        jobs = [recorded.records.bind(number=n) for n in range(1, 8)]
        await chancy_app.wait_for_jobs(await chancy_app.push_many(jobs), timeout=60)
        await until(metrics, "acme.children", 7)
        found = await metrics.query("acme.children", by=["parity"])
        assert {s.labels["parity"]: s.whole().total for s in found} == {"0": 3, "1": 4}
        (size,) = await metrics.query("acme.size")
        assert (size.unit, size.whole().total) == ("bytes", 28)
    assert "a counter never falls" in caplog.text
    assert not [r for r in caplog.records if r.name == "chancy.metrics.said"]


async def test_rescues_and_outcomes_that_came_too_late_are_counted(chancy_app: Chancy):
    async with working(chancy_app) as metrics:
        (worker,) = [w for w in process._workers if w.chancy is chancy_app]
        rescued = [Rescued(uuid4(), "q", state) for state in (State.PENDING, State.QUARANTINED)]
        await hooks.chancy_jobs_rescued(rescued, worker)
        worker.vitals._settler.stale = 3
        await until(metrics, "jobs.rescued", 1, where={"state": "quarantined", "queue": "q"})
        await until(metrics, "outcomes.stale", 3)
        assert await total(metrics, "jobs.rescued") == 2


async def test_an_idle_worker_says_now_and_then_that_it_is_there(chancy_app: Chancy, monkeypatch):
    monkeypatch.setattr(service, "BEAT", 1.5)
    number = Statement.written(
        "SELECT number FROM {metric_sessions} WHERE NOT ended", chancy_app.names, {}, list
    )
    monkeypatch.setattr(leading.Leading, "run", lambda *_: anyio.sleep_forever())
    async with working(chancy_app):
        seen = set()
        with anyio.fail_after(20):
            while len(seen) < 3:
                seen |= {row[0] for row in await chancy_app.database.run(number)}
                await anyio.sleep(0.05)


async def test_migrating_down_takes_metrics_away_and_leaves_jobs(chancy_app: Chancy):
    reference = await chancy_app.push(tick.bind())
    await chancy_app.migrate(to={"metrics": 0})
    await chancy_app.migrate()
    assert (await chancy_app.get_job(reference)).state == "pending"
    assert await Metrics(chancy_app).names() == []


async def test_settings_that_make_no_sense_are_told_of(monkeypatch, caplog):
    monkeypatch.setenv("CHANCY_METRICS_INTERVAL", "soon")
    monkeypatch.setenv("CHANCY_METRICS_DAYS", "-1")
    assert Chancy("host=nowhere").plugins
    assert "CHANCY_METRICS_INTERVAL makes no sense: 'soon'; it is 10" in caplog.text
    assert "CHANCY_METRICS_DAYS makes no sense: '-1'; it is 400" in caplog.text
    caplog.clear()
    monkeypatch.setenv("CHANCY_METRICS_INTERVAL", "2.5")
    monkeypatch.setenv("CHANCY_METRICS_DAYS", "")
    assert Chancy("host=nowhere").plugins
    assert caplog.text == ""
