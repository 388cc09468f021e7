"""The clock of a test's database is moved, and all that lives by it follows."""

from datetime import UTC, datetime, timedelta

import anyio
import psycopg
import pytest

from chancy import Chancy, Queue, State, Worker
from chancy_core import heartbeat
from chancy_core.errors import InvalidValue, KitError
from chancy_core.postgres import Connection
from chancy_core.testing import Clock, drain
from chancy_core.testing.databases import MARK
from tests.kit.jobs import greet, held, hold
from tests.told import claimed, hearing, listening

pytestmark = pytest.mark.anyio

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def is_near(one: datetime, other: datetime) -> bool:
    return abs(one - other) < 10 * SECOND


async def test_time_moves_forward_and_is_seen_by_everybody(chancy_app: Chancy, chancy_clock: Clock):
    real = datetime.now(UTC)
    assert is_near(chancy_clock.now(), real)
    assert is_near(chancy_clock.advance(hours=1), real + HOUR)
    assert is_near(chancy_clock.advance(HOUR, minutes=30), real + 2.5 * HOUR)
    assert is_near(chancy_clock.advance_to(real + 400 * 24 * HOUR), real + 400 * 24 * HOUR)
    job = await chancy_app.get_job(await chancy_app.push(greet.bind(name="")))
    assert is_near(job.created_at, real + 400 * 24 * HOUR)
    (done,) = await drain(chancy_app)  # in a partition of the history that nobody has made yet
    assert is_near(done.finished_at, real + 400 * 24 * HOUR)
    assert is_near(chancy_clock.reset(), real)
    assert (await chancy_app.get_job(done.id)).state is State.SUCCEEDED


async def test_it_is_not_moved_back(chancy_clock: Clock):
    for move in (
        lambda: chancy_clock.advance(seconds=-1),
        lambda: chancy_clock.advance_to(datetime(2020, 1, 1, tzinfo=UTC)),
        lambda: chancy_clock.freeze(datetime(2020, 1, 1, tzinfo=UTC)),
    ):
        with pytest.raises(InvalidValue, match="moved forward only"):
            move()
    for at in (datetime(2999, 1, 1), "2999-01-01"):  # noqa: DTZ001
        with pytest.raises(InvalidValue, match="with a time zone"):
            chancy_clock.advance_to(at)
    assert is_near(chancy_clock.now(), datetime.now(UTC))


async def test_a_clock_that_stands_still_moves_by_hand(chancy_app: Chancy, chancy_clock: Clock):
    at = chancy_clock.freeze(datetime(2999, 12, 31, 23, 59, tzinfo=UTC))
    assert at == datetime(2999, 12, 31, 23, 59, tzinfo=UTC)
    first, second = await chancy_app.push_many([greet.bind(name="1"), greet.bind(name="2")])
    due = await chancy_app.push(greet.bind(name="3").options(scheduled_at=at + HOUR))
    jobs = await chancy_app.get_jobs([first, second, due])
    assert {job.created_at for job in jobs} == {at}
    assert [job.id for job in await drain(chancy_app)] == [first.id, second.id]
    assert chancy_clock.advance(minutes=59) == at + HOUR - timedelta(minutes=1)
    assert len(await drain(chancy_app)) == 0
    assert (await drain(chancy_app, with_scheduled=True)).jobs[0].finished_at == at + HOUR
    assert chancy_clock.now() == at + HOUR
    assert SECOND > chancy_clock.unfreeze() - (at + HOUR) > timedelta(0)
    assert chancy_clock.now() < chancy_clock.now()


async def test_a_move_is_told(chancy_clock: Clock, chancy_dsn: str):
    async with listening(chancy_dsn) as told:
        chancy_clock.advance(hours=1)
        assert set(await told()) == {("", "queue.scheduled:"), ("", "queue.resumed:")}


async def test_workers_follow_at_once(chancy_app: Chancy, chancy_clock: Clock):
    await chancy_app.declare(Queue("mail", executor="async", polling_interval=3600))
    due = datetime.now(UTC) + HOUR
    async with hearing(Worker(chancy_app)):
        before = await chancy_app.push(greet.bind(name="now"))
        await chancy_app.wait_for_job(before, timeout=20)
        later = await chancy_app.push(greet.bind(name="later").options(scheduled_at=due))
        chancy_clock.advance(hours=1)
        with anyio.fail_after(3):  # less than a worker's look around
            done = await chancy_app.wait_for_job(later)
        assert done.started_at >= due
        await chancy_app.pause_queue("mail", resume_at=HOUR)
        paused = await chancy_app.push(greet.bind(name="paused"))
        chancy_clock.advance(hours=1)
        with anyio.fail_after(3):
            await chancy_app.wait_for_job(paused)


@pytest.mark.parametrize("frozen", [False, True], ids=["goes", "stands"])
async def test_a_jump_kills_the_worker_that_is_gone_and_not_the_one_that_runs(
    chancy_app: Chancy, chancy_clock: Clock, monkeypatch, frozen: bool
):
    monkeypatch.setattr(heartbeat, "LEASE", 0.8)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.15)
    held[:] = [anyio.Event()]
    for queue in ("q", "mail"):
        await chancy_app.declare(Queue(queue, executor="async"))
    theirs = await chancy_app.push(greet.bind(name="theirs").options(queue="q"))
    if frozen:
        chancy_clock.freeze()
    gone = (await claimed(chancy_app)).worker  # its lease is good for a minute
    async with Worker(chancy_app, grace_period=0):
        ours = await chancy_app.push(hold.bind())
        with anyio.fail_after(20):
            await held[0].wait()
            before = {w.id for w in await chancy_app.get_all_workers()} - {gone}
            chancy_clock.advance(hours=1)
            rescued = await chancy_app.wait_for_job(theirs)
        mine = await chancy_app.get_job(ours)
        (after,) = (w for w in await chancy_app.get_all_workers() if w.id != gone)
    assert (rescued.state, rescued.crashes, rescued.claims) == (State.SUCCEEDED, 1, 2)
    assert ({after.id}, after.alive) == (before, True)
    assert (mine.state, mine.claims, mine.crashes) == (State.RUNNING, 1, 0)


async def test_a_database_that_is_no_tests_own_is_left_alone(chancy_app: Chancy, chancy_clock):
    async with await Connection.connect(chancy_app.conninfo, autocommit=True) as conn:
        (name,) = await (await conn.execute("SELECT current_database()")).fetchone()
        for comment in ("NULL", "'production'"):
            await conn.execute(f'COMMENT ON DATABASE "{name}" IS {comment}')
            for move in (chancy_clock.advance, chancy_clock.freeze, chancy_clock.reset):
                with pytest.raises(KitError, match="test's own and nowhere else"):
                    move()
            await chancy_app.push(
                greet.bind(name="").options(scheduled_at=chancy_clock.now() + HOUR)
            )
            with pytest.raises(KitError, match="test's own and nowhere else"):
                await drain(chancy_app, with_scheduled=True)
        await conn.execute(
            f"COMMENT ON DATABASE \"{name}\" IS '{MARK.replace(chr(39), chr(39) * 2)}'"
        )
    chancy_clock.advance(hours=1)


def test_the_mark_is_not_copied(chancy_app: Chancy, chancy_clock: Clock, chancy_server: str):
    chancy_clock.advance(hours=1)
    chancy_app.sync_close()
    with psycopg.connect(chancy_server, autocommit=True) as conn:
        name = psycopg.conninfo.conninfo_to_dict(chancy_app.dsn)["dbname"]
        conn.execute(f'CREATE DATABASE "{name}_copy" TEMPLATE "{name}"')
        try:
            with (
                Chancy(
                    psycopg.conninfo.make_conninfo(chancy_server, dbname=f"{name}_copy")
                ) as copy,
                pytest.raises(KitError),
            ):
                Clock(copy).advance(hours=1)
        finally:
            conn.execute(f'DROP DATABASE "{name}_copy" WITH (FORCE)')
