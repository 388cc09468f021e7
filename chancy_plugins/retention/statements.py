"""What is asked of the days of the history, and of our two tables, by the database's clock."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from attrs import frozen

from chancy_core import codec
from chancy_core.statement import Names, Row, Statement, nothing
from chancy_plugins.retention.calendar import Day, Standing

#: Holds to the end of a transaction. Nobody waits behind us for longer than that; and whatever the
#: server thinks of its tables, it goes through a day by its primary key.
_GENTLY = """\
-- Wait for no lock for long, and keep to the index.
SELECT set_config('lock_timeout', '50ms', true), set_config('statement_timeout', '20s', true),
       set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('jit', 'off', true), set_config('timezone', 'UTC', true)
"""

_STANDING = """\
-- Say what retention may do here, and what it was told.
SELECT {now}(), pg_has_role(c.relowner, 'USAGE'), r.installation, r.rules::text, r.told_by
  FROM pg_class AS c, {retention_rules} AS r
 WHERE c.oid = '{history}'::regclass
"""

_ROW = """\
-- Have the row there that says which installation this is.
INSERT INTO {retention_rules} DEFAULT VALUES ON CONFLICT DO NOTHING
"""

_TELL = """\
-- Write down by which rules jobs are removed; answers those before, if they were others.
WITH before AS MATERIALIZED (
    SELECT rules FROM {retention_rules} WHERE rules IS DISTINCT FROM %(rules)s::jsonb
       FOR UPDATE
), told AS (
    UPDATE {retention_rules}
       SET rules = %(rules)s::jsonb, told_by = %(who)s, told_at = {now}()
     WHERE EXISTS (SELECT FROM before)
)
SELECT rules::text FROM before
"""

#: A partition is a day's if it is called so and has that day's bounds, both as text, which the
#: server writes in the same way. What is called like a day, and is none, makes no error here.
_DAYS = """\
-- List the days of the history, with what is known of each.
WITH part AS MATERIALIZED (
    SELECT c.oid, c.relname, c.reltuples, c.relpartbound, i.inhdetachpending,
           right(c.relname, 8) AS digits
      FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
     WHERE i.inhparent = '{history}'::regclass AND c.relkind = 'r'
       AND c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = '{history}'::regclass)
       AND c.relname ~ ('^' || %(prefix)s::text || 'history_[0-9]{{8}}$')
), dated AS MATERIALIZED (
    SELECT part.*, (date '0001-01-01'
                    + make_interval(years => left(digits, 4)::int - 1,
                                    months => substr(digits, 5, 2)::int - 1,
                                    days => right(digits, 2)::int - 1))::date AS day
      FROM part
)
SELECT d.day, d.relname, d.oid::bigint,
       extract(epoch FROM {now}() - ((d.day + 1)::timestamp AT TIME ZONE 'UTC'))::float8,
       greatest(d.reltuples, 0)::bigint, coalesce(pg_total_relation_size(d.oid), 0),
       d.inhdetachpending, coalesce(r.dropping = d.oid, false),
       r.rules, coalesce(r.step, 0), coalesce(r.done, false)
  FROM dated AS d LEFT JOIN {retention_days} AS r ON r.day = d.day
 WHERE to_char(d.day, 'YYYYMMDD') = d.digits
   AND pg_get_expr(d.relpartbound, d.oid)
       = format('FOR VALUES FROM (%%L) TO (%%L)', d.day::timestamp AT TIME ZONE 'UTC',
                (d.day + 1)::timestamp AT TIME ZONE 'UTC')
 ORDER BY d.day
"""

_BEGUN = """\
-- List the days whose tables are to be dropped, and how far that has come.
SELECT r.day, r.dropping::bigint, greatest(c.reltuples, 0)::bigint, c.oid IS NOT NULL,
       i.inhrelid IS NOT NULL, coalesce(i.inhdetachpending, false)
  FROM {retention_days} AS r
  LEFT JOIN pg_class AS c ON c.oid = r.dropping
  LEFT JOIN pg_inherits AS i ON i.inhrelid = r.dropping
 WHERE r.dropping IS NOT NULL
 ORDER BY r.day
"""

_MEAN = """\
-- Write down that a day's table is going to be dropped: before it is taken out of the history.
INSERT INTO {retention_days} (day, dropping) VALUES (%(day)s, %(oid)s::bigint::oid)
ON CONFLICT (day) DO UPDATE SET dropping = excluded.dropping
"""

_DETACH = """\
-- Take a day out of the history, while everybody reads and writes it.
ALTER TABLE {history} DETACH PARTITION {DAY} CONCURRENTLY
"""

_FINALIZE = """\
-- Take a day out of the history for good: somebody was interrupted.
ALTER TABLE {history} DETACH PARTITION {DAY} FINALIZE
"""

_LOCK = """\
-- Have a day's table to ourselves.
LOCK TABLE {DAY} IN ACCESS EXCLUSIVE MODE
"""

_OURS = """\
-- Say whether a table is the one that was written down, and was a day of the history.
SELECT d.oid::bigint = %(oid)s AND r.dropping = d.oid AND d.relkind = 'r' AND NOT d.relispartition
       AND d.relowner = h.relowner
       AND NOT EXISTS (SELECT FROM pg_inherits WHERE d.oid IN (inhrelid, inhparent))
       AND (SELECT string_agg(attname || ' ' || atttypid, ', ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = d.oid AND attnum > 0 AND NOT attisdropped)
         = (SELECT string_agg(attname || ' ' || atttypid, ', ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = h.oid AND attnum > 0 AND NOT attisdropped)
  FROM pg_class AS d, pg_class AS h, {retention_days} AS r
 WHERE d.oid = '{DAY}'::regclass AND h.oid = '{history}'::regclass AND r.day = %(day)s
   FOR UPDATE OF r
"""

_DROP = "-- Drop a day's table, which is no longer in the history.\nDROP TABLE {DAY}"

_FORGET = """\
-- Forget a day whose table is gone, or is not to be dropped.
DELETE FROM {retention_days} WHERE day = %(day)s AND dropping = %(oid)s::bigint::oid
"""

_TIDY = """\
-- Forget the days that somebody else has taken out of the history.
DELETE FROM {retention_days}
 WHERE dropping IS NULL AND day < ({now}() AT TIME ZONE 'UTC')::date - 2
   AND NOT EXISTS (SELECT FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
                    WHERE i.inhparent = '{history}'::regclass
                      AND c.relname = %(prefix)s || 'history_' || to_char(day, 'YYYYMMDD'))
"""


class NotOurs(Exception):
    """A table that was to be dropped is not the one that was written down, or is one no longer."""


@frozen
class Begun:
    """A day that somebody has begun to drop, and how far that has come."""

    day: date
    oid: int
    rows: int
    #: Whether its table is there.
    there: bool
    #: Whether it is a part of the history still, and if so, whether it is on its way out.
    attached: bool
    leaving: bool


def gently(names: Names) -> Statement[None]:
    """Return what goes first in each transaction: wait for nobody, and keep to the index."""
    return Statement.written(_GENTLY, names, {}, nothing)


def row(names: Names) -> Statement[None]:
    """Have the row there that `standing` reads."""
    return Statement.written(_ROW, names, {}, nothing)


def standing(names: Names) -> Statement[Standing]:
    """Answer what may be done here, and what was told."""
    return Statement.written(_STANDING, names, {}, Standing.read)


def tell(names: Names, rules: Mapping[str, Any], who: str) -> Statement[Any]:
    """Write rules down; answers those before if they were others, None if there were none."""
    params = {"rules": codec.encode(rules, "rules of retention"), "who": who}

    def read(rows: Sequence[Row]) -> Any:
        return codec.decode(rows[0][0]) if rows and rows[0][0] is not None else None

    return Statement.written(_TELL, names, params, read)


def days(names: Names) -> Statement[list[Day]]:
    """Answer the days of the history, the oldest first: what is called, and bounded, like one."""
    return Statement.written(_DAYS, names, {"prefix": names.prefix}, Day.read)


def begun(names: Names) -> Statement[list[Begun]]:
    """Answer the days that somebody has begun to drop, the oldest first."""
    return Statement.written(_BEGUN, names, {}, lambda rows: [Begun(*row) for row in rows])


def _of(text: str, day: date) -> str:
    """Return a statement about a day's table; digits are all that becomes part of its text."""
    return text.replace("{DAY}", f"{{history_{day.year:04}{day.month:02}{day.day:02}}}")


def mean(names: Names, day: date, oid: int) -> Statement[None]:
    """Write down that a table is going to be dropped."""
    return Statement.written(_MEAN, names, {"day": day, "oid": oid}, nothing)


def detach(names: Names, day: date) -> Statement[None]:
    """Take a day out of the history; it has to be run alone, in no transaction."""
    return Statement.written(_of(_DETACH, day), names, {}, nothing)


def finalize(names: Names, day: date) -> Statement[None]:
    """Take a day out for good that somebody has begun to take out."""
    return Statement.written(_of(_FINALIZE, day), names, {}, nothing)


def drop(names: Names, day: date, oid: int) -> list[Statement[Any]]:
    """Drop the table of a day, which has been taken out: in one transaction.

    Raises `NotOurs` where it is read if it is another one, or is in the history still.
    """

    def read(rows: Sequence[Row]) -> None:
        if not rows or rows[0][0] is not True:
            raise NotOurs

    asked = {"day": day, "oid": oid}
    return [
        gently(names),
        Statement.written(_of(_LOCK, day), names, {}, nothing),
        Statement.written(_of(_OURS, day), names, asked, read),
        Statement.written(_of(_DROP, day), names, {}, nothing),
        forget(names, day, oid),
    ]


def forget(names: Names, day: date, oid: int) -> Statement[None]:
    """Forget that a table was to be dropped."""
    return Statement.written(_FORGET, names, {"day": day, "oid": oid}, nothing)


def tidy(names: Names) -> Statement[None]:
    """Forget days that are there no longer."""
    return Statement.written(_TIDY, names, {"prefix": names.prefix}, nothing)
