"""What is asked for what was left: by crashes, by those who told nobody, and by time."""

from collections.abc import Collection, Sequence
from uuid import UUID

from attrs import frozen

from chancy_core.statement import Names, Row, Statement

#: How many steps one look takes, how many workflows, and how many rows one deletion takes.
PAGE, FLOWS, ROWS = 500, 100, 10_000

_LOOK = """\
-- Look for what nobody has told of: steps whose jobs have ended or are gone, and workflows that
-- could go on. A page at a time: some rows say from where on to look the next time.
WITH queued AS MATERIALIZED (
    SELECT job FROM {workflow_steps} WHERE state = 'queued' AND job > %(queued)s
     ORDER BY job LIMIT %(page)s
), live AS MATERIALIZED (
    SELECT id FROM {jobs_v1} WHERE id = ANY(ARRAY(SELECT job FROM queued))
       AND state IN ('scheduled', 'pending', 'running')
), bad AS MATERIALIZED (
    SELECT job FROM {workflow_steps}
     WHERE state IN ('failed', 'cancelled') AND job IS NOT NULL AND job > %(bad)s
     ORDER BY job LIMIT %(page)s
), mended AS MATERIALIZED (
    SELECT id FROM {jobs_v1} WHERE id = ANY(ARRAY(SELECT job FROM bad)) AND state = 'succeeded'
), due AS MATERIALIZED (
    SELECT id FROM {workflows} WHERE due AND state = 'running' AND NOT paused AND id > %(due)s
     ORDER BY id LIMIT %(flows)s
)
SELECT 'stuck', job FROM queued WHERE job <> ALL(ARRAY(SELECT id FROM live))
 UNION ALL
SELECT 'stuck', id FROM mended
 UNION ALL
SELECT 'due', id FROM due
 UNION ALL
SELECT 'queued', max(job::text)::uuid FROM queued HAVING count(*) = %(page)s
 UNION ALL
SELECT 'bad', max(job::text)::uuid FROM bad HAVING count(*) = %(page)s
"""

_BREAK = """\
-- Say why a workflow cannot go on.
UPDATE {workflows}
   SET state = 'failed', problem = %(problem)s, finished_at = {now}(), updated_at = {now}()
 WHERE state = 'running'
   AND id = ANY(ARRAY(SELECT workflow FROM {workflow_steps} WHERE job = ANY(%(jobs)s::uuid[])
                       UNION ALL SELECT unnest(%(flows)s::uuid[])))
RETURNING id
"""

_FORGET = """\
-- Delete some of the workflows that ended long ago.
WITH old AS MATERIALIZED (
    SELECT id, numbered FROM {workflows}
     WHERE finished_at < {now}() - make_interval(secs => %(keep)s) AND queued = 0
     ORDER BY finished_at LIMIT %(flows)s
       FOR UPDATE SKIP LOCKED
), chosen AS MATERIALIZED (
    SELECT id FROM (SELECT id, sum(numbered) OVER (ORDER BY id) - numbered AS before FROM old) AS o
     WHERE before < %(rows)s
), steps AS (
    DELETE FROM {workflow_steps} WHERE workflow = ANY(ARRAY(SELECT id FROM chosen))
), edges AS (
    DELETE FROM {workflow_edges} WHERE workflow = ANY(ARRAY(SELECT id FROM chosen))
)
DELETE FROM {workflows} WHERE id = ANY(ARRAY(SELECT id FROM chosen)) RETURNING id
"""


@frozen
class Look:
    """What nobody has told of."""

    #: Jobs whose end is not recorded, and workflows that could go on.
    stuck: list[UUID]
    due: list[UUID]
    #: From where on to look for more; missing where there was no more.
    after: dict[str, UUID]

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "Look":
        """Read rows."""
        return cls(
            [id_ for kind, id_ in rows if kind == "stuck"],
            [id_ for kind, id_ in rows if kind == "due"],
            {kind: id_ for kind, id_ in rows if kind in {"queued", "bad"}},
        )


def look(names: Names, *, queued: UUID, bad: UUID, due: UUID) -> Statement[Look]:
    """Look for what nobody has told of, from these on."""
    params = {"queued": queued, "bad": bad, "due": due, "page": PAGE, "flows": FLOWS}
    return Statement.written(_LOOK, names, params, Look.read)


def break_(
    names: Names, problem: str, *, jobs: Collection[UUID] = (), flows: Collection[UUID] = ()
) -> Statement[list[UUID]]:
    """Say why the workflows of these jobs, or these, cannot go on; answers which they are."""
    params = {"problem": problem, "jobs": list(jobs), "flows": list(flows)}
    return Statement.written(_BREAK, names, params, lambda rows: [row[0] for row in rows])


def forget(names: Names, keep: float) -> Statement[int]:
    """Delete some of the workflows that ended so many seconds ago; answers how many."""
    params = {"keep": keep, "flows": FLOWS, "rows": ROWS}
    return Statement.written(_FORGET, names, params, len)
