"""Databases that have been at work for long: rows by the million, made by the server."""

import psycopg

from tests.benchmarks.peers import side
from tests.benchmarks.sides.work import QUEUE

#: A job's id as of a time: UUIDs in the order of time, as ours are.
_ID = """encode(overlay(uuid_send(gen_random_uuid())
              PLACING substring(int8send((extract(epoch FROM at) * 1000)::bigint) FROM 3)
              FROM 1 FOR 6), 'hex')::uuid"""

_FINISHED = f"""
INSERT INTO chancy_history (id, queue, func, args, meta, state, priority, max_attempts, attempts,
                            claims, crashes, at_most_once, exclusive, keep_result, worker, lease_id,
                            created_at, scheduled_at, started_at, finished_at, result)
SELECT {_ID}, %(queue)s, 'benchmark.past', jsonb_build_object('number', n), '{{}}', 'succeeded',
       0, 1, 1, 1, 0, false, false, true, gen_random_uuid(), gen_random_uuid(), at, at, at, at,
       'null'
  FROM generate_series(1, %(rows)s) AS n,
       LATERAL (SELECT %(since)s::timestamptz
                       + (%(until)s::timestamptz - %(since)s::timestamptz)
                         * (n::float8 / (%(rows)s + 1))) AS time (at)
"""

_LIVE = f"""
INSERT INTO chancy_jobs (id, queue, func, args, meta, state, priority, max_attempts, scheduled_at)
SELECT {_ID}, %(queue)s, 'benchmark.nothing', jsonb_build_object('number', n), '{{}}',
       %(state)s, %(priority)s, 1, at
  FROM generate_series(1, %(rows)s) AS n,
       LATERAL (SELECT now() + %(due)s::interval + n * interval '1 ms') AS time (at)
"""

#: The midnights by which the history is divided, and this moment.
TODAY = "date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"


_PARTITION = """
DO $$ DECLARE
    since timestamptz := {since};
    part text := 'chancy_history_' || to_char(since AT TIME ZONE 'UTC', 'YYYYMMDD');
BEGIN
    EXECUTE format('CREATE TABLE %I (LIKE chancy_history INCLUDING ALL)', part);
    EXECUTE format('ALTER TABLE chancy_history ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   part, since, {until});
END $$
"""


def finished_today(rows: int) -> None:
    """So many finished jobs of today: in the partition in which what ends now is written."""
    _finished(rows, TODAY, "now()")


def finished_yesterday(rows: int) -> str:
    """So many finished jobs of yesterday; answers the name of their partition."""
    _finished(rows, f"{TODAY} - interval '1 day'", TODAY)
    with psycopg.connect(side.DSN) as conn:
        ((name,),) = conn.execute(
            "SELECT DISTINCT tableoid::regclass::text FROM chancy_history"
            f" WHERE finished_at < {TODAY}"
        ).fetchall()
    return str(name)


def finished_days_ago(rows: int, days: int) -> None:
    """So many finished jobs of a day of the past, in a partition that is made for them."""
    with psycopg.connect(side.DSN, autocommit=True) as conn:
        since, until = (f"({TODAY} - interval '{n} days')" for n in (days, days - 1))
        conn.execute(_PARTITION.format(since=since, until=until))
    _finished(rows, since, until)


def _finished(rows: int, since: str, until: str) -> None:
    with psycopg.connect(side.DSN, autocommit=True) as conn:
        (begin, end) = conn.execute(f"SELECT {since}, {until}").fetchone() or (None, None)
        told = {"rows": rows, "since": begin, "until": end, "queue": QUEUE.name}
        conn.execute(_FINISHED, told)
    _settle("chancy_history")


def pending(rows: int, priority: int) -> None:
    """So many jobs that wait."""
    _live(rows, "pending", priority, "-1 hour")


def scheduled(rows: int, priority: int) -> None:
    """So many jobs that are due tomorrow."""
    _live(rows, "scheduled", priority, "1 day")


def _live(rows: int, state: str, priority: int, due: str) -> None:
    with psycopg.connect(side.DSN, autocommit=True) as conn:
        told = {"rows": rows, "state": state, "priority": priority, "due": due}
        conn.execute(_LIVE, told | {"queue": QUEUE.name})
    _settle("chancy_jobs")


def _settle(table: str) -> None:
    """Have the server do now what it would do later, while something is measured."""
    side.analyze(table)
    with psycopg.connect(side.DSN, autocommit=True) as conn:
        conn.execute("CHECKPOINT")
