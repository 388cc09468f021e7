"""What workers do for cron: as their tables come and go, connections are cut, and clocks moved."""

import ast
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

import chancy_plugins.cron
from chancy import Chancy, Queue, Worker, job
from chancy_core.statement import Statement
from chancy_core.testing import Clock
from chancy_plugins.cron import Cron, service

pytestmark = pytest.mark.anyio


@job(name="crons.tick", queue="q")
async def tick() -> None:
    pass


@asynccontextmanager
async def working(chancy: Chancy) -> AsyncIterator[Cron]:
    await chancy.declare(Queue("q", executor="async"))
    async with Worker(chancy, signals=False):
        yield Cron(chancy)


async def until_run(cron: Cron, key: str, times: int, within: float = 15) -> None:
    with anyio.fail_after(within):
        while len(await cron.fires(key)) < times:
            await anyio.sleep(0.02)


def terminate(chancy: Chancy) -> Statement[Any]:
    return Statement.written(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        chancy.names,
        {},
        list,
    )


def line(chancy: Chancy) -> str:
    """The migration line that makes the tables, whatever it is called here."""
    texts = {
        name: "".join(migration.up.text for migration in line.migrations)
        for name, line in chancy.migrator().lines.items()
    }
    (found,) = (name for name, text in texts.items() if "{cron_fires}" in text)
    return found


async def test_a_worker_fires_and_runs_what_is_due(chancy_app: Chancy):
    async with working(chancy_app) as cron:
        await cron.declare("* * * * * *", tick)
        await until_run(cron, "crons.tick", 3)
        fires = await cron.fires("crons.tick")
        await chancy_app.wait_for_jobs([fire.job for fire in fires], timeout=10)
    seconds = sorted(fire.tick.timestamp() for fire in fires)
    assert seconds == [seconds[0] + n for n in range(len(seconds))]
    assert all(0 <= (fire.fired_at - fire.tick).total_seconds() < 5 for fire in fires)


async def test_a_worker_is_told_of_changes(chancy_app: Chancy, monkeypatch):
    """Unasked it would look after an hour."""
    monkeypatch.setattr(service, "CALM", 3600.0)
    async with working(chancy_app) as cron:
        await anyio.sleep(0.5)  # it has looked, and found nothing
        await cron.declare("* * * * * *", tick)
        await until_run(cron, "crons.tick", 1)


async def test_what_was_said_while_it_did_not_hear_is_found_once_it_does(
    chancy_app: Chancy, chancy_dsn: str, monkeypatch
):
    seen: list[str] = []
    turn = service.Timekeeper._turn

    async def noted(self: Any) -> float:
        seen.append("looks")
        pause = await turn(self)
        seen.append("has looked")
        return pause

    def has_looked() -> bool:
        """Whether it has looked since it hears, and does so no more."""
        since = seen[seen.index("hears") :] if "hears" in seen else []
        return "looks" in since and since[-1] == "has looked"

    monkeypatch.setattr(service, "CALM", 3600.0)
    monkeypatch.setattr(service.Timekeeper, "_turn", noted)
    await chancy_app.declare(Queue("q", executor="async"))
    worker = Worker(chancy_app, signals=False)
    worker.events.on("worker.listening", lambda _: seen.append("hears"))
    async with worker, Chancy(chancy_dsn, notifications=False) as other:
        with anyio.fail_after(10):
            while not has_looked():
                await anyio.sleep(0.01)
        await Cron(other).declare("* * * * * *", tick)
        await other.database.run(terminate(other))
        await until_run(Cron(other), "crons.tick", 1)
    assert seen.count("hears") == 2


async def test_a_worker_finds_what_nobody_told_of(chancy_app: Chancy, monkeypatch):
    monkeypatch.setattr(service, "CALM", 0.3)
    chancy_app.notifications = False
    async with working(chancy_app) as cron:
        await anyio.sleep(0.5)
        await cron.declare("* * * * * *", tick)
        await until_run(cron, "crons.tick", 2)


async def test_a_worker_follows_a_tests_clock(chancy_app: Chancy, chancy_clock: Clock, monkeypatch):
    monkeypatch.setattr(service, "CALM", 3600.0)
    async with working(chancy_app) as cron:
        await cron.declare("0 3 * * *", tick, missed="catch_up(9)")
        for days in (1, 2):
            chancy_clock.advance(days=1)
            await until_run(cron, "crons.tick", days)


async def test_two_workers_fire_each_tick_once(chancy_app: Chancy, chancy_dsn: str):
    async with (
        working(chancy_app) as cron,
        Chancy(chancy_dsn) as other,
        Worker(other, name="other", signals=False),
    ):
        await cron.declare("* * * * * *", tick)
        await until_run(cron, "crons.tick", 4)
        await cron.pause("crons.tick")
        fires = await cron.fires("crons.tick")
    jobs = {job.id: job.meta["cron"]["tick"] for job in (await chancy_app.list_jobs()).jobs}
    assert jobs == {fire.job: fire.tick.isoformat() for fire in fires}
    assert len(set(jobs.values())) == len(jobs)


async def test_connections_that_are_cut_are_outlived(chancy_app: Chancy, chancy_dsn: str):
    """W2: one lost connection ended cron for good."""
    async with working(chancy_app) as cron:
        await cron.declare("* * * * * *", tick)
        await until_run(cron, "crons.tick", 1)
        async with Chancy(chancy_dsn) as other:
            for _ in range(3):
                await other.database.run(terminate(other))
                await anyio.sleep(0.3)
            await Cron(other).pause("crons.tick")
            before = len(await Cron(other).fires("crons.tick"))
            await Cron(other).resume("crons.tick")
            await until_run(Cron(other), "crons.tick", before + 3, within=30)


async def test_without_its_tables_it_says_so_and_the_worker_goes_on(
    chancy_app: Chancy, monkeypatch, caplog
):
    monkeypatch.setattr(service, "CALM", 0.2)
    monkeypatch.setattr(service, "LASTING", 0.2)
    caplog.set_level(logging.INFO, "chancy.cron")
    async with working(chancy_app) as cron:
        await chancy_app.migrate(to={line(chancy_app): 0})
        with anyio.fail_after(15):
            while "run `chancy migrate`" not in caplog.text:
                await anyio.sleep(0.02)
        await anyio.sleep(1)
        done = await chancy_app.wait_for_job(await tick.push(chancy_app), timeout=10)
        assert done.state == "succeeded"
        said = [one for one in caplog.records if "chancy migrate" in one.getMessage()]
        assert [(one.levelname, one.name) for one in said] == [("ERROR", "chancy.cron")]
        await chancy_app.migrate()
        await cron.declare("* * * * * *", tick)
        await until_run(cron, "crons.tick", 2)
        assert "cron looks at its tables again" in caplog.text


async def test_what_it_may_not_forget_keeps_it_from_nothing(
    chancy_app: Chancy, monkeypatch, caplog
):
    """Roles of least rights may be granted all but that."""
    monkeypatch.setattr(service, "FIRST", 0.0)
    monkeypatch.setattr(service, "LASTING", 0.1)

    def denied(names: object) -> Statement[Any]:
        text = "DO $$ BEGIN RAISE insufficient_privilege; END $$"
        return Statement.written(text, chancy_app.names, {}, list)

    monkeypatch.setattr(service.statements, "forget", denied)
    async with working(chancy_app) as cron:
        await cron.declare("* * * * * *", tick)
        await until_run(cron, "crons.tick", 2)
    assert "run `chancy roles --sql` once more" in caplog.text


async def test_a_defect_of_its_own_is_the_plugins_and_no_others(
    chancy_app: Chancy, monkeypatch, caplog
):
    class Broken:
        def __init__(self, *_: object) -> None: ...

        async def fire(self) -> None:
            raise RuntimeError("a defect")

    monkeypatch.setattr(service, "Firing", Broken)
    async with working(chancy_app):
        done = await chancy_app.wait_for_job(await tick.push(chancy_app), timeout=10)
        assert done.state == "succeeded"
        with anyio.fail_after(10):
            while "its service 'cron' is left out: RuntimeError: a defect" not in caplog.text:
                await anyio.sleep(0.02)


def test_nothing_of_it_asks_this_machine_for_the_time():
    """W13: what a worker's own clock says must not matter, be it an hour off or a day."""
    folder = Path(chancy_plugins.cron.__file__).parent
    nodes = [node for path in folder.glob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    named = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    imported = {
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    } | {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    clocks = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
    assert "statements.now" in named
    assert named & clocks == set()
    assert "time" not in imported
