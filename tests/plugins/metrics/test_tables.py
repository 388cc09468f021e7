"""The tables: written once, merged into what a recount of the raw events gives, and forgotten."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
from anyio import from_thread, to_thread
from hypothesis import given, settings
from hypothesis import strategies as st

from chancy import Chancy, Job
from chancy_core.statement import Statement
from chancy_core.testing import Clock
from chancy_plugins.metrics import Metrics, counting, leading, process, statements
from chancy_plugins.metrics.key import Key, MetricKind
from chancy_plugins.metrics.leading import Leading
from chancy_plugins.metrics.tally import Cell

pytestmark = pytest.mark.anyio

COUNTER, GAUGE, HISTOGRAM = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.HISTOGRAM
KINDS = {"acme.c": COUNTER, "acme.g": GAUGE, "acme.h": HISTOGRAM}
FRESH = datetime(2000, 1, 1, tzinfo=UTC)


class Host:
    """As much of a worker as the leader's part needs."""

    name = "alpha"

    def __init__(self, chancy: Chancy) -> None:
        self.chancy = chancy


def sql(chancy: Chancy, text: str, params: Mapping[str, Any] | None = None) -> Statement[Any]:
    return Statement.written(text, chancy.names, params or {}, list)


def cells(*events: tuple[str, float, str]) -> dict[Key, Cell]:
    found: dict[Key, Cell] = {}
    for name, value, label in events:
        cell = found.setdefault(Key.of(KINDS[name], name, at=label), Cell())
        if KINDS[name] is HISTOGRAM:
            cell.observe([value])
        else:
            cell.add(value)
    return found


async def write(
    chancy: Chancy, number: int, some: dict[Key, Cell], *, session=None, age=0.0, worker="alpha"
) -> None:
    session = session or uuid4()
    await chancy.database.run(
        statements.write(chancy.names, session, worker, number, some, age=age)
    )


async def merge(chancy: Chancy, most: int = statements.BATCH) -> int:
    return await chancy.database.run(statements.merge(chancy.names, most))


async def total(chancy: Chancy, name: str = "acme.c", **asked: Any) -> float:
    return sum(series.whole().total for series in await Metrics(chancy).query(name, **asked))


async def test_a_number_is_written_once_however_often_it_is_tried(chancy_app: Chancy):
    """The commit of the first may have been in doubt: the worker sends the same once more."""
    session = uuid4()
    for number in (1, 1, 2, 1, 2, 2, 5, 3):
        await write(chancy_app, number, cells(("acme.c", 10, "x")), session=session)
    assert await total(chancy_app) == 30
    while await merge(chancy_app):
        pass
    assert await total(chancy_app) == 30


async def test_two_who_write_the_same_number_at_once_write_it_once(chancy_app: Chancy):
    """A retry may overtake a first try that the server has not given up yet."""
    session = uuid4()
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(
                lambda: write(chancy_app, 7, cells(("acme.c", 1, "x")), session=session)
            )
    assert await total(chancy_app) == 1


async def test_two_who_merge_at_once_count_nothing_twice(chancy_app: Chancy):
    for number in range(60):
        await write(chancy_app, number, cells(("acme.c", 1, "x"), ("acme.h", 2, "y")))
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(merge, chancy_app, 50)
    while await merge(chancy_app):
        pass
    assert await total(chancy_app) == 60
    (series,) = await Metrics(chancy_app).query("acme.h")
    assert series.whole().count == sum(series.whole().buckets.values()) == 60


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(KINDS)),
        st.integers(1, 1_000),
        st.sampled_from("xy"),  # a label
        st.integers(0, 5 * 3_600),  # seconds ago
        st.sampled_from(["alpha", "beta"]),
        st.integers(0, 9),  # how many rows are merged afterwards
    ),
    min_size=1,
    max_size=30,
)


async def merged_equals_recounted(chancy: Chancy, events: Any) -> None:
    await chancy.database.run(
        sql(chancy, "TRUNCATE {metric_points}"), sql(chancy, "TRUNCATE {metric_increments}")
    )
    now = await chancy.database.run(statements.now(chancy.names))
    raw: list[tuple[str, float, str, datetime, str]] = []
    for number, (name, value, label, ago, worker, most) in enumerate(events):
        at = now - timedelta(seconds=ago)
        raw.append((name, float(value), label, at, worker))
        await write(chancy, number, cells((name, value, label)), worker=worker)
        text = "UPDATE {metric_increments} SET made_at = %(at)s WHERE id = (SELECT max(id) FROM {metric_increments})"  # noqa: E501
        await chancy.database.run(sql(chancy, text, {"at": at}))
        if most:
            await merge(chancy, most)
    for size in statements.KEPT:
        for by in ((), ("at",), ("worker",) if size <= 300 else ()):
            await compare(chancy, raw, size, by, now)


async def compare(chancy: Chancy, raw: Any, size: int, by: tuple[str, ...], now: datetime) -> None:
    for name, kind in KINDS.items():
        expected: dict[Any, list[Any]] = {}
        for other, value, label, at, worker in raw:
            if other == name:
                known = {"at": label, "worker": worker}
                began = at - (at - FRESH) % timedelta(seconds=size)
                place = (tuple(known[one] for one in by), began)
                expected.setdefault(place, []).append((at, value, label))
        found = {
            (tuple(series.labels[one] for one in by), point.at): point
            for series in await Metrics(chancy).query(
                name, by=by, start=now - timedelta(hours=6), resolution=size
            )
            for point in series.points
        }
        assert found.keys() == expected.keys()
        for place, events in expected.items():
            point, values = found[place], [value for _, value, _ in events]
            assert point.count == len(values)
            if kind is not GAUGE:
                assert (point.total, point.low, point.high) == (
                    sum(values), min(values), max(values),
                )  # fmt: skip
            if kind is HISTOGRAM:
                cell = Cell()
                for value in values:
                    cell.observe([value])
                assert point.buckets == cell.buckets
            if kind is GAUGE:
                assert point.latest in latest(events)


def latest(events: list[tuple[datetime, float, str]]) -> set[float]:
    """What a gauge may be: the last of each series, added up; any of those said at once."""
    sums = {0.0}
    for label in {label for _, _, label in events}:
        own = [(at, value) for at, value, other in events if other == label]
        last = max(at for at, _ in own)
        sums = {sum_ + value for sum_ in sums for at, value in own if at == last}
    return sums


async def test_what_is_merged_equals_a_recount_of_what_has_happened(chancy_app: Chancy):
    """Whatever was recorded when, by whom, and however it was merged: at each resolution."""

    @given(events=EVENTS)
    @settings(max_examples=15)
    def check(events: Any) -> None:
        from_thread.run(merged_equals_recounted, chancy_app, events)

    await to_thread.run_sync(check)


async def test_a_row_that_makes_no_sense_is_told_of_and_hinders_no_other(
    chancy_app: Chancy, caplog
):
    await write(chancy_app, 1, cells(("acme.c", 1, "x")))
    text = (
        "INSERT INTO {metric_increments} (made_at, worker, name, kind, unit, labels, count, total,"
        " low, high, latest, buckets) VALUES ({now}(), 'evil', 'acme.h', 'histogram', '',"
        " '{{}}', 1, 1, 1, 1, 1, '{{\"x\": \"y\"}}')"
    )
    await chancy_app.database.run(sql(chancy_app, text))
    for number in range(20):
        await write(chancy_app, number, cells(("acme.h", 1, "x")))
    await Leading(Host(chancy_app)).merge()
    assert await chancy_app.database.run(sql(chancy_app, "SELECT FROM {metric_increments}")) == []
    assert await total(chancy_app) == 1
    assert await total(chancy_app, "acme.h") == 20
    told = [r.getMessage() for r in caplog.records if "cannot be merged" in r.getMessage()]
    assert len(told) == 1
    assert "acme.h histogram" in told[0]


async def test_points_are_kept_for_as_long_as_their_resolution_says(
    chancy_app: Chancy, chancy_clock: Clock
):
    metrics = Metrics(chancy_app)

    async def kept() -> set[int]:
        await Leading(Host(chancy_app)).forget()
        text = "SELECT DISTINCT resolution FROM {metric_points}"
        return {row[0] for row in await chancy_app.database.run(sql(chancy_app, text))}

    await write(chancy_app, 1, cells(("acme.c", 5, "x")))
    await merge(chancy_app)
    every = {0, *statements.KEPT}
    assert await kept() == every
    for size, hours in ((60, 7), (300, 42), (3_600, 31 * 24), (86_400, 370 * 24)):
        chancy_clock.advance(hours=hours)
        every -= {size}
        if size != 86_400:
            assert await kept() == every
            assert await total(chancy_app, last=timedelta(days=60)) == 5
    assert [one.name for one in await metrics.names()] == ["acme.c"]
    chancy_clock.advance(days=40)
    await kept()  # the last points go, and then the series with what there ever was
    assert await kept() == set()
    assert await metrics.names() == []
    sessions = await chancy_app.database.run(sql(chancy_app, "SELECT FROM {metric_sessions}"))
    assert sessions == []


async def test_metrics_are_kept_for_as_many_days_as_somebody_says(
    chancy_app: Chancy, chancy_clock: Clock, monkeypatch
):
    monkeypatch.setenv("CHANCY_METRICS_DAYS", "10")
    await write(chancy_app, 1, cells(("acme.c", 5, "x")))
    await merge(chancy_app)
    chancy_clock.advance(days=9)
    await Leading(Host(chancy_app)).forget()
    assert await total(chancy_app, last=timedelta(days=30)) == 5
    chancy_clock.advance(days=3)
    await Leading(Host(chancy_app)).forget()
    assert await total(chancy_app, last=timedelta(days=30), resolution="1d") == 0


async def test_what_is_forgotten_goes_in_bounded_batches(
    chancy_app: Chancy, chancy_clock: Clock, monkeypatch
):
    monkeypatch.setattr(statements, "BATCH", 3)
    for number in range(20):
        await write(chancy_app, number, cells(("acme.c", 1, str(number))))
    await Leading(Host(chancy_app)).merge()
    chancy_clock.advance(hours=7)
    gone = await chancy_app.database.run(statements.forget_points(chancy_app.names, 400))
    assert gone == 3
    await Leading(Host(chancy_app)).forget()
    text = "SELECT count(*) FROM {metric_points} WHERE resolution = 60"
    assert await chancy_app.database.run(sql(chancy_app, text)) == [(0,)]
    assert await total(chancy_app, resolution="5min", last=timedelta(hours=9)) == 20


# -- live jobs -------------------------------------------------------------------------------------


async def test_live_jobs_are_counted_by_queue_and_state(chancy_app: Chancy, chancy_clock: Clock):
    leads = Leading(Host(chancy_app))
    await chancy_app.push_many([Job("f", queue="mail")] * 3)
    late = await chancy_app.database.run(statements.now(chancy_app.names)) + timedelta(hours=1)
    await chancy_app.push(Job("f", queue="mail", scheduled_at=late))
    chancy_clock.advance(minutes=10)
    assert await leads.count() == leading.LOOKING
    found = {(one.queue, one.state): one for one in await Metrics(chancy_app).counts()}
    assert {key: one.count for key, one in found.items()} == {
        ("mail", "pending"): 3,
        ("mail", "scheduled"): 1,
    }
    waits = found["mail", "pending"]
    assert waits.exact
    assert timedelta(minutes=9) < waits.as_of - waits.oldest_at < timedelta(minutes=11)
    assert found["mail", "scheduled"].oldest_at is None
    await Metrics(chancy_app).flush()
    await chancy_app.database.run(sql(chancy_app, "DELETE FROM {jobs}"))
    chancy_clock.advance(seconds=30)
    await leads.count()
    assert [one.count for one in await Metrics(chancy_app).counts()] == [0, 0]
    tally = process.of_worker(leads._host).tally.take()
    gauges = {(key.name, *dict(key.labels).values()): cell.latest for key, cell in tally.items()}
    assert gauges["jobs.live", "mail", "pending"] == 0
    assert gauges["jobs.oldest", "mail"] == 0


async def test_what_takes_long_to_count_is_counted_seldom(chancy_app: Chancy, monkeypatch):
    monkeypatch.setattr(leading, "LOOKING", 0.0)
    began = anyio.current_time()
    pause = await Leading(Host(chancy_app)).count()
    assert 0 < pause <= 100 * (anyio.current_time() - began)


async def test_too_many_are_not_counted_and_it_is_said_that_there_are_at_least_so_many(
    chancy_app: Chancy, monkeypatch
):
    monkeypatch.setattr(counting, "MOST", 50)
    await chancy_app.push_many([Job("f", queue="mail")] * 80)
    await Leading(Host(chancy_app)).count()
    (one,) = await Metrics(chancy_app).counts()
    assert (one.count, one.exact) == (50, False)


async def test_a_count_that_takes_too_long_is_given_up(chancy_app: Chancy, monkeypatch):
    slow = "SELECT '', '', 0, {now}(), {now}(), pg_sleep(60) IS NULL"
    monkeypatch.setattr(counting, "LIMIT", 0.05)
    monkeypatch.setattr(counting, "_LIVE", slow)
    monkeypatch.setattr(
        counting, "_LIMIT", "SELECT set_config('statement_timeout', '50ms', true), %(limit)s::text"
    )
    assert 5 <= await Leading(Host(chancy_app)).count() < 1_000
    assert await Metrics(chancy_app).counts() == []


async def test_the_history_is_not_read_to_count_live_jobs(chancy_app: Chancy):
    asked = counting.live(chancy_app.names)
    plan = Statement(b"EXPLAIN " + asked.text, asked.params, lambda rows: "\n".join(map(str, rows)))
    shown = await chancy_app.database.run(plan)
    assert "chancy_jobs" in shown
    assert "history" not in shown


async def test_tables_and_workers_are_measured(chancy_app: Chancy):
    leads = Leading(Host(chancy_app))
    for session, slots in ((uuid4(), 5), (uuid4(), 7)):
        await chancy_app.database.run(
            statements.write(chancy_app.names, session, "w", 1, {}, age=0, slots=slots, running=2)
        )
    gone = statements.write(chancy_app.names, uuid4(), "w", 1, {}, age=0, slots=9, ended=True)
    await chancy_app.database.run(gone)
    await leads.look()
    found = {
        (key.name, *dict(key.labels).values()): cell.latest
        for key, cell in process.of_worker(leads._host).tally.take().items()
    }
    assert (found["workers.alive",], found["workers.slots",]) == (2, 12)
    assert found["workers.running",] == 4
    sizes = {key[2]: value for key, value in found.items() if key[:2] == ("tables.bytes", "rows")}
    assert {"jobs", "history", "queues", "metric_points"} <= sizes.keys()
    assert not any(table.startswith("history_") for table in sizes)
    assert sizes["jobs"] > 100_000
