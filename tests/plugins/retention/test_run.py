"""What a run removes: exactly what the rules say, whenever, and however often it is interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase

import anyio
import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chancy import Chancy, JobFilter, JobNotFound, Queue, State, Worker, job
from chancy_core.testing import Clock
from chancy_core.testing.databases import database
from chancy_plugins.retention import Keep, Retention, RetentionPolicy, days, hours, rows, statements
from chancy_plugins.retention.calendar import DAY
from tests.plugins.retention.conftest import History

STATES = ["succeeded", "failed", "cancelled", "quarantined", "lost"]
#: Durations, and the hours since jobs ended: around each other.
KEPT = [3600.0, 7200.0, 23 * 3600.0, DAY, 2 * DAY, 3.5 * DAY]
HOURS = [0.5, 0.99, 1.01, 2.5, 15, 16, 22, 24, 25, 39, 40, 47, 49, 64, 72, 86, 110, 140]

keeps = st.none() | st.sampled_from(KEPT)
rules = st.builds(
    Keep,
    state=st.none() | st.sets(st.sampled_from(STATES), min_size=1).map(sorted),
    queue=st.sampled_from(["a", "a*", ["b", "a_c"]]),
    func=st.none() | st.sampled_from(["m.*", "m.x", "*"]),
    for_=keeps,
)
jobs = st.fixed_dictionaries(
    {
        "state": st.sampled_from(STATES),
        "queue": st.sampled_from(["a", "abc", "a_c", "b"]),
        "func": st.sampled_from(["m.x", "m.y", "n%"]),
        "hours": st.sampled_from(HOURS),
    }
)


def kept(policy: RetentionPolicy, one: dict[str, str]) -> float | None:
    """For how many seconds a job is kept."""
    for rule in policy.rules:
        asked = ((rule.state, "state"), (rule.queue, "queue"), (rule.func, "func"))
        if all(
            named is None or any(fnmatchcase(one[what], name) for name in named)
            for named, what in asked
        ):
            return rule.for_
    return policy.keep


def goes(policy: RetentionPolicy, now: datetime, at: datetime, one: dict[str, str]) -> bool:
    """Whether a job goes: with its day, or by its own time if it is kept for less than one."""
    midnight = datetime.combine(at.date() + timedelta(days=1), datetime.min.time(), UTC)
    ended = (now - midnight).total_seconds()
    if policy.longest is not None and ended >= max(policy.longest, DAY):
        return True
    mine = kept(policy, one)
    if mine is None:
        return False
    return (now - at).total_seconds() >= mine if mine < DAY else ended >= mine


@pytest.fixture(scope="module")
def frozen(chancy_server: str, chancy_template: str) -> Iterator[History]:
    """A database whose clock stands at three in the afternoon of tomorrow."""
    with database(chancy_server, template=chancy_template) as dsn:
        with Chancy(dsn) as chancy:
            tomorrow = datetime.now(UTC).date() + timedelta(days=1)
            at = datetime.combine(tomorrow, datetime.min.time(), UTC) + timedelta(hours=15.3)
            Clock(chancy).freeze(at)
        with psycopg.connect(dsn, autocommit=True) as conn:
            yield History(conn)


@contextmanager
def small_batches(number: int) -> Iterator[None]:
    before, rows.BATCH = rows.BATCH, number
    try:
        yield
    finally:
        rows.BATCH = before


def one_job(hours: float, **job: str) -> dict[str, object]:
    return {"state": "failed", "queue": "a", "func": "m.x", "hours": hours} | job


@pytest.mark.slow
@settings(max_examples=40)
@example(  # the other queue goes already; the job's own time is over, that of its day is not
    keep=None,
    made=[Keep(queue="b", for_=DAY), Keep(queue="a", for_=2 * DAY)],
    put=[one_job(49), one_job(49, queue="b"), one_job(41)],
    batch=1,
    twice=False,
    backend="asyncio",
)
@example(  # for ever is no lack of a rule
    keep=3600.0,
    made=[Keep(queue="a", for_=None)],
    put=[one_job(49), one_job(49, queue="b")],
    batch=1000,
    twice=False,
    backend="trio",
)
@given(
    keep=keeps,
    made=st.lists(rules, max_size=3),
    put=st.lists(jobs, max_size=25),
    batch=st.sampled_from([1, 3, 1000]),
    twice=st.booleans(),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_exactly_those_go_of_which_the_rules_say_so(
    frozen: History, *, keep, made, put, batch, twice, backend
):
    frozen.conn.execute("TRUNCATE chancy_history, chancy_retention_days")
    policy, now = RetentionPolicy(keep, made), frozen.now()
    expected = set()
    for one in put:
        at = now - timedelta(hours=one["hours"])
        asked = {name: one[name] for name in ("state", "queue", "func")}
        id_ = frozen.put(at, **asked)
        if not goes(policy, now, at, asked):
            expected.add(id_)
    dsn = frozen.conn.info.dsn

    async def run() -> None:
        async with Chancy(dsn) as chancy:
            retention = Retention(keep=keep, rules=made)
            if twice:  # two at once, which share the work or do it twice
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(retention.run, chancy)
                    tasks.start_soon(retention.run, chancy)
            await retention.run(chancy)
            assert frozen.ids() == expected
            assert not await retention.run(chancy)

    with small_batches(batch):
        anyio.run(run, backend=backend)
    assert frozen.ids() == expected


pytestmark = pytest.mark.anyio


@job(name="runs.tick", queue="q")
async def tick() -> int:
    return 7


async def test_the_usual_thirty_days(chancy_app: Chancy, history: History):
    gone, _ = history.ago(32)
    stays, ids = history.ago(30.5)
    removed = await Retention.of(chancy_app).run(chancy_app)
    assert removed.days == (gone,)
    assert not removed.problems
    assert history.ids() == set(ids)
    assert not history.there(history.table(gone))
    assert history.attached(history.table(stays))


async def test_a_job_that_was_dropped_is_unknown_and_live_ones_are_not_touched(
    chancy_app: Chancy, chancy_clock: Clock
):
    await chancy_app.declare(Queue("q", executor="async"))
    async with Worker(chancy_app, signals=False):
        done = await chancy_app.wait_for_job(await tick.push(chancy_app), timeout=20)
    live = await tick.push(chancy_app)
    assert not await Retention(keep=days(1)).run(chancy_app)
    chancy_clock.advance(days=3)
    removed = await Retention(keep=days(1)).run(chancy_app)
    assert done.finished_at.date() in removed.days
    with pytest.raises(JobNotFound):
        await chancy_app.get_job(done.id)
    assert [one.id for one in (await chancy_app.list_jobs()).jobs] == [live.id]
    chancy_clock.advance(days=40)  # nobody has made a partition for that day meanwhile
    async with Worker(chancy_app, signals=False):
        assert (await chancy_app.wait_for_job(live, timeout=20)).result() == 7


async def test_today_and_yesterday_are_never_dropped_as_a_whole(
    chancy_app: Chancy, history: History, chancy_clock: Clock
):
    now = chancy_clock.freeze()
    day, ids = history.ago(0.01, 3)
    chancy_clock.advance(hours=25)
    removed = await Retention(keep=hours(1)).run(chancy_app)
    assert day not in removed.days
    assert removed.deleted == len(ids)
    assert history.attached(history.table(day))
    chancy_clock.advance_to(now + timedelta(days=3))
    assert day in (await Retention(keep=hours(1)).run(chancy_app)).days


async def test_each_row_is_looked_at_once_for_each_time_and_set_of_rules(
    chancy_app: Chancy, history: History
):
    history.ago(10, 30)
    looked = []

    async def run(**asked: object) -> int:
        looked.clear()
        await Retention(**asked).run(chancy_app, watch=lambda what, number: looked.append(number))
        return sum(looked)

    rule = Keep(state="failed", for_=days(2))
    assert await run(keep=days(60), rules=[rule]) == 30
    assert await run(keep=days(60), rules=[rule]) == 0
    assert await run(keep=days(60), rules=[rule, Keep(queue="x", for_=days(5))]) == 30
    assert await run(keep=days(60), rules=[rule, Keep(queue="x", for_=days(5))]) == 0


async def test_it_goes_on_where_its_time_was_over(chancy_app: Chancy, history: History):
    _, ids = history.ago(10, 7)
    retention = Retention(keep=days(60), rules=[Keep(queue="q", for_=days(2))])
    with small_batches(2):
        for left in (5, 3, 1, 0):
            removed = await retention.run(chancy_app, limit=0)
            assert len(history.ids()) == left
            assert removed.more is (left > 0)
        assert removed.deleted == 1
        assert not await retention.run(chancy_app)
    assert len(ids) == 7


async def test_what_somebody_has_locked_is_passed_over_and_found_the_next_time(
    chancy_app: Chancy, history: History, chancy_dsn: str
):
    _, ids = history.ago(10, 5)
    retention = Retention(keep=days(60), rules=[Keep(queue="q", for_=days(2))])
    with psycopg.connect(chancy_dsn) as conn:
        conn.execute("SELECT FROM chancy_history WHERE id = %s FOR UPDATE", [ids[2]])
        with anyio.fail_after(5):
            assert (await retention.run(chancy_app)).deleted == 4
        assert history.ids() == {ids[2]}
    assert (await retention.run(chancy_app)).deleted == 1
    assert history.ids() == set()


async def test_a_job_that_is_brought_back_meanwhile_is_not_lost(
    chancy_app: Chancy, history: History, chancy_dsn: str
):
    _, ids = history.ago(10, 3, state="failed", queue="q")
    retention = Retention(keep=days(60), rules=[Keep(queue="q", for_=days(2))])
    with psycopg.connect(chancy_dsn) as conn:
        assert [one.done for one in chancy_app.retry_jobs_ex(conn, [str(ids[1])])] == [True]
        await retention.run(chancy_app)
    back = await chancy_app.get_job(str(ids[1]))
    assert (back.state, history.ids()) == (State.PENDING, set())
    assert (await chancy_app.list_jobs(JobFilter(queue="q"))).jobs == [back]


FILL = """
INSERT INTO chancy_history (id, queue, func, args, meta, state, priority, max_attempts, attempts,
                            claims, crashes, at_most_once, exclusive, keep_result, created_at,
                            scheduled_at, finished_at)
SELECT gen_random_uuid(), 'q', 'f', '{}', '{}', 'failed', 0, 1, 1, 1, 0, false, false, true, at,
       at, at
  FROM generate_series(1, %(rows)s), LATERAL (SELECT %(at)s::timestamptz) AS time (at)
"""


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_the_database_plans_it_by_the_index_whatever_it_knows(
    chancy_app: Chancy, history: History, mode: str
):
    """Its plan was made when the day had three rows, of which it read all, and is kept."""
    day, _ = history.ago(10, 3)
    policy = RetentionPolicy(days(60), [Keep(queue="q", for_=days(2))])
    (found,) = [one for one in await Retention().days(chancy_app) if one.day == day]
    walk = found.walk(policy, "r")
    assert walk is not None
    names = chancy_app.names
    gently, begin = statements.gently(names), rows.begin(names, walk, "r")
    step = rows.step(names, walk, policy, "r")
    async with chancy_app.store.connection() as conn:

        async def read() -> tuple[int, int]:
            """How many rows of the day are read from one end to the other, and by the index."""
            async with conn.transaction(force_rollback=True):
                await conn.execute(f"SET LOCAL plan_cache_mode = {mode}")
                await conn.execute(gently.text, gently.params)
                await conn.execute(begin.text, begin.params)
                cursor = await conn.execute(step.text, step.params, prepare=True)
                batch = step.read(await cursor.fetchall())
                assert batch.gone == batch.seen > 0
                cursor = await conn.execute(
                    "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables"
                    " WHERE relname = %s",
                    [found.table],
                )
                ((all_of_it, by_index),) = await cursor.fetchall()
            return all_of_it, by_index

        await read()
        at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=1)
        history.conn.execute(FILL, {"rows": 20_000, "at": at})
        all_of_it, by_index = await read()
    assert (all_of_it, by_index <= 3 * rows.BATCH) == (0, True)


async def test_rules_of_others_hold_where_nobody_said_any(
    chancy_app: Chancy, history: History, caplog
):
    history.ago(10)
    silent = Retention.silent()
    assert not await silent.run(chancy_app)
    told = Retention(keep=days(5), rules=[Keep(state="failed", for_=None)])
    await told.run(chancy_app)  # by hand: nobody else goes by it
    assert await silent.rules_of(chancy_app) == RetentionPolicy(days(30))
    await told.run(chancy_app, who="a worker")
    assert await silent.rules_of(chancy_app) == told.policy
    assert "the rules are now" not in caplog.text
    await Retention(keep=days(90)).run(chancy_app, who="another")
    assert "the rules are now 90d; those that a worker was told were others: 5d; " in caplog.text
    assert await silent.rules_of(chancy_app) == RetentionPolicy(days(90))


async def test_who_does_not_know_where_days_are_written_down_drops_none(
    chancy_app: Chancy, history: History, caplog, tmp_path
):
    history.ago(10)
    told = Retention(keep=days(20), export=tmp_path)
    await told.run(chancy_app, who="a worker")
    history.ago(40)
    removed = await Retention.silent().run(chancy_app)
    assert removed.days == ()
    assert "drops no day here: they are written down first" in caplog.text
    assert len((await told.run(chancy_app)).days) == 1


async def test_rules_in_the_table_that_make_no_sense_remove_nothing(
    chancy_app: Chancy, history: History, caplog
):
    history.ago(40)
    for nonsense in ("7", '{"keep": -1, "rules": []}', '{"keep": 60, "rules": [{"for": 1}]}'):
        history.conn.execute("UPDATE chancy_retention_rules SET rules = %s", [nonsense])
        assert not await Retention.silent().run(chancy_app)
    history.conn.execute("DELETE FROM chancy_retention_rules")
    assert (await Retention.silent().run(chancy_app)).days
