"""What is looked at in the database, now and then, by the worker that leads.

How many jobs are live can only be known by counting them, which takes time where there are many.
So that is done seldom: for each second that it took, it is left alone for `RARELY` of them.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import frozen

from chancy_core.statement import Names, Row, Statement, nothing

#: How many live jobs are counted; if there are more, there are at least so many.
MOST = 1_000_000
#: How many queues and states are told apart.
GROUPS = 1_000
#: For how many times the time that it took the jobs are not counted again.
RARELY = 100
#: Seconds that counting may take.
LIMIT = 10
#: Seconds after which a worker that was not heard of is not alive: two of its words are missing.
ALIVE = 150

_LIMIT = """\
-- Bound what looking may take.
SELECT set_config('statement_timeout', %(limit)s::text, true),
       set_config('lock_timeout', '1s', true)
"""

_LIVE = """\
-- Count live jobs, and see since when those that are due have waited.
SELECT queue, state, count(*),
       min(scheduled_at) FILTER (WHERE state = 'pending'
                                    OR state = 'scheduled' AND scheduled_at <= {now}()),
       {now}(), sum(count(*)) OVER () < %(most)s AND count(*) OVER () <= %(groups)s
  FROM (SELECT queue, state, scheduled_at FROM {jobs_v1}
         WHERE state IN ('pending', 'scheduled', 'running') AND finished_at IS NULL
         LIMIT %(most)s) AS live
 GROUP BY queue, state
 ORDER BY count(*) DESC, queue, state
 LIMIT %(groups)s
"""

_KEEP = """\
-- Keep how many live jobs there were; answers where there were some before, and none now.
WITH found AS (
    SELECT * FROM unnest(%(queues)s::text[], %(states)s::text[], %(counts)s::bigint[],
                         %(oldest)s::timestamptz[]) AS f (queue, state, count, oldest_at)
), put AS (
    INSERT INTO {metric_counts} AS c (queue, state, count, exact, oldest_at, as_of, met_at)
    SELECT queue, state, count, %(exact)s, oldest_at, %(as_of)s, %(as_of)s
      FROM found ORDER BY queue, state
    ON CONFLICT (queue, state) DO UPDATE
       SET count = excluded.count, exact = excluded.exact, oldest_at = excluded.oldest_at,
           as_of = excluded.as_of, met_at = excluded.met_at
     WHERE c.as_of < excluded.as_of
)
UPDATE {metric_counts} AS c
   SET count = 0, exact = %(exact)s, oldest_at = NULL, as_of = %(as_of)s
 WHERE c.as_of < %(as_of)s
   AND NOT EXISTS (SELECT FROM found AS f WHERE f.queue = c.queue AND f.state = c.state)
RETURNING queue, state
"""

_FLEET = """\
-- Count the workers that were heard of of late, their slots, and those that run a job.
SELECT count(*), coalesce(sum(slots), 0)::bigint, coalesce(sum(running), 0)::bigint
  FROM {metric_sessions}
 WHERE NOT ended AND worker <> '' AND seen_at > {now}() - %(alive)s::float8 * interval '1 second'
"""

_SIZES = """\
-- Measure our tables, those of a partitioned one together.
SELECT substr(coalesce(parent.relname, c.relname), length(%(prefix)s) + 1),
       sum(pg_table_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint
  FROM pg_class AS c
  JOIN pg_namespace AS n ON n.oid = c.relnamespace
  LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid
  LEFT JOIN pg_class AS parent ON parent.oid = i.inhparent
 WHERE n.nspname = %(schema)s AND starts_with(c.relname, %(prefix)s) AND c.relkind = 'r'
 GROUP BY 1
 ORDER BY 1
"""


@frozen
class Live:
    """How many live jobs a queue has in a state."""

    queue: str
    state: str
    count: int
    #: When the first of those that are due fell due.
    oldest_at: datetime | None


@frozen
class Counted:
    """All live jobs, as they were counted."""

    groups: list[Live]
    #: When, by the database's clock; None if there was none.
    as_of: datetime | None
    #: Whether all were counted; else there are at least so many.
    exact: bool

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "Counted":
        """Read rows."""
        groups = [
            Live(queue, state, count, oldest and oldest.astimezone(UTC))
            for queue, state, count, oldest, _, _ in rows
        ]
        if not rows:
            return cls(groups, None, True)
        return cls(groups, rows[0][4].astimezone(UTC), rows[0][5])


@frozen
class Fleet:
    """The workers that are alive."""

    workers: int
    slots: int
    running: int


@frozen
class Size:
    """How many bytes a table takes."""

    table: str
    rows: int
    indexes: int


def limit(names: Names) -> Statement[None]:
    """Bound what the rest of the transaction may take."""
    return Statement.written(_LIMIT, names, {"limit": f"{LIMIT}s"}, nothing)


def live(names: Names) -> Statement[Counted]:
    """Count live jobs."""
    return Statement.written(_LIVE, names, {"most": MOST, "groups": GROUPS}, Counted.read)


def keep(names: Names, counted: Counted, as_of: datetime) -> Statement[list[tuple[str, str]]]:
    """Keep what was counted; answers the queues and states of which there is none any more."""
    params = {
        "queues": [each.queue for each in counted.groups],
        "states": [each.state for each in counted.groups],
        "counts": [each.count for each in counted.groups],
        "oldest": [each.oldest_at for each in counted.groups],
        "exact": counted.exact,
        "as_of": as_of,
    }
    return Statement.written(_KEEP, names, params, lambda rows: [(row[0], row[1]) for row in rows])


def fleet(names: Names) -> Statement[Fleet]:
    """Count the workers that write down what they record."""
    return Statement.written(_FLEET, names, {"alive": float(ALIVE)}, lambda rows: Fleet(*rows[0]))


def sizes(names: Names) -> Statement[list[Size]]:
    """Measure our tables."""
    params = {"schema": names.schema, "prefix": names.prefix}
    return Statement.written(_SIZES, names, params, lambda rows: [Size(*row) for row in rows])
