"""Entries that are declared in code."""

import logging

import anyio
import pytest

from chancy import Chancy, Queue, Worker, job
from chancy_core.errors import InvalidValue, MissingExtra
from chancy_plugins.cron import Cron, catch_up, cron, declared

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("code")]


async def until_declared(chancy: Chancy, *keys: str) -> dict[str, object]:
    with anyio.fail_after(15):
        while True:
            found = {one.key: one for one in await Cron(chancy).entries()}
            if found.keys() >= set(keys):
                return found
            await anyio.sleep(0.02)


def test_above_and_below_job_and_as_often_as_you_like():
    @cron("0 3 * * *", tz="Europe/Paris", missed=catch_up(3), jitter=60)
    @job(name="code.above", queue="reports")
    async def above(city: str = "Oslo") -> str:
        return city

    @job(name="code.below", queue="reports")
    @cron("@hourly", kwargs={"city": "Rome"})
    @cron("@daily", key="daily", kwargs={"city": "Bonn"})
    async def below(city: str) -> str:
        return city

    assert above.func.__name__ == "above"
    entries = declared.entries()
    assert entries.keys() == {"code.above", "code.below", "daily"}
    first = entries["code.above"]
    assert (first.schedule.tz, first.missed, first.jitter) == ("Europe/Paris", "catch_up(3)", 60)
    assert (first.job.func, first.job.queue, first.job.kwargs) == ("code.above", "reports", {})
    assert entries["code.below"].job.kwargs == {"city": "Rome"}
    assert entries["daily"].job.kwargs == {"city": "Bonn"}


async def test_it_is_still_a_job_and_still_a_function():
    @cron("@hourly")
    @job(name="code.plain")
    async def plain(n: int = 1) -> int:
        return n

    assert await plain(n=3) == 3
    assert plain.bind(n=4).kwargs == {"n": 4}


def test_nonsense_is_refused_where_it_is_written():
    for expression, settings in (
        ("0 3 * *", {}),
        ("0 3 * * *", {"tz": "Mars/Base"}),
        ("0 3 * * *", {"missed": "never"}),
        ("0 3 * * *", {"jitter": -1}),
        ("0 3 * * *", {"key": ""}),
        ("0 3 * * *", {"kwargs": {"town": "Oslo"}}),
    ):
        with pytest.raises(InvalidValue):

            @cron(expression, **settings)
            @job(name="code.refused")
            async def refused(city: str = "Oslo") -> None: ...

    with pytest.raises(InvalidValue, match="@cron stands beside @job, on a function"):
        cron("0 3 * * *")(5)  # type: ignore[type-var]
    with pytest.raises(InvalidValue, match="two of them have the key 'of the job'"):

        @cron("@daily")
        @cron("@hourly")
        @job(name="code.twice")
        async def twice() -> None: ...


def test_what_is_found_out_later_is_told_of_and_left_out(caplog: pytest.LogCaptureFixture):
    @cron("@hourly")
    async def no_job() -> None: ...

    @job(name="code.needs")
    @cron("@hourly")
    async def needs(city: str) -> None: ...

    @cron("@hourly", key="same")
    @job(name="code.one")
    async def one() -> None: ...

    @cron("@daily", key="same")
    @job(name="code.other")
    async def other() -> None: ...

    @cron("@daily")
    @job(name="code.good")
    async def good() -> None: ...

    with caplog.at_level(logging.ERROR, "chancy.cron"):
        assert declared.entries().keys() == {"code.good"}
    assert "no_job is left out: it is no job; decorate it with @job as well" in caplog.text
    assert "@cron of code.needs is left out" in caplog.text
    assert "missing a required argument: 'city'" in caplog.text
    assert "@cron of code.one and code.other: all want the key 'same'" in caplog.text


async def test_a_worker_declares_what_its_code_has(chancy_app: Chancy):
    @cron("* * * * * *")
    @job(name="code.tick", queue="q")
    async def tick() -> None: ...

    await chancy_app.declare(Queue("q", executor="async"))
    async with Worker(chancy_app, signals=False):
        found = await until_declared(chancy_app, "code.tick")
        assert found["code.tick"].in_code
        with anyio.fail_after(15):
            while not await Cron(chancy_app).fires("code.tick"):
                await anyio.sleep(0.02)


async def test_a_worker_that_starts_again_changes_nothing(chancy_app: Chancy, chancy_clock):
    @cron("0 3 * * *", key="kept")
    @job(name="code.kept")
    async def kept() -> None: ...

    async with Worker(chancy_app, signals=False):
        before = (await until_declared(chancy_app, "kept"))["kept"]
    await Cron(chancy_app).pause("kept")
    chancy_clock.advance(days=2)
    async with Worker(chancy_app, signals=False):
        await Cron(chancy_app).declare("@daily", kept, key="sign")
        await anyio.sleep(0.5)
    after = await Cron(chancy_app).entry("kept")
    assert (after.next_at, after.paused) == (before.next_at, True)
    assert after.revision == before.revision + 1  # by the pause


async def test_what_has_gone_from_the_code_is_left(chancy_app: Chancy):
    async def old() -> None: ...

    entry = declared._Asked(declared.Schedule("@daily"), "old", "skip", 0, {}).entry(
        job(name="code.old")(old).bind()
    )
    from chancy_plugins.cron import statements

    stored = statements.declare(chancy_app.names, entry, None, in_code=True)
    await chancy_app.database.run(stored)
    async with Worker(chancy_app, signals=False):
        await anyio.sleep(0.5)
    left = await Cron(chancy_app).entry("old")
    assert (left.in_code, left.key in declared.entries()) == (True, False)


def test_a_missing_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(MissingExtra, match=r"pip install 'chancy\[cron\]'"):
        cron("0 3 * * *")
