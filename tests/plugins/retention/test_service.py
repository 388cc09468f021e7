"""What workers do for retention: one of them, now and then, whatever happens to the database."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest

from chancy import Chancy, Queue, Worker, job
from chancy_core.testing import Clock
from chancy_plugins import trouble
from chancy_plugins.leadership import Term
from chancy_plugins.retention import Keep, Retention, days, hooks, service
from chancy_plugins.retention.plugin import Retention as Plugin
from tests.plugins.retention.conftest import History
from tests.roles import EVERY, granted
from tests.told import hearing

pytestmark = pytest.mark.anyio


@job(name="services.tick", queue="q")
async def tick() -> None:
    pass


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "FIRST", 0.1)
    monkeypatch.setattr(service, "HOURLY", 0.3)
    monkeypatch.setattr(service, "SOON", 0.2)


@asynccontextmanager
async def working(chancy: Chancy, **settings: Any) -> AsyncIterator[Worker]:
    await chancy.declare(Queue("q", executor="async"))
    async with hearing(Worker(chancy, signals=False, **settings)) as worker:
        yield worker


async def until_gone(history: History, table: str, within: float = 20) -> None:
    with anyio.fail_after(within):
        while history.there(table):
            await anyio.sleep(0.05)


async def test_a_worker_drops_what_is_older_than_thirty_days_unasked(
    chancy_app: Chancy, history: History, caplog
):
    caplog.set_level(logging.INFO, "chancy.retention")
    async with working(chancy_app) as worker:
        with worker.events.subscribe("retention.removed") as told:
            with history.conn.transaction():
                gone, _ = history.ago(33, 3)
                _, stays = history.ago(28)
            await until_gone(history, history.table(gone))
            event = await told.next(timeout=10)
    said = json.loads(event.subject)
    assert said["days"] == [str(gone)]
    assert (said["deleted"], said["seconds"] > 0) == (0, True)
    assert history.ids() == set(stays)
    assert f"retention has removed 1 days ({gone}; about " in caplog.text


async def test_what_the_application_says_holds_in_its_place(chancy_dsn: str, history: History):
    longer, _ = history.ago(33)
    _, mail = history.ago(4, queue="mail")
    retention = Retention(keep=days(90), rules=[Keep(queue="mail", for_=days(2))])
    async with Chancy(chancy_dsn, plugins=[retention]) as chancy, working(chancy):
        with anyio.fail_after(20):
            while history.ids() & set(mail):
                await anyio.sleep(0.05)
        await anyio.sleep(0.7)
    assert history.attached(history.table(longer))


async def test_what_is_installed_stands_back_where_an_application_was_given_one(chancy_dsn: str):
    mine = Retention(keep=days(90))
    given, other = Chancy(chancy_dsn, plugins=[mine]), Chancy(chancy_dsn)
    assert hooks.chancy_worker_services(Worker(given, signals=False)) is None
    assert len(list(mine.chancy_worker_services(Worker(given, signals=False)) or ())) == 1
    assert len(list(hooks.chancy_worker_services(Worker(other, signals=False)) or ())) == 1
    assert mine.chancy_worker_services(Worker(other, signals=False)) is None


async def test_who_was_told_nothing_goes_by_what_others_were_told(
    chancy_app: Chancy, chancy_dsn: str, history: History
):
    longer, _ = history.ago(33)
    async with Chancy(chancy_dsn, plugins=[Retention(keep=days(90))]) as chancy, working(chancy):
        with anyio.fail_after(20):
            while not history.one("SELECT rules IS NOT NULL FROM chancy_retention_rules"):
                await anyio.sleep(0.05)
    gone, _ = history.ago(95)
    async with working(chancy_app):
        await until_gone(history, history.table(gone))
    assert history.attached(history.table(longer))


async def test_the_environment_overrules_both(chancy_dsn: str, history: History, monkeypatch):
    monkeypatch.setenv("CHANCY_RETENTION", "5d")
    gone, _ = history.ago(8)
    async with Chancy(chancy_dsn, plugins=[Retention(keep=None)]) as chancy, working(chancy):
        await until_gone(history, history.table(gone))


async def test_one_of_several_does_it(chancy_app: Chancy, chancy_dsn: str, monkeypatch):
    ran: list[str] = []
    run = Plugin.run

    async def counted(self: Retention, chancy: Chancy, **told: Any) -> Any:
        ran.append(told["who"])
        return await run(self, chancy, **told)

    monkeypatch.setattr(Plugin, "run", counted)
    async with (
        Chancy(chancy_dsn) as other,
        working(chancy_app, name="a"),
        Worker(other, name="b", signals=False),
    ):
        with anyio.fail_after(20):
            while len(ran) < 4:
                await anyio.sleep(0.05)
    assert len(set(ran)) == 1


async def test_a_worker_follows_the_clock_of_the_database(
    chancy_app: Chancy, history: History, chancy_clock: Clock
):
    day, _ = history.ago(1)
    async with working(chancy_app):
        await anyio.sleep(0.5)
        assert history.attached(history.table(day))
        chancy_clock.advance(days=33)
        await until_gone(history, history.table(day))


async def test_connections_that_are_cut_are_outlived(chancy_app: Chancy, chancy_dsn: str):
    """W2: one lost connection ended the pruner for good."""
    with psycopg.connect(chancy_dsn, autocommit=True, application_name="ours") as conn:
        history = History(conn)
        async with working(chancy_app):
            for _ in range(3):
                conn.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                await anyio.sleep(0.2)
            gone, _ = history.ago(33)
            await until_gone(history, history.table(gone), within=40)


async def test_without_its_tables_it_says_so_and_the_worker_goes_on(
    chancy_app: Chancy, history: History, monkeypatch, caplog
):
    monkeypatch.setattr(trouble, "LASTING", 0.2)
    async with working(chancy_app):
        await chancy_app.migrate(to={"retention": 0})
        with anyio.fail_after(20):
            while "run `chancy migrate`" not in caplog.text:
                await anyio.sleep(0.02)
        await anyio.sleep(1)
        done = await chancy_app.wait_for_job(await tick.push(chancy_app), timeout=10)
        assert done.state == "succeeded"
        said = [one for one in caplog.records if "chancy migrate" in one.getMessage()]
        assert [(one.levelname, one.name) for one in said] == [("ERROR", "chancy.retention")]
        await chancy_app.migrate()
        gone, _ = history.ago(33)
        await until_gone(history, history.table(gone))


async def test_what_stays_is_told_of_once(
    chancy_dsn: str, history: History, caplog, tmp_path: Path
):
    history.ago(33)
    retention = Retention(export=tmp_path / "nowhere")
    async with Chancy(chancy_dsn, plugins=[retention]) as chancy, working(chancy):
        await anyio.sleep(2)
    assert caplog.text.count("cannot be written down") == 1


async def test_who_may_not_says_so_once_and_works_on(chancy_dsn: str, caplog):
    """Under the roles of least rights, where a worker owns no table."""
    with granted(chancy_dsn, migrations=EVERY) as made:
        async with Chancy(made["work"]) as chancy:
            term = Term("retention", 1, uuid4())
            keeper = service.Keeper(Worker(chancy, signals=False), Retention.silent(), term)
            assert await keeper.turn() == await keeper.turn() == service.HOURLY
    assert caplog.text.count("run `chancy retention run`") == 1


async def test_a_defect_of_its_own_is_the_plugins(chancy_app: Chancy, monkeypatch, caplog):
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(Plugin, "run", broken)
    async with working(chancy_app):
        done = await chancy_app.wait_for_job(await tick.push(chancy_app), timeout=10)
        assert done.state == "succeeded"
        with anyio.fail_after(15):
            while "a defect" not in caplog.text:
                await anyio.sleep(0.02)
    assert "plugin retention" in caplog.text
