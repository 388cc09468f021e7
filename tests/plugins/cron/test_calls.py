"""Entries that are declared, changed and triggered while everything runs."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chancy import INJECTED, Chancy, Job, QueuedJob, State, job
from chancy_core.errors import InvalidValue
from chancy_core.statement import Statement
from chancy_core.testing import Clock, drain
from chancy_plugins.cron import Cron, CronNotFound, catch_up, statements

pytestmark = pytest.mark.anyio

DAY = datetime(2999, 1, 1, tzinfo=UTC)


@job(name="crons.report", queue="q")
async def report(city: str = "Oslo", *, me: QueuedJob = INJECTED) -> str:
    return f"{city} {me.meta['cron'].get('triggered', False)}"


@pytest.fixture
def cron(chancy_app: Chancy, chancy_clock: Clock) -> Cron:
    chancy_clock.freeze(DAY)
    return Cron(chancy_app)


async def test_an_entry_is_what_was_declared(cron: Cron):
    made = await cron.declare(
        "0 3 * * *",
        report.bind(city="Paris").options(priority=2),
        key="paris",
        tz="Europe/Paris",
        missed=catch_up(5),
        jitter=30,
    )
    assert made == await cron.entry("paris")
    assert (made.key, made.expression, made.tz) == ("paris", "0 3 * * *", "Europe/Paris")
    assert (made.missed, made.jitter, made.paused, made.in_code) == (
        "catch_up(5)",
        30,
        False,
        False,
    )
    assert (made.next_at, made.next_in) == (DAY + timedelta(hours=2), 7200)
    assert made.sound().job == Job("crons.report", kwargs={"city": "Paris"}, queue="q", priority=2)


async def test_its_key_is_its_jobs_name_where_none_is_given(cron: Cron):
    await cron.declare("@daily", report)
    await cron.declare("@daily", Job("elsewhere.f"))
    assert [one.key for one in await cron.entries()] == ["crons.report", "elsewhere.f"]


async def test_a_change_keeps_the_next_tick_unless_the_schedule_changes(cron: Cron, chancy_clock):
    first = await cron.declare("0 * * * *", report)
    chancy_clock.advance(hours=3)
    same = await cron.declare("0 * * * *", report)
    assert (same.revision, same.next_at) == (first.revision, first.next_at)
    changed = await cron.declare("0 * * * *", report.bind(city="Rome"), jitter=5)
    assert (changed.revision, changed.next_at) == (first.revision + 1, first.next_at)
    moved = await cron.declare("30 * * * *", report)
    assert moved.next_at == DAY + timedelta(hours=3, minutes=30)
    zoned = await cron.declare("30 * * * *", report, tz="Asia/Kolkata")
    assert zoned.next_at == DAY + timedelta(hours=4)


async def test_a_pause_outlasts_a_declaration(cron: Cron, chancy_clock):
    await cron.declare("0 * * * *", report)
    await cron.pause("crons.report")
    chancy_clock.advance(hours=2)
    assert (await cron.declare("0 * * * *", report, jitter=3)).paused
    assert await cron.fire_due() == []
    await cron.resume("crons.report")
    after = await cron.entry("crons.report")
    assert (after.paused, after.next_at) == (False, DAY + timedelta(hours=3))
    await cron.resume("crons.report")  # of one that is not paused nothing changes
    assert (await cron.entry("crons.report")).next_at == after.next_at


async def test_it_is_run_when_somebody_asks_for_it(chancy_app: Chancy, cron: Cron):
    await cron.declare("0 3 * * *", report.bind(city="Rome"))
    await cron.pause("crons.report")
    before = await cron.entry("crons.report")
    first, second = await cron.trigger("crons.report"), await cron.trigger("crons.report")
    assert first.new
    assert second.new
    assert await cron.entry("crons.report") == before
    ran = await drain(chancy_app)
    assert [one.result() for one in ran] == ["Rome True"] * 2
    assert [(fire.tick, fire.job) for fire in await cron.fires("crons.report")] == [
        (None, second.id),
        (None, first.id),
    ]


async def test_a_trigger_bows_to_a_unique_key(chancy_app: Chancy, cron: Cron):
    await cron.declare("0 3 * * *", report.bind().options(unique_key="one"))
    first, second = await cron.trigger("crons.report"), await cron.trigger("crons.report")
    assert (second.id, second.new) == (first.id, False)
    assert [fire.job for fire in await cron.fires("crons.report")] == [None, first.id]


async def test_what_is_deleted_runs_no_more_and_is_remembered(
    chancy_app: Chancy, cron: Cron, chancy_clock
):
    await cron.declare("0 * * * *", report)
    chancy_clock.advance(hours=1)
    await cron.fire_due()
    await cron.delete("crons.report")
    chancy_clock.advance(hours=1)
    assert await cron.fire_due() == []
    assert len(await cron.fires("crons.report")) == 1
    assert [one.state for one in (await drain(chancy_app)).jobs] == [State.SUCCEEDED]


@pytest.mark.parametrize("call", ["delete", "pause", "resume", "trigger", "entry"])
async def test_an_entry_that_is_not_there_is_named(cron: Cron, call: str):
    with pytest.raises(CronNotFound, match="no cron entry has the key 'nobody'"):
        await getattr(cron, call)("nobody")


@pytest.mark.parametrize(
    ("nonsense", "said"),
    [
        ({"expression": "0 3 * *"}, "it has 4 fields"),
        ({"expression": "* 2 * 3 7L", "tz": "Europe/Paris"}, "the clocks of Europe/Paris show no"),
        ({"tz": "Mars/Base"}, "time zone 'Mars/Base'"),
        ({"job": "crons.report"}, "job must be a Job, such as my_job.bind()"),
        ({"job": Job("crons.report", kwargs={"town": "Oslo"})}, "it has no argument 'town'"),
        ({"job": Job("f", kwargs={"x": float("nan")})}, "nan is no JSON number"),
        ({"key": ""}, "it must have 1 to 200 bytes"),
        ({"missed": "sometimes"}, "missed must be 'skip'"),
        ({"jitter": 1e9}, "jitter must be 0 to 86,400 seconds"),
    ],
)
async def test_nonsense_is_refused_where_it_is_declared(
    cron: Cron, nonsense: dict[str, Any], said: str
):
    asked = {"expression": "0 3 * * *", "job": report.bind()} | nonsense
    with pytest.raises(InvalidValue, match=re.escape(said)):
        await cron.declare(asked.pop("expression"), asked.pop("job"), **asked)
    assert await cron.entries() == []


async def test_a_broken_row_is_shown_and_can_be_deleted(chancy_app: Chancy, cron: Cron):
    await cron.declare("0 3 * * *", report)
    text = "UPDATE {crons} SET tz = 'Mars/Base' RETURNING key"
    await chancy_app.database.run(Statement.written(text, chancy_app.names, {}, list))
    (broken,) = await cron.entries()
    assert broken.entry is None
    assert "time zone 'Mars/Base'" in str(broken.problem)
    for call in (cron.trigger, cron.resume):
        with pytest.raises(InvalidValue, match=r"'crons\.report' makes no sense: time zone"):
            await call("crons.report")
    await cron.pause("crons.report")
    await cron.delete("crons.report")
    assert await cron.entries() == []


@pytest.mark.parametrize("limit", [0, -1, 10_001, "5", None])
async def test_how_many_fires_are_asked_for(cron: Cron, limit: object):
    with pytest.raises(InvalidValue, match="limit must be 1 to 10,000"):
        await cron.fires("a", limit)  # type: ignore[arg-type]


async def test_fires_are_kept_for_a_while_and_forgotten_in_small_batches(
    chancy_app: Chancy, cron: Cron, monkeypatch
):
    monkeypatch.setattr(statements, "BATCH", 7)
    monkeypatch.setattr(statements, "KEPT", 10)
    await cron.declare("0 3 * * *", report)
    fill = (
        "INSERT INTO {cron_fires} (key, tick, fired_at) "
        "SELECT %(key)s, {now}() - age, {now}() - age FROM (SELECT n * interval '1 day' AS age "
        "FROM generate_series(%(most)s, 0, -1) AS n) "
        "AS old RETURNING id"
    )
    for key, most in (("crons.report", 99), ("gone", 120)):
        params = {"key": key, "most": most}
        await chancy_app.database.run(Statement.written(fill, chancy_app.names, params, list))
    forget = statements.forget(chancy_app.names)
    batches = []
    while number := await chancy_app.database.run(forget):
        batches.append(number)
    assert max(batches) == 7
    kept = [fire.fired_at for fire in await cron.fires("crons.report")]
    assert kept == [DAY - timedelta(days=n) for n in range(10)]
    # Nobody knows of how many keys that are gone there are fires: only their age counts.
    gone = [fire.fired_at for fire in await cron.fires("gone")]
    assert gone == [DAY - timedelta(days=n) for n in range(91)]
