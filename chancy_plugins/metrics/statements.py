"""What is written into the tables of metrics, and forgotten. All times are by the database's clock.

A worker only adds rows, which nobody else has locked; who leads merges them into the points.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from chancy_core.statement import Names, Statement, nothing
from chancy_plugins.metrics.key import Key
from chancy_plugins.metrics.tally import Cell

#: The resolutions of points, in seconds, and for how many they are kept. 0 is all time.
MINUTE, FIVE, HOUR, DAY = 60, 300, 3_600, 86_400
KEPT = {MINUTE: 6 * HOUR, FIVE: 2 * DAY, HOUR: 31 * DAY, DAY: 400 * DAY}
EVER = 0
#: The coarsest resolution that knows of workers.
BY_WORKER = FIVE
#: How many rows one statement merges, or forgets.
BATCH = 1_000
#: Seconds without a word after which a worker is no longer known.
FORGOTTEN = 7 * DAY

_WRITE = """\
-- Write down what a worker has counted: once for each number, however often it is tried.
WITH session AS (
    INSERT INTO {metric_sessions} AS s (session, worker, number, slots, running, ended, seen_at)
    VALUES (%(session)s::uuid, %(worker)s::text, %(number)s::bigint, %(slots)s::int,
            %(running)s::int, %(ended)s::boolean, {now}())
    ON CONFLICT (session) DO UPDATE
       SET number = excluded.number, slots = excluded.slots, running = excluded.running,
           ended = excluded.ended, seen_at = excluded.seen_at
     WHERE s.number < excluded.number
    RETURNING session
)
INSERT INTO {metric_increments} (made_at, worker, name, kind, unit, labels, count, total, low, high,
                                 latest, buckets)
SELECT {now}() - %(age)s::float8 * interval '1 second', %(worker)s::text, each.*
  FROM session,
       unnest(%(names)s::text[], %(kinds)s::text[], %(units)s::text[], %(labels)s::jsonb[],
              %(counts)s::bigint[], %(totals)s::float8[], %(lows)s::float8[], %(highs)s::float8[],
              %(latests)s::float8[], %(buckets)s::jsonb[]) AS each
"""

_MERGE = """\
-- Merge what was written first into the points of all resolutions; answers how many rows.
-- Each of two who do it at once takes rows of its own.
WITH taken AS (
    DELETE FROM {metric_increments}
     WHERE id = ANY(ARRAY(SELECT id FROM {metric_increments} ORDER BY id LIMIT %(most)s
                             FOR UPDATE SKIP LOCKED))
    RETURNING *
), known AS (
    INSERT INTO {metric_series} AS s (name, kind, unit, labels, seen_at)
    SELECT name, kind, max(unit), labels, {now}() FROM taken
     GROUP BY name, kind, labels ORDER BY name, kind, labels
    ON CONFLICT (name, kind, labels) DO UPDATE SET seen_at = excluded.seen_at
    RETURNING id, name, kind, labels
), sized AS (
    SELECT r.resolution, known.id AS series,
           CASE WHEN r.resolution = 0 THEN '1970-01-01Z'::timestamptz
                ELSE date_bin(r.resolution * interval '1 second', taken.made_at, '2000-01-01Z')
           END AS began_at,
           CASE WHEN r.resolution BETWEEN 1 AND %(by_worker)s THEN taken.worker ELSE '' END
               AS worker,
           taken.id, taken.made_at, taken.count, taken.total, taken.low, taken.high, taken.latest,
           taken.buckets
      FROM taken
      JOIN known USING (name, kind, labels)
     CROSS JOIN unnest(%(resolutions)s::int[]) AS r (resolution)
), spread AS (
    SELECT resolution, series, began_at, worker, jsonb_object_agg(number, n) AS buckets
      FROM (SELECT resolution, series, began_at, worker, each.key AS number,
                   sum(each.value::bigint) AS n
              FROM sized CROSS JOIN LATERAL jsonb_each_text(sized.buckets) AS each
             GROUP BY 1, 2, 3, 4, 5) AS added
     GROUP BY 1, 2, 3, 4
), whole AS (
    SELECT resolution, series, began_at, worker, sum(count)::bigint AS count, sum(total) AS total,
           min(low) AS low, max(high) AS high,
           (array_agg(latest ORDER BY made_at DESC, id DESC))[1] AS latest,
           max(made_at) AS latest_at
      FROM sized
     GROUP BY 1, 2, 3, 4
), merged AS (
    INSERT INTO {metric_points} AS p (resolution, series, began_at, worker, count, total, low, high,
                                      latest, latest_at, buckets)
    SELECT resolution, series, began_at, worker, whole.count, whole.total, whole.low, whole.high,
           whole.latest, whole.latest_at, spread.buckets
      FROM whole LEFT JOIN spread USING (resolution, series, began_at, worker)
     ORDER BY resolution, series, began_at, worker
    ON CONFLICT (resolution, series, began_at, worker) DO UPDATE
       SET count = p.count + excluded.count, total = p.total + excluded.total,
           low = least(p.low, excluded.low), high = greatest(p.high, excluded.high),
           latest = CASE WHEN excluded.latest_at >= p.latest_at
                         THEN excluded.latest ELSE p.latest END,
           latest_at = greatest(p.latest_at, excluded.latest_at),
           buckets = CASE
               WHEN p.buckets IS NULL THEN excluded.buckets
               WHEN excluded.buckets IS NULL THEN p.buckets
               ELSE (SELECT jsonb_object_agg(number, n)
                       FROM (SELECT each.key AS number, sum(each.value::bigint) AS n
                               FROM (SELECT * FROM jsonb_each_text(p.buckets)
                                     UNION ALL
                                     SELECT * FROM jsonb_each_text(excluded.buckets)) AS each
                              GROUP BY each.key) AS added)
           END
)
SELECT count(*) FROM taken
"""

_DROP = """\
-- Drop the row that was written first: it cannot be merged.
DELETE FROM {metric_increments}
 WHERE id = (SELECT id FROM {metric_increments} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING name, kind, labels::text, worker
"""

_FORGET_POINTS = """\
-- Delete some of the points that are too old for their resolution; answers how many.
WITH old AS (
    SELECT found.at
      FROM unnest(%(resolutions)s::int[], %(kept)s::float8[]) AS r (resolution, kept)
     CROSS JOIN LATERAL (
        SELECT ctid AS at FROM {metric_points}
         WHERE resolution = r.resolution AND began_at < {now}() - r.kept * interval '1 second'
         ORDER BY began_at
         LIMIT %(most)s
     ) AS found
     LIMIT %(most)s
), gone AS (
    DELETE FROM {metric_points} WHERE ctid = ANY(ARRAY(SELECT at FROM old)) RETURNING 1
)
SELECT count(*) FROM gone
"""

_FORGET_SERIES = """\
-- Delete some of the series that have no points of a time any more; answers how many.
WITH old AS (
    SELECT id FROM {metric_series} AS s
     WHERE seen_at < {now}() - %(kept)s::float8 * interval '1 second'
       AND NOT EXISTS (SELECT FROM {metric_points} AS p
                        WHERE p.resolution = ANY(%(resolutions)s::int[]) AND p.series = s.id)
     LIMIT %(most)s
), ever AS (
    DELETE FROM {metric_points}
     WHERE resolution = 0 AND series = ANY(ARRAY(SELECT id FROM old))
), gone AS (
    DELETE FROM {metric_series} WHERE id = ANY(ARRAY(SELECT id FROM old)) RETURNING 1
)
SELECT count(*) FROM gone
"""

_FORGET_SESSIONS = """\
-- Delete the workers that were not heard of for long, and the counts of queues that are empty.
WITH empty AS (
    DELETE FROM {metric_counts} WHERE count = 0 AND met_at < {now}() - interval '1 day'
)
DELETE FROM {metric_sessions} WHERE seen_at < {now}() - %(kept)s::float8 * interval '1 second'
"""

_NOW = "-- Tell the time.\nSELECT {now}()"


def write(
    names: Names,
    session: UUID,
    worker: str,
    number: int,
    cells: Mapping[Key, Cell],
    *,
    age: float,
    slots: int = 0,
    running: int = 0,
    ended: bool = False,
) -> Statement[None]:
    """Write a batch that was recorded *age* seconds ago, unless this number of it was written."""
    params = {
        "session": session,
        "worker": worker,
        "number": number,
        "age": max(0.0, age),
        "slots": slots,
        "running": running,
        "ended": ended,
        "names": [key.name for key in cells],
        "kinds": [str(key.kind) for key in cells],
        "units": [key.unit for key in cells],
        "labels": [key.text() for key in cells],
        "counts": [cell.count for cell in cells.values()],
        "totals": [float(cell.total) for cell in cells.values()],
        "lows": [float(cell.low) for cell in cells.values()],
        "highs": [float(cell.high) for cell in cells.values()],
        "latests": [float(cell.latest) for cell in cells.values()],
        "buckets": [json.dumps(c.buckets) if c.buckets else None for c in cells.values()],
    }
    return Statement.written(_WRITE, names, params, nothing)


def merge(names: Names, most: int = BATCH) -> Statement[int]:
    """Merge some of what was written into the points; answers how many rows."""
    params = {"most": most, "by_worker": BY_WORKER, "resolutions": [EVER, *KEPT]}
    return Statement.written(_MERGE, names, params, lambda rows: rows[0][0])


def drop(names: Names) -> Statement[str]:
    """Drop the row that is merged next; answers what it was."""

    def read(rows: object) -> str:
        return " ".join(map(str, rows[0])) if rows else ""  # type: ignore[index]

    return Statement.written(_DROP, names, {}, read)


def forget_points(names: Names, days: float) -> Statement[int]:
    """Delete some of the points that are too old; answers how many. The coarsest last *days*."""
    kept = {**KEPT, DAY: days * DAY}
    params = {"resolutions": list(kept), "kept": list(map(float, kept.values())), "most": BATCH}
    return Statement.written(_FORGET_POINTS, names, params, lambda rows: rows[0][0])


def forget_series(names: Names, days: float) -> Statement[int]:
    """Delete some of the series that have no points any more; answers how many."""
    params = {"resolutions": list(KEPT), "kept": float(days * DAY), "most": BATCH}
    return Statement.written(_FORGET_SERIES, names, params, lambda rows: rows[0][0])


def forget_sessions(names: Names) -> Statement[None]:
    """Delete the workers that are long gone."""
    return Statement.written(_FORGET_SESSIONS, names, {"kept": float(FORGOTTEN)}, nothing)


def now(names: Names) -> Statement[datetime]:
    """Answer the time."""
    return Statement.written(_NOW, names, {}, lambda rows: rows[0][0].astimezone(UTC))
