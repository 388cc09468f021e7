"""How a day goes: whatever interrupts it, it is dropped in the end, and no other table is."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import anyio
import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chancy import Chancy, Queue, Worker, job
from chancy_core.testing.databases import database
from chancy_plugins.retention import NotAllowed, Retention, days, dropping, statements
from tests.faults.bouncer import bouncer
from tests.plugins.retention.conftest import History
from tests.roles import EVERY, granted

pytestmark = pytest.mark.anyio

MONTH = Retention(keep=days(30))


@job(name="droppings.tick", queue="q")
async def tick() -> int:
    return 7


@contextmanager
def read_by(dsn: str, text: str = "SELECT count(*) FROM chancy_history") -> Iterator[Any]:
    """Somebody has read the history, and keeps the transaction open."""
    with psycopg.connect(dsn) as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute(text)
        yield conn
        conn.rollback()


@asynccontextmanager
async def cut_at(monkeypatch: pytest.MonkeyPatch, what: str, dsn: str) -> AsyncIterator[None]:
    """The connection of each session but ours is cut before the statement is sent."""
    made = getattr(statements, what)

    def cutting(*given: Any) -> Any:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        return made(*given)

    with monkeypatch.context() as patch:
        patch.setattr(statements, what, cutting)
        yield


async def run(chancy: Chancy, retention: Retention = MONTH) -> list[str]:
    """Run, and answer the problems."""
    return list((await retention.run(chancy)).problems)


@pytest.mark.parametrize("what", ["mean", "detach", "drop", "begun", "forget"])
async def test_a_connection_that_is_cut_before_a_step_costs_that_step(
    chancy_app: Chancy, chancy_dsn: str, monkeypatch, what: str
):
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        first = History(conn)
        gone, _ = first.ago(40, 3)
        _, stays = first.ago(5)
    async with cut_at(monkeypatch, what, chancy_dsn):
        with suppress(psycopg.OperationalError):
            await run(chancy_app)
    assert await run(chancy_app) == []
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        history = History(conn)
        assert not history.there(history.table(gone))
        assert history.ids() == set(stays)
        assert not history.one(
            "SELECT EXISTS (SELECT FROM chancy_retention_days WHERE dropping > 0)"
        )


async def test_a_connection_that_is_cut_while_a_day_is_finished(
    chancy_app: Chancy, chancy_dsn: str, monkeypatch
):
    monkeypatch.setattr(dropping, "PATIENCE", 0.5)
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        gone, _ = History(conn).ago(40)
    with read_by(chancy_dsn):
        (problem,) = await run(chancy_app)
        assert "is dropped later" in problem
    async with cut_at(monkeypatch, "finalize", chancy_dsn):
        with suppress(psycopg.OperationalError):
            await run(chancy_app)
    assert await run(chancy_app) == []
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        assert not History(conn).there(History(conn).table(gone))


async def test_nonsense_in_the_notes_drops_nothing(chancy_app: Chancy, history: History):
    """Oids of other tables, of days that stay, and of nothing."""
    stays, ids = history.ago(5)
    old, _ = history.ago(40)
    history.conn.execute("CREATE TABLE chancy_history_20200105 (mine text)")
    for day, oid in {
        "2020-01-01": "'chancy_jobs'::regclass",
        "2020-01-02": "'pg_class'::regclass",
        "2020-01-03": "4000000000",
        "2020-01-04": f"'{history.table(stays)}'::regclass",
        "2020-01-05": "'chancy_history_20200105'::regclass",
        str(stays): f"'{history.table(stays)}'::regclass",
        str(old): "'chancy_history'::regclass",
    }.items():
        history.conn.execute(
            "INSERT INTO chancy_retention_days (day, dropping, rules, step, done)"
            f" VALUES ('{day}', {oid}, 'nonsense', 'NaN', true)"
        )
    await run(chancy_app)
    assert await run(chancy_app) == []
    for table in ("chancy_jobs", "chancy_history", "chancy_history_20200105"):
        assert history.there(table)
    assert history.ids() == set(ids)
    assert not history.there(history.table(old))


async def test_one_that_died_between_the_steps_is_followed_by_the_next(
    chancy_app: Chancy, history: History
):
    """Killed before, and after, the day was taken out of the history."""
    names, database_ = chancy_app.names, chancy_app.database
    gone = [history.ago(number)[0] for number in (40, 41, 42)]
    left, orphaned, meant = [one for one in await MONTH.days(chancy_app) if one.day in gone]
    for one in (meant, orphaned):
        await database_.run(statements.mean(names, one.day, one.oid))
    await database_.run(statements.detach(names, orphaned.day))
    removed = await MONTH.run(chancy_app)
    assert set(removed.days) == set(gone)
    for one in (left, orphaned, meant):
        assert not history.there(one.table)
    assert history.one("SELECT count(*) = 0 FROM chancy_retention_days")


async def test_a_day_that_is_to_stay_by_now_is_not_dropped_for_an_old_note(
    chancy_app: Chancy, history: History
):
    day, ids = history.ago(40)
    (found,) = [one for one in await MONTH.days(chancy_app) if one.day == day]
    await chancy_app.database.run(statements.mean(chancy_app.names, day, found.oid))
    assert not await Retention(keep=None).run(chancy_app)
    history.conn.execute(f"ALTER TABLE chancy_history DETACH PARTITION {found.table}")
    assert not await MONTH.run(chancy_app)
    assert history.there(found.table)  # somebody keeps it, outside of the history
    assert history.one(f"SELECT count(*) = {len(ids)} FROM {found.table}")


@pytest.mark.slow
async def test_a_long_reader_keeps_a_day_and_nobody_waits_meanwhile(
    chancy_app: Chancy, history: History, chancy_dsn: str, monkeypatch
):
    """Interrupted, it is on its way out: nobody sees it, and the next run drops it."""
    monkeypatch.setattr(dropping, "PATIENCE", 2.0)
    gone, _ = history.ago(40)
    older, _ = history.ago(41)
    _, stays = history.ago(5)
    table = history.table(older)
    await chancy_app.declare(Queue("q", executor="async"))
    async with Worker(chancy_app, signals=False), anyio.create_task_group() as tasks:
        with read_by(chancy_dsn) as reader:
            problems: list[str] = []

            async def remove() -> None:
                problems.extend(await run(chancy_app))

            tasks.start_soon(remove)
            with anyio.fail_after(10):
                while history.attached(table):
                    await anyio.sleep(0.01)
            history.conn.execute("SET lock_timeout = '100ms'")
            assert history.ids() >= set(stays)
            history.conn.execute("SELECT chancy_ensure_partitions(20)")
            with anyio.fail_after(5):
                pushed = await tick.push(chancy_app)
                done = await chancy_app.wait_for_job(pushed, timeout=5)
                assert done.result() == 7
                assert (await chancy_app.get_job(done.id)).id == done.id
                await chancy_app.list_jobs()
                assert reader.execute("SELECT count(*) >= 3 FROM chancy_history").fetchone() == (
                    True,
                )
            with anyio.fail_after(10):
                while not problems:
                    await anyio.sleep(0.05)
            assert (
                f"{table} is dropped later: a transaction has had the history open" in problems[0]
            )
            assert history.there(table)
            with anyio.fail_after(15):
                later = await run(
                    chancy_app
                )  # and one that looks at nothing of ours holds it up, too
            assert any(f"the day {older} is dropped later" in one for one in later)
    assert await run(chancy_app) == []
    assert not history.there(table)
    assert not history.there(history.table(gone))


@pytest.mark.slow
async def test_a_table_that_is_held_is_dropped_once_it_is_free(
    chancy_app: Chancy, history: History, chancy_dsn: str
):
    day, _ = history.ago(40)
    (found,) = [one for one in await MONTH.days(chancy_app) if one.day == day]
    await chancy_app.database.run(statements.mean(chancy_app.names, day, found.oid))
    await chancy_app.database.run(statements.detach(chancy_app.names, day))
    with read_by(chancy_dsn, f"SELECT count(*) FROM {found.table}"):
        with anyio.fail_after(15):
            (problem,) = await run(chancy_app)
        assert f"the table of {day} is dropped later" in problem
        assert history.there(found.table)
    assert await run(chancy_app) == []
    assert not history.there(found.table)


async def test_a_day_that_somebody_else_takes_out_is_theirs(
    chancy_app: Chancy, history: History, chancy_dsn: str
):
    theirs, _ = history.ago(40)
    ours, _ = history.ago(41)
    table = history.table(theirs)
    with read_by(chancy_dsn):
        history.conn.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            history.conn.execute(
                f"ALTER TABLE chancy_history DETACH PARTITION {table} CONCURRENTLY"
            )
        history.conn.execute("SET statement_timeout = 0")
    first, second = await run(chancy_app)
    assert f"{history.table(ours)} stays: somebody is taking another day out" in first
    assert f"{table} is taken out of the history by somebody" in second
    history.conn.execute(f"ALTER TABLE chancy_history DETACH PARTITION {table} FINALIZE")
    assert await run(chancy_app) == []
    assert history.there(table)
    assert not history.there(history.table(ours))


@pytest.mark.parametrize("change", ["renamed", "another", "other columns", "other owner", "parent"])
async def test_a_table_that_is_no_longer_what_was_written_down_stays(
    chancy_app: Chancy, history: History, change: str
):
    day, _ = history.ago(40)
    table = history.table(day)
    (found,) = [one for one in await MONTH.days(chancy_app) if one.day == day]
    await chancy_app.database.run(statements.mean(chancy_app.names, day, found.oid))
    await chancy_app.database.run(statements.detach(chancy_app.names, day))
    kept = table
    for text in {
        "renamed": ["ALTER TABLE {} RENAME TO rescued"],
        "another": ["ALTER TABLE {} RENAME TO rescued", "CREATE TABLE {} (LIKE chancy_history)"],
        "other columns": ["ALTER TABLE {} ADD COLUMN mine integer"],
        "other owner": ["CREATE ROLE {}", "ALTER TABLE {} OWNER TO {}"],
        "parent": ["CREATE TABLE child () INHERITS ({})"],
    }[change]:
        history.conn.execute(text.replace("{}", table))
    if change == "renamed":
        kept = "rescued"
    try:
        await run(chancy_app)
        await run(chancy_app)
        assert history.there(kept)
        assert history.there("rescued") is (change in {"renamed", "another"})
    finally:
        if change == "other owner":
            history.conn.execute(f"ALTER TABLE {table} OWNER TO CURRENT_USER")
            history.conn.execute(f"DROP ROLE {table}")


async def test_two_at_once_drop_each_day_once(chancy_app: Chancy, history: History):
    gone = {history.ago(number)[0] for number in range(40, 50)}
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(MONTH.run, chancy_app)
    assert await run(chancy_app) == []
    assert not [day for day in gone if history.there(history.table(day))]
    assert history.one("SELECT count(*) = 0 FROM chancy_retention_days")


async def test_through_a_pooler(chancy_dsn: str):
    """A statement alone is a transaction there, too; and what is set ends with its own."""
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        history = History(conn)
        gone, _ = history.ago(40, 3)
        _, ids = history.ago(5, 3)
        with bouncer(chancy_dsn) as through:
            async with Chancy(through, notifications=False) as chancy:
                retention = Retention(keep=days(30), rules=[])
                assert (await retention.run(chancy)).days == (gone,)
                for _ in range(5):
                    rows = await chancy.database.run(show(chancy))
                    assert rows == [("0", "on")]
        assert history.ids() == set(ids)


def show(chancy: Chancy) -> statements.Statement[Any]:
    text = "SELECT current_setting('lock_timeout'), current_setting('enable_seqscan')"
    return statements.Statement.written(text, chancy.names, {}, list)


async def test_a_role_that_may_not_says_who_may(chancy_dsn: str):
    with (
        psycopg.connect(chancy_dsn, autocommit=True) as conn,
        granted(chancy_dsn, migrations=EVERY) as made,
    ):
        history = History(conn)
        gone, _ = history.ago(40)
        history.ago(5)
        conn.execute(f"ALTER TABLE {history.table(gone)} OWNER TO {made.roles['owner']}")
        async with Chancy(made["work"]) as chancy:
            with pytest.raises(NotAllowed, match="run `chancy retention run`"):
                await MONTH.run(chancy, who="a worker")
            assert {day.day for day in await MONTH.days(chancy)} >= {gone}
        assert history.attached(history.table(gone))
        async with Chancy(made["migrate"]) as chancy:
            assert (await MONTH.run(chancy)).days == (gone,)


names_of = st.one_of(
    st.dates(date(1, 1, 1), date(9998, 12, 30)).map(lambda day: f"{day:%Y%m%d}".rjust(8, "0")),
    st.from_regex(r"[0-9]{8}", fullmatch=True),
    st.text("0123456789_abcxyzé", min_size=1, max_size=10),
)


@pytest.fixture(scope="module")
def apart(chancy_server: str, chancy_template: str) -> Iterator[str]:
    with database(chancy_server, template=chancy_template) as dsn:
        yield dsn


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tail=names_of, attached=st.booleans(), right=st.booleans())
@example(tail="20260231", attached=True, right=True)
@example(tail="00000101", attached=True, right=True)
@example(tail="20200101", attached=True, right=False)
@example(tail="20200101", attached=False, right=True)
@example(tail="20200101", attached=True, right=True)
def test_what_is_only_called_like_a_day_is_left_alone(
    apart: str, tail: str, attached: bool, right: bool
):
    """Dropped is what is called like a day, is a part of the history, and has that day's bounds."""
    table = f"chancy_history_{tail}"
    with psycopg.connect(apart, autocommit=True) as conn:
        history = History(conn)
        if history.one("SELECT EXISTS (SELECT FROM pg_class WHERE relname = %s)", table):
            return  # one of the coming days
        conn.execute(f'CREATE TABLE "{table}" (LIKE chancy_history INCLUDING ALL)')
        day = _day(tail)
        is_day = (
            attached
            and right
            and day is not None
            and day < datetime.now(UTC).date() - timedelta(40)
        )
        if attached:
            since = day if day is not None and right else date(1999, 1, 1)
            conn.execute(
                f'ALTER TABLE chancy_history ATTACH PARTITION "{table}" FOR VALUES FROM '
                f"('{since.isoformat()} 00:00+00') TO ('{since + timedelta(days=1)} 00:00+00')"
            )
        coming = day is not None and not is_day and attached and right
        try:
            anyio.run(_run, apart)
            found = history.one("SELECT EXISTS (SELECT FROM pg_class WHERE relname = %s)", table)
            assert found is not is_day or coming
        finally:
            conn.execute(f'DROP TABLE IF EXISTS "{table}"')


async def _run(dsn: str) -> None:
    async with Chancy(dsn) as chancy:
        assert (await MONTH.run(chancy)).problems == ()


def _day(tail: str) -> date | None:
    try:
        return date(int(tail[:4]), int(tail[4:6]), int(tail[6:])) if len(tail) == 8 else None
    except ValueError:
        return None
