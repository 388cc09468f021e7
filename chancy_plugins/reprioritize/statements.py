"""What is asked of the table of rules, and of the jobs that wait. All by the database's clock."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import frozen

from chancy_core.statement import Names, Row, Statement
from chancy_plugins.reprioritize.ageing import Ageing

#: By how many seconds a client's clock may be ahead without its jobs being found late: ids tell
#: the time, and only jobs with old ones are looked at.
SLACK = 60.0

#: A walk along the ids of live jobs. How many steps a job has made at a time follows from when it
#: began to wait; it is raised by those between `since` and `until`, so by each step once.
_LOOK = """\
-- Look how far a rule is applied, and which of the jobs that come next have waited for longer.
WITH kept AS MATERIALIZED (
    SELECT since, until, last, revision FROM {ageings} WHERE rule = %(rule)s
), turn AS MATERIALIZED (
    SELECT kept.since, coalesce(kept.until, {now}()) AS until,
           coalesce(kept.last, '00000000-0000-0000-0000-000000000000') AS last,
           coalesce(kept.revision, 0) AS revision,
           kept.until IS NULL
           AND coalesce(kept.since > {now}() - make_interval(secs => %(pause)s::float8), false)
           AS early
      FROM (VALUES (1)) AS always LEFT JOIN kept ON true
), live AS MATERIALIZED (
    -- No state is named that jobs have: what a planner does not know of them misleads it.
    SELECT id, queue, func, state, priority, greatest(created_at, scheduled_at) AS began
      FROM {jobs_v1}
     WHERE state <> ALL ('{{succeeded,failed,cancelled,quarantined,lost}}')
       AND id > (SELECT last FROM turn) AND NOT (SELECT early FROM turn)
     ORDER BY id
     LIMIT %(batch)s
), next AS MATERIALIZED (
    SELECT *
      FROM live
     WHERE id < (SELECT (lpad(to_hex(greatest(0, extract(epoch FROM until) * 1000
                                     - (%(after)s::float8 - %(slack)s::float8) * 1000)::bigint),
                              12, '0') || '00000000000000000000')::uuid FROM turn)
), due AS (
    SELECT id, greatest(0, floor((extract(epoch FROM turn.until - began) - %(after)s::float8)
                                 / %(every)s::float8) + 1)
               - CASE WHEN turn.since IS NULL THEN 0 ELSE
                 greatest(0, floor((extract(epoch FROM turn.since - began) - %(after)s::float8)
                                   / %(every)s::float8) + 1) END AS steps
      FROM next, turn
     WHERE state = 'pending'
       AND (%(queue)s::text[] IS NULL OR queue = ANY(%(queue)s::text[]))
       AND (%(func)s::text[] IS NULL OR func = ANY(%(func)s::text[]))
       AND priority < %(most)s::int
)
SELECT turn.revision, turn.early, turn.until,
       (SELECT id FROM next ORDER BY id DESC LIMIT 1), (SELECT count(*) FROM next),
       ARRAY(SELECT id FROM due WHERE steps > 0 ORDER BY id),
       ARRAY(SELECT least(steps, 65535)::int FROM due WHERE steps > 0 ORDER BY id)
  FROM turn
"""

_MOVE = """\
-- Write down how far a rule is applied, if nobody else has since.
INSERT INTO {ageings} AS a (rule, since, until, last, revision)
SELECT %(rule)s, %(since)s::timestamptz, %(until)s::timestamptz, %(last)s::uuid, 1
 WHERE %(revision)s::bigint = 0 OR EXISTS (SELECT FROM {ageings} WHERE rule = %(rule)s)
ON CONFLICT (rule) DO UPDATE
   SET since = coalesce(excluded.since, a.since), until = excluded.until, last = excluded.last,
       revision = a.revision + 1
 WHERE a.revision = %(revision)s::bigint
RETURNING revision
"""


class Overtaken(Exception):
    """Somebody else has applied the rule meanwhile."""


@frozen
class Look:
    """What comes next for a rule."""

    revision: int
    #: Whether it was applied to all a moment ago.
    early: bool
    #: Steps up to then are given.
    until: datetime
    #: The last job that was looked at; None if there was none.
    last: UUID | None
    #: How many jobs were looked at.
    seen: int
    #: How many steps each of those has made that are to be raised.
    steps: dict[UUID, int]

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "Look":
        """Read the row of `look`."""
        revision, early, until, last, seen, ids, steps = rows[0]
        return cls(revision, early, until, last, seen, dict(zip(ids, steps, strict=True)))


def look(names: Names, rule: Ageing, pause: float) -> Statement[Look]:
    """Look which jobs come next; none, if the rule was applied to all within *pause* seconds."""
    params = {
        "rule": rule.key,
        "queue": rule.queue and list(rule.queue),
        "func": rule.func and list(rule.func),
        "after": float(rule.after),
        "every": float(rule.every),
        "most": rule.most,
        "batch": rule.batch,
        "pause": pause,
        "slack": SLACK,
    }
    return Statement.written(_LOOK, names, params, Look.read)


def move(names: Names, rule: Ageing, found: Look, *, ended: bool) -> Statement[None]:
    """Go on behind what was found, or begin anew if that was the end.

    Raises `Overtaken` where it is read, if somebody else has.
    """
    params: dict[str, Any] = {
        "rule": rule.key,
        "revision": found.revision,
        "since": found.until if ended else None,
        "until": None if ended else found.until,
        "last": None if ended else found.last,
    }

    def read(rows: Sequence[Row]) -> None:
        if not rows:
            raise Overtaken

    return Statement.written(_MOVE, names, params, read)
