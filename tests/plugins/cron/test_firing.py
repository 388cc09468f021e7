"""Each tick is fired once, whoever looks, dies at it, or has written nonsense beside it."""

import logging
import random
from collections import Counter
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
import pytest
from attrs import evolve

from chancy import Chancy, Job, State, job
from chancy_core.statement import Push, Statement, nothing
from chancy_core.testing import Clock, drain
from chancy_plugins.cron import Cron, Schedule, catch_up
from chancy_plugins.cron.firing import Firing
from chancy_plugins.cron.missed import MOST

pytestmark = pytest.mark.anyio

EVERY = "*/20 * * * * *"


@job(name="crons.run", queue="q")
async def run(number: int = 0) -> int:
    return number


async def sql(chancy: Chancy, text: str, **params: Any) -> list[Any]:
    database = chancy.database
    return await database.run(Statement.written(text, database.names, params, list))


async def recorded(chancy: Chancy, key: str) -> list[datetime]:
    """The ticks that were written down, the oldest first."""
    return [fire.tick for fire in reversed(await Cron(chancy).fires(key, 10_000))]


async def pushed(chancy: Chancy, key: str) -> Counter[str]:
    """How often each tick has a job."""
    page = await chancy.list_jobs(limit=10_000)
    metas = [job.meta["cron"] for job in page.jobs if "cron" in job.meta]
    return Counter(meta["tick"] for meta in metas if meta["key"] == key)


async def exactly_once(chancy: Chancy, key: str, ticks: list[datetime]) -> None:
    assert await recorded(chancy, key) == ticks
    assert await pushed(chancy, key) == Counter(tick.isoformat() for tick in ticks)


# -- whoever looks, and dies at it -----------------------------------------------------------------


class Died(Exception):
    """A worker is gone, with all that it had not committed."""


class Mortal:
    """An application whose process dies once it has been answered so many statements."""

    def __init__(self, app: Chancy, lives: int) -> None:
        self._app, self._lives = app, lives

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    @property
    def database(self) -> "Mortal":
        return self

    async def run(self, *statements: Statement[Any]) -> Any:
        return await self._app.database.run(*(self._watched(each) for each in statements))

    def _watched(self, statement: Statement[Any]) -> Statement[Any]:
        def read(rows: Any) -> Any:
            answer = statement.read(rows)
            self._live()
            return answer

        return evolve(statement, read=read)

    def _live(self) -> None:
        self._lives -= 1
        if self._lives < 0:
            raise Died

    async def pushed(self, push: Push, stored: Collection[UUID]) -> None:
        self._live()  # committed, and nobody is told


@pytest.mark.parametrize("seed", range(6))
async def test_each_tick_is_fired_once_however_many_look_and_die(
    chancy_app: Chancy, chancy_clock: Clock, seed: int
):
    chance = random.Random(seed)
    start = chancy_clock.freeze()
    keys = ["a", "b", "c"]
    for key in keys:
        await Cron(chancy_app).declare(EVERY, run.bind(), key=key, missed=catch_up(MOST))
    dead = 0

    async def work(lives: int) -> None:
        nonlocal dead
        firing = Firing(Mortal(chancy_app, lives))  # type: ignore[arg-type]
        try:
            while (await firing.fire()).again:
                await anyio.lowlevel.checkpoint()
        except Died:
            dead += 1

    steps = [0, 1, 3, 19, 20, 20, 21, 60, 75, 400]
    for step in chance.sample(steps, len(steps)):
        chancy_clock.advance(seconds=step)
        async with anyio.create_task_group() as workers:
            for _ in range(4):
                workers.start_soon(work, chance.randrange(12))
    now = chancy_clock.now()
    await Cron(chancy_app).fire_due()
    expected = list(Schedule(EVERY).between(start, now))
    assert dead > 3
    assert len(expected) > 10
    for key in keys:
        await exactly_once(chancy_app, key, expected)


async def test_whoever_stood_still_between_reading_and_writing_changes_nothing(
    chancy_app: Chancy, chancy_clock: Clock
):
    """As a process that was stopped, or a machine that slept, and wakes up after the others."""
    start = chancy_clock.freeze()
    await Cron(chancy_app).declare(EVERY, run.bind(), key="a")
    chancy_clock.advance(seconds=20)
    run_before = chancy_app.database.run
    others = Cron(chancy_app)

    class Late(Mortal):
        async def run(self, *statements: Statement[Any]) -> Any:
            if len(statements) > 1:  # it is about to write
                assert len(await others.fire_due()) == 1
            return await run_before(*statements)

    turn = await Firing(Late(chancy_app, 99)).fire()  # type: ignore[arg-type]
    assert turn.fired == []
    assert turn.again
    await exactly_once(chancy_app, "a", list(Schedule(EVERY).between(start, chancy_clock.now())))


async def test_a_tick_is_not_fired_again_when_the_clock_is_put_back(
    chancy_app: Chancy, chancy_clock: Clock
):
    """A server that takes over may be behind; so may a row that somebody has put back."""
    start = chancy_clock.freeze()
    await Cron(chancy_app).declare(EVERY, run.bind(), key="a", missed=catch_up(MOST))
    chancy_clock.advance(seconds=60)
    assert len(await Cron(chancy_app).fire_due()) == 3
    await sql(chancy_app, "UPDATE {crons} SET next_at = next_at - interval '60 s'")
    chancy_clock.advance(seconds=20)
    assert len(await Cron(chancy_app).fire_due()) == 1
    await exactly_once(chancy_app, "a", list(Schedule(EVERY).between(start, chancy_clock.now())))


async def test_nor_where_its_entry_was_deleted_and_declared_again(
    chancy_app: Chancy, chancy_clock: Clock
):
    chancy_clock.freeze()
    cron = Cron(chancy_app)
    await cron.declare(EVERY, run.bind(), key="a")
    chancy_clock.advance(seconds=20)
    assert len(await cron.fire_due()) == 1
    await cron.delete("a")
    await cron.declare(EVERY, run.bind(), key="a")
    await sql(chancy_app, "UPDATE {crons} SET next_at = next_at - interval '20 s'")
    assert await cron.fire_due() == []
    assert set((await pushed(chancy_app, "a")).values()) == {1}


async def test_the_zone_of_the_connection_does_not_matter(chancy_app: Chancy, chancy_clock: Clock):
    """In an hour that comes twice, times of different zones are never equal for Python."""
    name = (await sql(chancy_app, "SELECT current_database()"))[0][0]
    await sql(chancy_app, f"ALTER DATABASE \"{name}\" SET timezone TO 'Europe/Paris'")
    async with Chancy(chancy_app.dsn) as other:
        chancy_clock.freeze(datetime(2040, 10, 27, 23, 59, 30, tzinfo=UTC))
        assert (await sql(other, "SHOW timezone"))[0][0] == "Europe/Paris"
        await Cron(other).declare("*/30 * * * *", run.bind(), key="a", missed=catch_up(MOST))
        for _ in range(8):
            chancy_clock.advance(minutes=15)
            await Cron(other).fire_due()
        begin = datetime(2040, 10, 27, 23, 59, tzinfo=UTC)
        ticks = list(Schedule("*/30 * * * *").between(begin, chancy_clock.now()))
        await exactly_once(other, "a", ticks)
        assert len(ticks) == 4


# -- what was missed -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "hours"), [("skip", []), ("run_once", [10]), (catch_up(2), [9, 10])]
)
async def test_after_a_night_without_workers(
    chancy_app: Chancy, chancy_clock: Clock, caplog, missed: str, hours: list[int]
):
    day = datetime(2999, 1, 1, tzinfo=UTC)
    chancy_clock.freeze(day)
    cron = Cron(chancy_app)
    await cron.declare("0 1-10 * * *", run.bind(), key="a", missed=missed)
    chancy_clock.advance(hours=11)
    ticks = [day.replace(hour=hour) for hour in hours]
    assert await cron.fire_due() == [("a", tick) for tick in ticks]
    await exactly_once(chancy_app, "a", ticks)
    assert (await cron.entry("a")).next_at == day.replace(day=2, hour=1)
    assert f"{len(hours)} of its runs are begun ({missed})" in caplog.text


async def test_nothing_is_made_up_for_a_pause(chancy_app: Chancy, chancy_clock: Clock):
    day = datetime(2999, 1, 1, tzinfo=UTC)
    chancy_clock.freeze(day)
    cron = Cron(chancy_app)
    await cron.declare("0 * * * *", run.bind(), key="a", missed=catch_up(100))
    await cron.pause("a")
    chancy_clock.advance(hours=5, minutes=30)
    assert await cron.fire_due() == []
    await cron.resume("a")
    assert await cron.fire_due() == []
    chancy_clock.advance(hours=1)
    assert await cron.fire_due() == [("a", day.replace(hour=6))]


# -- what is pushed --------------------------------------------------------------------------------


async def test_the_job_is_as_it_was_declared_and_knows_its_tick(
    chancy_app: Chancy, chancy_clock: Clock
):
    chancy_clock.freeze(datetime(2999, 1, 1, tzinfo=UTC))
    cron = Cron(chancy_app)
    asked = run.bind(number=5).options(priority=3, max_attempts=4, meta={"tenant": 7})
    await cron.declare("0 3 * * *", asked, key="a", tz="Europe/Paris")
    chancy_clock.advance(hours=2)
    await cron.fire_due()
    (done,) = await drain(chancy_app)
    assert (done.state, done.result()) == (State.SUCCEEDED, 5)
    assert (done.queue, done.priority, done.max_attempts) == ("q", 3, 4)
    tick = "2999-01-01T02:00:00+00:00"
    assert done.meta == {"tenant": 7, "cron": {"key": "a", "tick": tick}}
    (fire,) = await cron.fires("a")
    assert (fire.tick.isoformat(), fire.fired_at, fire.job) == (tick, chancy_clock.now(), done.id)


async def test_jitter_puts_the_run_off_and_not_the_tick(chancy_app: Chancy, chancy_clock: Clock):
    chancy_clock.freeze(datetime(2999, 1, 1, tzinfo=UTC))
    cron = Cron(chancy_app)
    for n in range(20):
        await cron.declare("0 3 * * *", run.bind(), key=f"k{n}", jitter=600)
    chancy_clock.advance(hours=3)
    tick = chancy_clock.now()
    assert {at for _, at in await cron.fire_due()} == {tick}
    jobs = (await chancy_app.list_jobs()).jobs
    late = sorted(job.scheduled_at - tick for job in jobs)
    assert len(set(late)) == 20
    assert timedelta(0) <= late[0] < timedelta(seconds=200)
    assert timedelta(seconds=400) < late[-1] <= timedelta(seconds=600)
    assert {job.state for job in jobs} == {State.SCHEDULED}


async def test_a_run_is_left_out_while_the_last_one_holds_its_key(
    chancy_app: Chancy, chancy_clock: Clock
):
    start = chancy_clock.freeze()
    cron = Cron(chancy_app)
    asked = run.bind().options(unique_key="one at a time")
    await cron.declare(EVERY, asked, key="a", missed=catch_up(MOST))
    chancy_clock.advance(seconds=60)
    assert len(await cron.fire_due()) == 3
    chancy_clock.advance(seconds=20)
    await cron.fire_due()
    assert len(await drain(chancy_app)) == 1
    chancy_clock.advance(seconds=20)
    await cron.fire_due()
    fires = list(reversed(await cron.fires("a")))
    assert [fire.tick for fire in fires] == list(Schedule(EVERY).between(start, chancy_clock.now()))
    assert [fire.job is not None for fire in fires] == [True, False, False, False, True]


async def test_plugins_hear_of_what_is_pushed_and_add_to_it(chancy_dsn: str, chancy_clock: Clock):
    from chancy_core.hookspecs import hookimpl

    heard = []

    class Hearing:
        @hookimpl
        def chancy_job_meta(self, job: Job) -> dict[str, Any]:
            return {"heard": job.func}

        @hookimpl
        def chancy_jobs_pushed(self, references: Any) -> None:
            heard.extend(references)

    async with Chancy(chancy_dsn, plugins=[Hearing()]) as chancy:
        chancy_clock.freeze()
        await Cron(chancy).declare(EVERY, run.bind(), key="a")
        chancy_clock.advance(seconds=20)
        await Cron(chancy).fire_due()
        (only,) = (await chancy.list_jobs()).jobs
    assert heard == [only.id]
    assert only.meta["heard"] == "crons.run"


# -- nonsense in the tables ------------------------------------------------------------------------

BROKEN = {
    "expression": "UPDATE {crons} SET expression = 'now and then' WHERE key = 'expression'",
    "zone": "UPDATE {crons} SET tz = 'Mars/Base' WHERE key = 'zone'",
    "empty": "UPDATE {crons} SET job = '{{}}' WHERE key = 'empty'",
    "list": "UPDATE {crons} SET job = '[1]' WHERE key = 'list'",
    "null": "UPDATE {crons} SET job = 'null' WHERE key = 'null'",
    "field": "UPDATE {crons} SET job = job || '{{\"color\": 1}}' WHERE key = 'field'",
    "func": "UPDATE {crons} SET job = job || '{{\"func\": 5}}' WHERE key = 'func'",
    "limits": "UPDATE {crons} SET job = job || '{{\"limits\": 5}}' WHERE key = 'limits'",
    "kwargs": "UPDATE {crons} SET job = job || '{{\"kwargs\": {{\"x\": 1}}}}' WHERE key = 'kwargs'",
    "missed": "UPDATE {crons} SET missed = 'never' WHERE key = 'missed'",
    "horizon": "UPDATE {crons} SET expression = '* 2 * 3 7L', tz = 'Europe/Paris',"
    " next_at = NULL WHERE key = 'horizon'",
}


async def test_a_row_that_makes_no_sense_is_told_of_once_and_hinders_no_other(
    chancy_app: Chancy, chancy_clock: Clock, caplog
):
    chancy_clock.freeze()
    cron, firing = Cron(chancy_app), Firing(chancy_app)
    for key in [*BROKEN, "good", "zzz"]:
        await cron.declare(EVERY, run.bind(), key=key)
    for text in BROKEN.values():
        await sql(chancy_app, f"{text} RETURNING key")
    with caplog.at_level(logging.ERROR, "chancy.cron"):
        for _ in range(3):
            chancy_clock.advance(seconds=20)
            fired = []
            while (turn := await firing.fire()).again:
                fired += turn.fired
            assert sorted(key for key, _ in fired) == ["good", "zzz"]
    told = [record.args[0] for record in caplog.records if record.name == "chancy.cron"]
    assert sorted(told) == sorted(BROKEN.keys() - {"horizon"})
    listed = {one.key: one for one in await cron.entries()}
    assert {key for key, one in listed.items() if one.problem} == BROKEN.keys() - {"horizon"}
    assert listed["horizon"].next_at is None
    # Once somebody has mended it, it runs again.
    await cron.declare(EVERY, run.bind(), key="zone")
    chancy_clock.advance(seconds=20)
    turn = await firing.fire()
    assert "zone" in {key for key, _ in turn.fired}


async def test_a_thousand_broken_rows_hinder_nobody(chancy_app: Chancy, chancy_clock: Clock):
    chancy_clock.freeze()
    cron, firing = Cron(chancy_app), Firing(chancy_app)
    await cron.declare(EVERY, run.bind(), key="good")
    await sql(
        chancy_app,
        "INSERT INTO {crons} (key, expression, job, next_at) "
        "SELECT 'bad' || n, '?', '{{}}', {now}() - interval '1 day' "
        "FROM generate_series(1, 1200) AS n RETURNING key",
    )
    chancy_clock.advance(seconds=20)
    fired = []
    while (turn := await firing.fire()).again:
        fired += turn.fired
    assert [key for key, _ in fired] == ["good"]


async def test_a_job_that_the_database_refuses_costs_its_own_entry_alone(
    chancy_app: Chancy, chancy_clock: Clock, caplog
):
    chancy_clock.freeze()
    cron, firing = Cron(chancy_app), Firing(chancy_app)
    for key, priority in (("a", 7), ("b", 0), ("c", 7)):
        await cron.declare(EVERY, run.bind().options(priority=priority), key=key)
    table = Statement.written(
        "ALTER TABLE {jobs} ADD CHECK (priority <> 7)", chancy_app.names, {}, nothing
    )
    await chancy_app.database.run(table)
    before = (await cron.entry("a")).next_at
    chancy_clock.advance(seconds=20)
    assert [key for key, _ in (await firing.fire()).fired] == ["b"]
    assert not (await firing.fire()).again
    assert await cron.fires("a") == []
    assert (await cron.entry("a")).next_at == before
    assert "cron a is not run by this worker" in caplog.text


async def test_a_row_written_by_hand_is_taken_up(chancy_app: Chancy, chancy_clock: Clock):
    chancy_clock.freeze(datetime(2999, 1, 1, tzinfo=UTC))
    await sql(
        chancy_app,
        "INSERT INTO {crons} (key, expression, job) "
        'VALUES (\'hand\', \'@hourly\', \'{{"func": "crons.run", "queue": "q"}}\') RETURNING key',
    )
    assert await Cron(chancy_app).fire_due() == []
    chancy_clock.advance(hours=1)
    assert await Cron(chancy_app).fire_due() == [("hand", chancy_clock.now())]
