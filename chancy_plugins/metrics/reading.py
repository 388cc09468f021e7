"""What is read of metrics: statements, and the resolution that fits a time."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from attrs import frozen

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue
from chancy_core.statement import Names, Row, Statement
from chancy_plugins.metrics.key import WORKER, Key, MetricKind
from chancy_plugins.metrics.statements import BY_WORKER, EVER, KEPT
from chancy_plugins.metrics.tally import Cell

#: How many points a series has at most where nobody asks for a resolution.
FEW = 500
#: How many rows one query reads at most.
MOST = 100_000
#: Resolutions by the names that they have beside their lengths.
RESOLUTIONS = {"1min": 60, "5min": 300, "1h": 3_600, "1hour": 3_600, "1d": 86_400, "1day": 86_400}

_POINTS = """\
-- Read points of a metric: those that are merged, and what was written since.
WITH wanted AS MATERIALIZED (
    SELECT id, kind, unit, labels FROM {metric_series}
     WHERE name = %(name)s AND labels @> %(where)s::jsonb
     ORDER BY id
)
SELECT wanted.kind, wanted.unit, wanted.labels::text, p.worker, p.began_at, p.count, p.total, p.low,
       p.high, p.latest, p.latest_at, p.buckets::text
  FROM wanted
 CROSS JOIN LATERAL (
    SELECT * FROM {metric_points}
     WHERE resolution = %(resolution)s AND series = wanted.id
       AND began_at >= %(start)s AND began_at < %(end)s
       AND (%(worker)s::text IS NULL OR worker = %(worker)s)
 ) AS p
UNION ALL
SELECT kind, unit, labels::text, worker,
       CASE WHEN %(resolution)s = 0 THEN '1970-01-01Z'::timestamptz
            ELSE date_bin(%(size)s * interval '1 second', made_at, '2000-01-01Z') END,
       count, total, low, high, latest, made_at, buckets::text
  FROM {metric_increments}
 WHERE name = %(name)s AND labels @> %(where)s::jsonb
   AND (%(resolution)s = 0
        OR date_bin(%(size)s * interval '1 second', made_at, '2000-01-01Z') >= %(start)s
           AND made_at < %(end)s)
   AND (%(worker)s::text IS NULL OR worker = %(worker)s)
 LIMIT %(most)s
"""

_NAMES = """\
-- List metrics: those that are merged, and those of which something was written since.
WITH every AS MATERIALIZED (
    SELECT name, kind, unit, labels, seen_at FROM {metric_series}
     WHERE starts_with(name, %(prefix)s)
     UNION ALL
    SELECT i.name, i.kind, max(i.unit), i.labels, max(i.made_at) FROM {metric_increments} AS i
     WHERE starts_with(i.name, %(prefix)s)
       AND NOT EXISTS (SELECT FROM {metric_series} AS s
                        WHERE (s.name, s.kind, s.labels) = (i.name, i.kind, i.labels))
     GROUP BY i.name, i.kind, i.labels
)
SELECT name, kind, max(unit), count(DISTINCT labels), max(seen_at),
       array_agg(DISTINCT label ORDER BY label) FILTER (WHERE label IS NOT NULL)
  FROM every LEFT JOIN LATERAL jsonb_object_keys(labels) AS label ON true
 GROUP BY name, kind
 ORDER BY name COLLATE "C", kind
"""

_LIVE = """\
-- Read how many live jobs there were when they were counted last.
SELECT queue, state, count, exact, oldest_at, as_of FROM {metric_counts} ORDER BY queue, state
"""


@frozen
class Stored:
    """What is known of one metric with its labels, by one worker, within one time."""

    key: Key
    worker: str
    began_at: datetime
    said_at: datetime
    cell: Cell

    @classmethod
    def read(cls, name: str, row: Row) -> "Stored":
        """Read a row."""
        kind, unit, labels, worker, began, *values, said, buckets = row
        cell = Cell()
        cell.count, cell.total, cell.low, cell.high, cell.latest = values
        if buckets is not None:
            cell.buckets = {int(number): count for number, count in json.loads(buckets).items()}
        pairs = tuple(sorted(json.loads(labels).items()))
        key = Key(MetricKind(kind), name, unit, pairs)
        return cls(key, worker, began.astimezone(UTC), said.astimezone(UTC), cell)


@frozen
class Named:
    """A metric that there is."""

    name: str
    kind: str
    unit: str
    #: Which labels tell its series apart.
    labels: tuple[str, ...]
    #: How many series it has.
    series: int
    #: When something was last added to it.
    seen_at: datetime


@frozen
class Count:
    """How many jobs a queue has in a state."""

    queue: str
    state: str
    count: int
    #: Whether it is exact; else there are at least so many.
    exact: bool
    #: When it was so, by the database's clock.
    as_of: datetime
    #: When the first of those that are due, and live, fell due.
    oldest_at: datetime | None = None


def named(names: Names, prefix: str) -> Statement[list[Named]]:
    """Answer the metrics whose names begin so."""

    def read(rows: Sequence[Row]) -> list[Named]:
        return [
            Named(name, kind, unit, tuple(labels or ()), series, seen.astimezone(UTC))
            for name, kind, unit, series, seen, labels in rows
        ]

    return Statement.written(_NAMES, names, {"prefix": prefix}, read)


def live(names: Names) -> Statement[list[Count]]:
    """Answer how many live jobs there were when they were counted last."""

    def read(rows: Sequence[Row]) -> list[Count]:
        return [
            Count(queue, state, count, exact, as_of.astimezone(UTC), at and at.astimezone(UTC))
            for queue, state, count, exact, at, as_of in rows
        ]

    return Statement.written(_LIVE, names, {}, read)


def points(
    names: Names,
    name: str,
    where: Mapping[str, str],
    *,
    resolution: int,
    start: datetime,
    end: datetime,
) -> Statement[list[Stored]]:
    """Answer what is known of a metric from a time, which a point begins at, to another.

    Raises `InvalidValue` where it is read, if that is too much.
    """
    labels = {label: value for label, value in where.items() if label != WORKER}

    def read(rows: Sequence[Row]) -> list[Stored]:
        if len(rows) >= MOST:
            raise InvalidValue(
                f"metric {name!r}: that is {MOST:,} points or more: ask for a shorter time, a "
                "coarser resolution, or certain labels"
            )
        return [Stored.read(name, row) for row in rows]

    params = {
        "name": name,
        "where": json.dumps(labels, ensure_ascii=False),
        "worker": where.get(WORKER),
        "resolution": resolution,
        "size": max(1, resolution),
        "start": start,
        "end": end,
        "most": MOST,
    }
    return Statement.written(_POINTS, names, params, read)


def ever(names: Names, name: str) -> Statement[list[Stored]]:
    """Answer all that there ever was of a metric."""
    always = datetime(1970, 1, 1, tzinfo=UTC)
    return points(names, name, {}, resolution=EVER, start=always, end=always + timedelta(seconds=1))


def fitting(
    start: datetime, end: datetime, now: datetime, asked: str | float | None, *, workers: bool
) -> int:
    """Return the resolution of a query, in seconds: as asked for, or the finest that will do.

    Raises `InvalidValue` for one that there is not, or that does not know of workers.
    """
    if asked is not None:
        size = RESOLUTIONS.get(asked) if isinstance(asked, str) else asked
        if not isinstance(size, int | float) or size not in KEPT:
            raise InvalidValue(
                f"resolution: there are {', '.join(RESOLUTIONS)}, not {shown(asked)}"
            )
        found = int(size)
    else:
        span, age = (end - start).total_seconds(), (now - start).total_seconds()
        fine = [s for s, kept in KEPT.items() if age <= kept and span <= s * FEW]
        found = fine[0] if fine else max(KEPT)
    if workers and found > BY_WORKER:
        raise InvalidValue(
            f"by worker: that is known for {KEPT[BY_WORKER] // 3_600} hours, in points of "
            f"{BY_WORKER} s: ask for a time within these"
        )
    return found
