"""What is asked of the rows of a day: which are to go, and what is in them."""

import json
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from attrs import frozen

from chancy_core.statement import Names, Statement, nothing
from chancy_plugins.retention.calendar import DAY, Walk
from chancy_plugins.retention.policy import Keep, Policy

#: How many rows one statement looks at, and so deletes at most.
BATCH = 1000
#: Before all ids, and all times.
_FIRST = UUID(int=0), datetime(1, 12, 31, tzinfo=UTC)

_BEGIN = """\
-- Begin to look at the rows of a day, or go on where somebody was interrupted.
INSERT INTO {retention_days} AS d (day, rules, step) VALUES (%(day)s, %(rules)s, %(step)s)
ON CONFLICT (day) DO UPDATE
   SET rules = excluded.rules, step = excluded.step, done = false, missed = false,
       after_id = DEFAULT, after_at = DEFAULT
 WHERE (d.rules, d.step) IS DISTINCT FROM (excluded.rules, excluded.step) OR d.done
"""

#: Rows are deleted by their place, which they keep: none of the history is ever changed. What
#: somebody has locked, to bring it back, is passed over, so that nobody ever waits crosswise.
_STEP = """\
-- Look at the next rows of a day, and delete those whose time is over. Answers whether nobody else
-- is at it, how many rows were looked at, and how many are gone.
WITH walk AS MATERIALIZED (
    SELECT after_id, after_at FROM {retention_days}
     WHERE day = %(day)s AND rules = %(rules)s AND step = %(step)s AND NOT done
       FOR UPDATE SKIP LOCKED
), seen AS MATERIALIZED (
    SELECT h.ctid AS place, h.id, h.finished_at,
           -- The first rule that is for it holds; it may say: for ever.
           (coalesce((SELECT ARRAY[(rule ->> 'for')::float8]
                       FROM jsonb_array_elements(%(kept)s::jsonb) WITH ORDINALITY AS r (rule, place)
                      WHERE (rule -> 'state' IS NULL OR rule -> 'state' ? h.state)
                        AND (rule -> 'queue' IS NULL OR h.queue LIKE ANY (
                                 ARRAY(SELECT jsonb_array_elements_text(rule -> 'queue'))))
                        AND (rule -> 'func' IS NULL OR h.func LIKE ANY (
                                 ARRAY(SELECT jsonb_array_elements_text(rule -> 'func'))))
                      ORDER BY place
                      LIMIT 1), ARRAY[%(keep)s::float8]))[1] AS kept
      FROM {history} AS h
     WHERE h.finished_at >= %(since)s AND h.finished_at < %(until)s
       AND (h.id, h.finished_at) > ((SELECT after_id FROM walk), (SELECT after_at FROM walk))
     ORDER BY h.id, h.finished_at
     LIMIT %(most)s
), due AS MATERIALIZED (
    SELECT place FROM seen
     WHERE finished_at <= {now}() - make_interval(secs => kept)
       AND (kept < %(brief)s OR kept <= %(step)s)
), free AS MATERIALIZED (
    SELECT h.ctid AS place FROM {history} AS h
     WHERE h.ctid = ANY (ARRAY(SELECT place FROM due))
       AND h.finished_at >= %(since)s AND h.finished_at < %(until)s
       FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {history} AS h
     WHERE h.ctid = ANY (ARRAY(SELECT place FROM free))
       AND h.finished_at >= %(since)s AND h.finished_at < %(until)s
    RETURNING 1
), told AS MATERIALIZED (
    SELECT (SELECT count(*) FROM seen) AS seen, (SELECT count(*) FROM gone) AS gone,
           (SELECT count(*) FROM gone) < (SELECT count(*) FROM due) AS missed
), last AS MATERIALIZED (
    SELECT id, finished_at FROM seen ORDER BY id DESC, finished_at DESC LIMIT 1
), moved AS (
    UPDATE {retention_days} AS d
       SET after_id = CASE WHEN t.seen < %(most)s THEN %(first_id)s ELSE l.id END,
           after_at = CASE WHEN t.seen < %(most)s THEN %(first_at)s ELSE l.finished_at END,
           missed = t.seen = %(most)s AND (d.missed OR t.missed),
           done = t.seen < %(most)s AND d.step > 0 AND NOT (d.missed OR t.missed)
      FROM told AS t LEFT JOIN last AS l ON true
     WHERE d.day = %(day)s AND EXISTS (SELECT FROM walk)
)
SELECT EXISTS (SELECT FROM walk), seen, gone FROM told
"""

_PAGE = """\
-- Read the next rows of a day.
SELECT h.id, h.finished_at, row_to_json(h)::text
  FROM {history} AS h
 WHERE h.finished_at >= %(since)s AND h.finished_at < %(until)s
   AND (h.id, h.finished_at) > (%(after_id)s::uuid, %(after_at)s::timestamptz)
 ORDER BY h.id, h.finished_at
 LIMIT %(most)s
"""


@frozen
class Batch:
    """What became of some rows of a day."""

    #: False if somebody else is at them, or there is nothing to be looked at.
    ours: bool
    seen: int
    gone: int

    @property
    def last(self) -> bool:
        """Whether there are no further rows."""
        return not self.ours or self.seen < BATCH


def begin(names: Names, walk: Walk, rules: str) -> Statement[None]:
    """Begin to look at a day, or go on."""
    params = {"day": walk.day, "rules": rules, "step": walk.step}
    return Statement.written(_BEGIN, names, params, nothing)


def step(names: Names, walk: Walk, policy: Policy, rules: str) -> Statement[Batch]:
    """Look at the next rows of a day, and delete those whose time is over."""
    params = _bounds(walk.day) | {
        "day": walk.day, "rules": rules, "step": walk.step, "keep": policy.keep, "brief": DAY,
        "kept": json.dumps([_asked(rule) for rule in policy.rules]),
        "most": BATCH, "first_id": _FIRST[0], "first_at": _FIRST[1],
    }  # fmt: skip
    return Statement.written(_STEP, names, params, lambda rows: Batch(*rows[0]))


def page(
    names: Names, day: date, after: tuple[UUID, datetime] | None
) -> Statement[list[tuple[UUID, datetime, str]]]:
    """Answer the next rows of a day as JSON, each with its id and time; to be read gently."""
    id_, at = after or _FIRST
    params = _bounds(day) | {"after_id": id_, "after_at": at, "most": BATCH}
    return Statement.written(_PAGE, names, params, lambda rows: [tuple(row) for row in rows])


def _bounds(day: date) -> dict[str, Any]:
    since = datetime.combine(day, time(), UTC)
    return {"since": since, "until": since + timedelta(days=1)}


def _asked(rule: Keep) -> dict[str, Any]:
    """Return a rule as the statement reads it: what it does not ask for is not there."""
    asked: dict[str, Any] = {"for": rule.for_, "state": rule.state and list(rule.state)}
    for name in ("queue", "func"):
        wanted = getattr(rule, name)
        asked[name] = wanted and [like(one) for one in wanted]
    return {name: value for name, value in asked.items() if value is not None}


def like(name: str) -> str:
    r"""Return the pattern of LIKE for a name in which `*` stands for any text."""
    for special in ("\\", "%", "_"):
        name = name.replace(special, f"\\{special}")
    return name.replace("*", "%")
