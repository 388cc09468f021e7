"""What applications ask of metrics: `Metrics`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from chancy_core.codec import shown, unstorable
from chancy_core.errors import InvalidValue
from chancy_core.host import Application
from chancy_plugins.metrics import process, reading, statements
from chancy_plugins.metrics.key import WORKER, MetricKind
from chancy_plugins.metrics.reading import Count, Named
from chancy_plugins.metrics.recording import record
from chancy_plugins.metrics.series import Series, gathered

#: What a query is about if nobody says.
LAST = timedelta(hours=1)
_FIRST, _END = datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 12, 1, tzinfo=UTC)


class Metrics:
    """The metrics of an application: what is known of it, and what it records itself.

        metrics = Metrics(chancy)
        for series in await metrics.query("jobs.finished", by=["state"], last=timedelta(hours=6)):
            print(series.labels, [point.value for point in series.points])

    What asks works inside `async with chancy`; what records never raises and never waits.
    """

    def __init__(self, chancy: Application) -> None:
        self._app = chancy

    async def names(self, prefix: str = "") -> list[Named]:
        """Return the metrics that there are, whose names begin with *prefix*, by name."""
        return await self._app.database.run(reading.named(self._app.names, _text(prefix)))

    async def query(
        self,
        name: str,
        *,
        by: Iterable[str] = (),
        where: Mapping[str, str] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        last: timedelta | None = None,
        resolution: str | float | timedelta | None = None,
    ) -> list[Series]:
        """Return what was recorded of a metric: a series for each combination of the labels *by*.

        *where* says which values labels must have. `worker` is a label as well: whose it was is
        known for two days. The time is from *start*, or as long ago as *last* says, which is an
        hour if nobody says, to *end*, or now; it begins earlier where no point begins with it.
        *resolution* is `"1min"`, `"5min"`, `"1h"` or `"1d"`; if nobody says, the finest that is
        kept for that time, in at most 500 points.

        Raises `InvalidValue` for a time, a label or a resolution that makes no sense.
        """
        labels, chosen = _labels(where), tuple(dict.fromkeys(map(_text, _several(by))))
        now = await self._app.database.run(statements.now(self._app.names))
        start, end = _time(start, end, last, now)
        workers = WORKER in chosen or WORKER in labels
        asked = resolution.total_seconds() if isinstance(resolution, timedelta) else resolution
        size = reading.fitting(start, end, now, asked, workers=workers)
        since = start - (start - datetime(2000, 1, 1, tzinfo=UTC)) % timedelta(seconds=size)
        query = reading.points(
            self._app.names, _text(name), labels, resolution=size, start=since, end=end
        )
        return gathered(name, await self._app.database.run(query), chosen, size)

    async def counts(self) -> list[Count]:
        """Return how many jobs there are by queue and state, by what was counted.

        Live ones were counted at `as_of`. Of finished ones it is how many finished, ever since
        metrics are kept: those that were purged or tried again are among them.
        """
        names = self._app.names
        now, live, stored = await self._app.database.run(
            statements.now(names), reading.live(names), reading.ever(names, "jobs.finished")
        )
        finished: defaultdict[tuple[str, str], float] = defaultdict(float)
        for one in stored:
            labels = dict(one.key.labels)
            finished[labels.get("queue", ""), labels.get("state", "")] += one.cell.total
        done = [
            Count(queue, state, round(total), exact=True, as_of=now)
            for (queue, state), total in finished.items()
        ]
        return sorted([*live, *done], key=lambda one: (one.queue, one.state))

    def count(
        self,
        name: str,
        amount: float = 1,
        *,
        unit: str = "",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Add to a counter of this application: *amount*, 0 or more."""
        self._record(MetricKind.COUNTER, name, amount, unit, labels)

    def gauge(
        self, name: str, value: float, *, unit: str = "", labels: Mapping[str, str] | None = None
    ) -> None:
        """Say how high something is at this moment."""
        self._record(MetricKind.GAUGE, name, value, unit, labels)

    def observe(
        self, name: str, value: float, *, unit: str = "", labels: Mapping[str, str] | None = None
    ) -> None:
        """Add a value to a histogram of this application."""
        self._record(MetricKind.HISTOGRAM, name, value, unit, labels)

    def _record(
        self,
        kind: MetricKind,
        name: str,
        value: float,
        unit: str,
        labels: Mapping[str, str] | None,
    ) -> None:
        record(process.of_app(self._app).tally, kind, name, value, unit=unit, labels=labels)

    async def flush(self) -> None:
        """Write down at once what this process has recorded.

        Its workers do so by themselves, each ten seconds and when they stop. It is for processes
        that have none, and for tests. What cannot be written is kept; raises why.
        """
        await process.flush_left(self._app)
        for recorder in process.workers_of(self._app):
            await recorder.flush(self._app)
        await process.of_app(self._app).flush(self._app, process.here)


def _text(value: str) -> str:
    if not isinstance(value, str) or unstorable(value):
        raise InvalidValue(f"metrics: names and labels are texts, not {shown(value)}")
    return value


def _several(by: Iterable[str]) -> Iterable[str]:
    if isinstance(by, str) or not isinstance(by, Iterable):
        raise InvalidValue(f"metrics: by is several labels, such as ['queue'], not {shown(by)}")
    return by


def _labels(where: Mapping[str, str] | None) -> dict[str, str]:
    if not isinstance(where, Mapping | None):
        raise InvalidValue(f"metrics: where is a mapping of labels to values, not {shown(where)}")
    return {_text(label): _text(value) for label, value in (where or {}).items()}


def _time(
    start: datetime | None, end: datetime | None, last: timedelta | None, now: datetime
) -> tuple[datetime, datetime]:
    """Return from when to when something is asked for. Raises `InvalidValue`."""
    if last is not None and (start is not None or not isinstance(last, timedelta)):
        raise InvalidValue("metrics: give a start, or by last a timedelta, and not both")
    for name, at in (("start", start), ("end", end)):
        if at is not None and (not isinstance(at, datetime) or at.tzinfo is None):
            raise InvalidValue(f"metrics: {name} is a datetime with its time zone, not {at!r}")
        if at is not None and not _FIRST <= at <= _END:
            raise InvalidValue(f"metrics: {name} is a time of the years 2 to 9998, not {at}")
    until = now if end is None else end.astimezone(UTC)
    try:
        since = until - (LAST if last is None else last) if start is None else start.astimezone(UTC)
    except OverflowError as exc:
        raise InvalidValue(f"metrics: {last} ago there was no time") from exc
    if since >= until or since < _FIRST:
        raise InvalidValue(f"metrics: the time from {since} to {until} is none")
    # What is recorded at this moment is asked for as well.
    return since, until + timedelta(seconds=1) if end is None else until
