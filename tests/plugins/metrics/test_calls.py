"""What `Metrics` answers: series over time, by labels, and how many jobs there are."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chancy import Chancy, Queue, job
from chancy_core.errors import InvalidValue
from chancy_core.testing import Clock, drain
from chancy_plugins.metrics import Metrics, count, observe, reading, statements
from chancy_plugins.metrics.key import Key
from chancy_plugins.metrics.tally import Cell
from tests.plugins.metrics.test_tables import COUNTER, GAUGE, cells, merge, write

pytestmark = pytest.mark.anyio


@job(name="metrics.ok", queue="q")
async def ok() -> None:
    count("acme.mails", 2, labels={"country": "fr"})
    observe("acme.size", 8.0, unit="bytes")


@job(name="metrics.bad", queue="q", max_attempts=2)
async def bad() -> None:
    raise RuntimeError("no")


async def test_there_is_no_point_where_nothing_was_recorded(
    chancy_app: Chancy, chancy_clock: Clock
):
    """A gap is no zero."""
    await write(chancy_app, 1, cells(("acme.g", 5, "x")))
    chancy_clock.advance(minutes=10)
    await write(chancy_app, 2, cells(("acme.g", 7, "x")))
    (series,) = await Metrics(chancy_app).query("acme.g")
    assert [point.value for point in series.points] == [5, 7]
    between = series.points[1].at - series.points[0].at
    assert timedelta(minutes=9) <= between <= timedelta(minutes=11)
    assert (series.kind, series.resolution) == (GAUGE, 60)


async def test_a_mean_is_weighted_by_how_many_values_there_were(chancy_app: Chancy):
    await write(chancy_app, 1, cells(*[("acme.h", 1.0, "x")] * 9))
    await write(chancy_app, 2, cells(("acme.h", 11.0, "y")), worker="beta")
    await merge(chancy_app, 1)
    (series,) = await Metrics(chancy_app).query("acme.h")
    assert series.whole().value == series.whole().mean == 2.0
    assert series.whole().quantile(0) == series.whole().quantile(0.5) == 1
    assert series.whole().quantile(1) == 11
    with pytest.raises(InvalidValue, match="0 to 1"):
        series.whole().quantile(2)


async def test_of_a_gauge_the_last_that_was_said_counts_and_different_ones_are_added_up(
    chancy_app: Chancy,
):
    await write(chancy_app, 1, cells(("acme.g", 5, "x"), ("acme.g", 100, "y")), age=5)
    await write(chancy_app, 2, cells(("acme.g", 3, "x")), worker="beta", age=2)
    for _ in range(2):
        (series,) = await Metrics(chancy_app).query("acme.g", resolution="1d")
        assert series.points[-1].latest in {3, 103}  # at midnight these are two days
        found = await Metrics(chancy_app).query("acme.g", by=["at"], resolution="1d")
        assert {s.labels["at"]: s.points[-1].value for s in found} == {"x": 3, "y": 100}
        await merge(chancy_app)


async def test_series_by_labels_and_of_those_that_have_some(chancy_app: Chancy):
    metrics = Metrics(chancy_app)
    await write(chancy_app, 1, cells(("acme.c", 1, "x"), ("acme.c", 2, "y")))
    await write(chancy_app, 1, cells(("acme.c", 4, "x")), worker="beta")
    for _ in range(2):  # before it is merged, and after

        async def asked(**how: Any) -> dict[tuple[str, ...], float]:
            found = await metrics.query("acme.c", **how)
            return {tuple(one.labels.values()): one.whole().total for one in found}

        assert await asked() == {(): 7}
        assert await asked(by=["at"]) == {("x",): 5, ("y",): 2}
        assert await asked(by=["worker"]) == {("alpha",): 3, ("beta",): 4}
        assert await asked(by=["at", "worker"], where={"worker": "beta"}) == {("x", "beta"): 4}
        assert await asked(where={"at": "y"}) == {(): 2}
        assert await asked(where={"at": "z"}) == {}
        assert await asked(by=["nothing"]) == {("",): 7}
        await merge(chancy_app)
    assert await metrics.query("acme.x") == []


async def test_who_it_was_is_known_for_two_days(chancy_app: Chancy, chancy_clock: Clock):
    metrics = Metrics(chancy_app)
    await write(chancy_app, 1, cells(("acme.c", 1, "x")))
    await merge(chancy_app)
    chancy_clock.advance(hours=40)
    (one,) = await metrics.query("acme.c", by=["worker"], last=timedelta(hours=41))
    assert (one.labels, one.resolution) == ({"worker": "alpha"}, 300)
    for wrong in ({"last": timedelta(days=3)}, {"resolution": "1h"}):
        with pytest.raises(InvalidValue, match="known for 48 hours"):
            await metrics.query("acme.c", by=["worker"], **wrong)
    (one,) = await metrics.query("acme.c", last=timedelta(days=3))
    assert (one.whole().total, one.resolution) == (1, 3_600)


@pytest.mark.parametrize(
    ("last", "size"),
    [
        ({"minutes": 1}, 60),
        ({"hours": 6}, 60),
        ({"hours": 7}, 300),
        ({"hours": 41}, 300),
        ({"hours": 48}, 3_600),  # more than 500 points
        ({"days": 20}, 3_600),
        ({"days": 25}, 86_400),
        ({"days": 300}, 86_400),
        ({"days": 3_000}, 86_400),
    ],
)
async def test_the_finest_resolution_is_taken_that_is_kept_and_has_few_points(last, size):
    now = datetime(2026, 8, 3, 12, tzinfo=UTC)
    start = now - timedelta(**last)
    assert reading.fitting(start, now, now, None, workers=False) == size


async def test_times_that_are_asked_for(chancy_app: Chancy, chancy_clock: Clock):
    metrics = Metrics(chancy_app)
    began = await chancy_app.database.run(statements.now(chancy_app.names))
    for number in range(4):
        await write(chancy_app, number, cells(("acme.c", 10**number, "x")))
        chancy_clock.advance(hours=1)

    async def asked(**how: Any) -> float:
        found = await metrics.query("acme.c", **how)
        return sum(point.value for one in found for point in one.points)

    hour, slack = timedelta(hours=1), timedelta(minutes=2)
    assert await asked(last=2 * hour + slack) == 1_100
    assert await asked(start=began - slack) == 1_111
    assert await asked(start=began - slack, end=began + 2 * hour - slack) == 11
    assert await asked(start=began + hour - slack, end=began + hour + slack) == 10
    assert await asked(start=began - slack, resolution=timedelta(minutes=5)) == 1_111
    assert await asked(start=began - slack, resolution=3_600) == 1_111


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"start": datetime(2026, 1, 1)}, "with its time zone"),  # noqa: DTZ001
        ({"start": "yesterday"}, "with its time zone"),
        ({"start": datetime(1, 1, 1, tzinfo=UTC)}, "of the years 2 to 9998"),
        ({"end": datetime(9999, 12, 31, tzinfo=UTC)}, "of the years 2 to 9998"),
        (
            {
                "start": datetime(2026, 1, 2, tzinfo=UTC),
                "end": datetime(2026, 1, 1, tzinfo=UTC),
            },
            "is none",
        ),
        ({"last": timedelta(0)}, "is none"),
        ({"last": timedelta(-1)}, "is none"),
        ({"last": timedelta(days=1_000_000)}, "is none|there was no time"),
        ({"last": 60}, "a timedelta"),
        (
            {"last": timedelta(1), "start": datetime(2026, 1, 1, tzinfo=UTC)},
            "and not both",
        ),
        ({"resolution": "2min"}, "there are 1min"),
        ({"resolution": 61}, "there are 1min"),
        ({"resolution": 0}, "there are 1min"),
        ({"resolution": [60]}, "there are 1min"),
        ({"by": "queue"}, "by is several labels"),
        ({"by": [7]}, "are texts"),
        ({"where": ["queue"]}, "where is a mapping"),
        ({"where": {"queue": 7}}, "are texts"),
        ({"where": {"queue": "\0"}}, "are texts"),
        ({"name": "\0"}, "are texts"),
        ({"name": None}, "are texts"),
    ],
)
async def test_what_makes_no_sense_is_refused(chancy_app: Chancy, wrong, said):
    with pytest.raises(InvalidValue, match=said):
        await Metrics(chancy_app).query(**{"name": "acme.c", **wrong})


async def test_too_much_at_once_is_refused(chancy_app: Chancy, monkeypatch):
    monkeypatch.setattr(reading, "MOST", 3)
    for number in range(3):
        await write(chancy_app, number, cells(("acme.c", 1, str(number))))
    with pytest.raises(InvalidValue, match="ask for a shorter time"):
        await Metrics(chancy_app).query("acme.c")


async def test_metrics_are_listed_by_a_literal_beginning(chancy_app: Chancy):
    """W: `%` and `_` are no wildcards."""
    metrics = Metrics(chancy_app)
    metrics.count("acme_a", labels={"x": "1", "y": "2"})
    metrics.count("acme_a", labels={"x": "2"})
    metrics.gauge("acmeXa", 1, unit="bytes")
    metrics.observe("other", 1)
    await metrics.flush()
    for _ in range(2):
        assert [one.name for one in await metrics.names("acme_")] == ["acme_a"]
        assert await metrics.names("%") == []
        assert [one.name for one in await metrics.names()] == ["acmeXa", "acme_a", "other"]
        (one,) = await metrics.names("acme_a")
        assert (one.kind, one.labels, one.series) == (COUNTER, ("x", "y"), 2)
        await merge(chancy_app)


async def test_what_a_drained_test_has_run_is_counted(chancy_app: Chancy):
    """In tests with the kit, `flush` writes what its `drain` has recorded."""
    await chancy_app.declare(Queue("q", executor="async"))
    await chancy_app.push_many([ok.bind(), ok.bind(), bad.bind()])
    await drain(chancy_app)
    metrics = Metrics(chancy_app)
    await metrics.flush()
    await metrics.flush()
    found = {
        (one.labels["func"], one.labels["state"]): one.whole().total
        for one in await metrics.query("jobs.finished", by=["func", "state"])
    }
    assert found == {("metrics.ok", "succeeded"): 2, ("metrics.bad", "failed"): 1}
    (retried,) = await metrics.query("jobs.retried")
    assert retried.whole().total == 1
    (mails,) = await metrics.query("acme.mails", by=["country"])
    assert (mails.labels, mails.whole().total) == ({"country": "fr"}, 4)
    (size,) = await metrics.query("acme.size")
    assert (size.unit, size.whole().count, size.whole().mean) == ("bytes", 2, 8)


async def test_finished_jobs_are_counted_for_good(chancy_app: Chancy, chancy_clock: Clock):
    labels = {"func": "f", "queue": "q", "state": "succeeded"}
    cell = Cell()
    cell.add(3)
    for number in range(3):
        await write(chancy_app, number, {Key.of(COUNTER, "jobs.finished", **labels): cell})
        await merge(chancy_app, number)  # the first time nothing
        chancy_clock.advance(days=100)
    (one,) = await Metrics(chancy_app).counts()
    assert (one.queue, one.state, one.count) == ("q", "succeeded", 9)
