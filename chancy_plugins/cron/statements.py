"""What is asked of the tables of cron. All times in them are by the database's clock."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from attrs import evolve, frozen

from chancy_core import codec
from chancy_core.statement import Names, Push, Row, Statement
from chancy_plugins.cron.entry import Entry, Fire, Listed

#: How many fires of a key are kept, and for how many days.
KEPT, DAYS = 1000, 90
#: How many entries one look finds, and how many fires one statement forgets.
BATCH = 500

_NOW = "-- Tell the time.\nSELECT {now}()"

_ENTRIES = """\
-- List entries of cron.
SELECT key, expression, tz, job::text, missed, jitter, paused, in_code, next_at,
       extract(epoch FROM next_at - {now}())::float8, updated_at, revision
  FROM {crons}
 WHERE %(key)s::text IS NULL OR key = %(key)s
 ORDER BY key
"""

_LOOK = """\
-- Look for entries of cron that are due, with the time, and when the next will be.
WITH due AS MATERIALIZED (
    SELECT key, expression, tz, job::text, missed, jitter, paused, in_code, next_at,
           extract(epoch FROM next_at - {now}())::float8, updated_at, revision
      FROM {crons}
     WHERE NOT paused AND (next_at IS NULL OR next_at <= {now}())
       AND revision || ' ' || key <> ALL (%(left)s::text[])
     ORDER BY next_at NULLS FIRST
     LIMIT %(most)s
)
SELECT {now}(),
       (SELECT extract(epoch FROM min(next_at) - {now}())::float8
          FROM {crons} WHERE NOT paused AND next_at > {now}()),
       due.*
  FROM (VALUES (1)) AS always LEFT JOIN due ON true
"""

_DECLARE = """\
-- Store an entry of cron. One that is there keeps its next tick, unless its schedule is another.
INSERT INTO {crons} AS c (key, expression, tz, job, missed, jitter, in_code, next_at)
VALUES (%(key)s, %(expression)s, %(tz)s, %(job)s::jsonb, %(missed)s, %(jitter)s, %(in_code)s,
        %(next_at)s)
ON CONFLICT (key) DO UPDATE
   SET expression = excluded.expression, tz = excluded.tz, job = excluded.job,
       missed = excluded.missed, jitter = excluded.jitter, in_code = excluded.in_code,
       next_at = CASE WHEN (c.expression, c.tz) = (excluded.expression, excluded.tz)
                      THEN c.next_at ELSE excluded.next_at END,
       revision = c.revision + 1, updated_at = {now}()
 WHERE (c.expression, c.tz, c.job, c.missed, c.jitter, c.in_code) IS DISTINCT FROM
       (excluded.expression, excluded.tz, excluded.job, excluded.missed, excluded.jitter,
        excluded.in_code)
RETURNING key
"""

_PAUSE = """\
-- Pause an entry of cron.
UPDATE {crons} SET paused = true, revision = revision + 1, updated_at = {now}()
 WHERE key = %(key)s
RETURNING key
"""

_RESUME = """\
-- End the pause of an entry of cron.
UPDATE {crons}
   SET paused = false, next_at = CASE WHEN paused THEN %(next_at)s ELSE next_at END,
       revision = revision + 1, updated_at = {now}()
 WHERE key = %(key)s
RETURNING key
"""

_DELETE = "-- Delete an entry of cron.\nDELETE FROM {crons} WHERE key = %(key)s RETURNING key"

_TAKE = """\
-- Move an entry of cron on to another tick, if it is as it was read and nobody else is at it.
UPDATE {crons} SET next_at = %(next_at)s, revision = revision + 1
 WHERE key = (SELECT key FROM {crons}
               WHERE key = %(key)s AND revision = %(revision)s AND NOT paused
                 AND next_at IS NOT DISTINCT FROM %(due)s
                 FOR UPDATE SKIP LOCKED)
RETURNING key
"""

_RECORD = """\
-- Write down that ticks were fired; answers those of which nobody had written it down before.
INSERT INTO {cron_fires} (key, tick, job)
SELECT %(key)s::text, tick, job
  FROM unnest(%(ticks)s::timestamptz[], %(jobs)s::uuid[]) AS fire (tick, job)
ON CONFLICT (key, tick) DO NOTHING
RETURNING tick
"""

_FIRES = """\
-- List the last fires of an entry of cron.
SELECT key, tick, fired_at, job FROM {cron_fires}
 WHERE key = %(key)s ORDER BY id DESC LIMIT %(limit)s
"""

_FORGET = """\
-- Delete some of the fires that are too old, or too many.
DELETE FROM {cron_fires} WHERE id = ANY (ARRAY(
    SELECT old.id FROM (
        (SELECT id FROM {cron_fires} WHERE fired_at < {now}() - make_interval(days => %(days)s)
          LIMIT %(most)s)
        UNION ALL
        (SELECT older.id
           FROM {crons} AS c, LATERAL (
                SELECT id FROM {cron_fires} AS f WHERE f.key = c.key
                 ORDER BY id DESC OFFSET %(kept)s LIMIT %(most)s) AS older
          LIMIT %(most)s)) AS old
     LIMIT %(most)s))
RETURNING id
"""


class Overtaken(Exception):
    """Somebody else is deciding, or has decided, on the ticks of this entry."""


class Held(Exception):
    """Live jobs hold the unique keys of these, which would not be stored."""

    def __init__(self, ids: Collection[UUID]) -> None:
        super().__init__()
        self.ids = frozenset(ids)


class Fired(Exception):
    """These ticks have been fired before."""

    def __init__(self, ticks: Collection[datetime]) -> None:
        super().__init__()
        self.ticks = frozenset(ticks)


@frozen
class Look:
    """What is due at a moment."""

    #: That moment, by the database's clock.
    now: datetime
    #: Seconds until the next entry that is not due yet; None if there is none.
    next_in: float | None
    #: Entries that are due, or of which nobody knows yet when they are.
    due: list[Listed]

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "Look":
        """Read the rows of `look`."""
        now, next_in = rows[0][:2]
        due = [Listed.read(row[2:]) for row in rows if row[2] is not None]
        return cls(now.astimezone(UTC), next_in, due)


def now(names: Names) -> Statement[datetime]:
    """Answer the time."""
    return Statement.written(_NOW, names, {}, lambda rows: rows[0][0].astimezone(UTC))


def look(names: Names, left: Mapping[str, int]) -> Statement[Look]:
    """Look for what is due, but for those entries that are *left* alone in this revision."""
    params = {"left": [f"{revision} {key}" for key, revision in left.items()], "most": BATCH}
    return Statement.written(_LOOK, names, params, Look.read)


def entries(names: Names, key: str | None = None) -> Statement[list[Listed]]:
    """Answer all entries, or that of a key, by key."""
    return Statement.written(
        _ENTRIES, names, {"key": key}, lambda rows: [Listed.read(row) for row in rows]
    )


def declare(
    names: Names, entry: Entry, next_at: datetime | None, *, in_code: bool
) -> Statement[bool]:
    """Store an entry; answers whether that changed anything.

    One that is there keeps its next tick, unless its schedule is another, and stays paused.
    """
    params = {
        "key": entry.key,
        "expression": entry.schedule.expression,
        "tz": entry.schedule.tz,
        "job": codec.encode(entry.job.pack(), f"the job of cron entry {entry.key}"),
        "missed": entry.missed,
        "jitter": float(entry.jitter),
        "in_code": in_code,
        "next_at": next_at,
    }
    return Statement.written(_DECLARE, names, params, bool)


def pause(names: Names, key: str) -> Statement[bool]:
    """Pause an entry; answers False if there is none."""
    return Statement.written(_PAUSE, names, {"key": key}, bool)


def resume(names: Names, key: str, next_at: datetime | None) -> Statement[bool]:
    """End the pause of an entry, from *next_at* on; answers False if there is none."""
    return Statement.written(_RESUME, names, {"key": key, "next_at": next_at}, bool)


def delete(names: Names, key: str) -> Statement[bool]:
    """Delete an entry; answers False if there is none."""
    return Statement.written(_DELETE, names, {"key": key}, bool)


def take(names: Names, listed: Listed, next_at: datetime | None) -> Statement[None]:
    """Have the next tick of an entry be another: all before are decided on in this transaction.

    Raises `Overtaken` where it is read, if the entry is no more as it was found.
    """
    params = {
        "key": listed.key,
        "revision": listed.revision,
        "due": listed.next_at,
        "next_at": next_at,
    }

    def read(rows: Sequence[Row]) -> None:
        if not rows:
            raise Overtaken

    return Statement.written(_TAKE, names, params, read)


def whole(push: Push) -> Push:
    """Return a push that raises `Held` where it is read, unless all of its jobs were stored."""
    stored = push.read

    def read(rows: Sequence[Row]) -> Any:
        ids = stored(rows)
        if missing := push.jobs.keys() - ids:
            raise Held(missing)
        return ids

    return evolve(push, read=read)


def record(names: Names, key: str, fires: Mapping[datetime, UUID | None]) -> Statement[None]:
    """Write down that ticks were fired, each with its job, if it has one.

    Raises `Fired` where it is read, for those that were written down before.
    """
    params = {"key": key, "ticks": list(fires), "jobs": list(fires.values())}

    def read(rows: Sequence[Row]) -> None:
        # In UTC: what comes twice in another zone equals nothing elsewhere (PEP 495).
        if before := fires.keys() - {row[0].astimezone(UTC) for row in rows}:
            raise Fired(before)

    return Statement.written(_RECORD, names, params, read)


def triggered(names: Names, key: str, job: UUID | None) -> Statement[Any]:
    """Write down that somebody asked for a run."""
    params = {"key": key, "ticks": [None], "jobs": [job]}
    return Statement.written(_RECORD, names, params, bool)


def fires(names: Names, key: str, limit: int) -> Statement[list[Fire]]:
    """Answer the last fires of an entry, the newest first."""
    return Statement.written(_FIRES, names, {"key": key, "limit": limit}, Fire.read)


def forget(names: Names) -> Statement[int]:
    """Delete some of the fires that are not kept any longer; answers how many."""
    params = {"kept": KEPT, "days": DAYS, "most": BATCH}
    return Statement.written(_FORGET, names, params, len)
