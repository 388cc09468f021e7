"""What is done to the tables of workflows. All times in them are by the database's clock."""

from collections.abc import Callable, Collection, Sequence
from uuid import UUID

from attrs import frozen

from chancy_core import codec
from chancy_core.outcome import Settlement
from chancy_core.statement import Names, Row, Statement
from chancy_plugins.workflow.record import Record

#: How many jobs are queued in the transaction that settles another, at most: others wait for that.
BESIDE = 500
#: How many in a transaction of their own; a map's list may be as long.
ALONE = 10_000
#: How many jobs one statement is about, where it may be about many.
PAGE = 500
#: How much of an error's text is kept with a step.
SAID = 500

_PUSH = """\
-- Store a workflow, or a batch with the first of its jobs, and queue what is ready.
SELECT {workflow_push}(
    %(id)s::uuid, %(name)s::text, %(kind)s::text, %(open)s::boolean,
    %(on_failure)s::jsonb, %(on_end)s::jsonb,
    %(steps)s::text[]::jsonb[], %(edge_steps)s::integer[], %(edge_dependents)s::integer[])
"""

_ADD = "-- Add jobs to a batch.\nSELECT {workflow_add}(%(id)s::uuid, %(steps)s::text[]::jsonb[])"

_HOLD = """\
-- Hold a batch that takes more jobs.
SELECT kind, state FROM {workflows} WHERE id = %(id)s FOR NO KEY UPDATE
"""

_SETTLE = """\
-- Record what became of jobs, and go on with their workflows.
SELECT more, queue
  FROM {workflow_settle}(%(jobs)s::uuid[], %(states)s::text[], %(results)s::text[],
                         %(problems)s::text[], %(most)s)
"""

_LOOK_AGAIN = """\
-- Look what became of the jobs of steps, and go on with their workflows.
SELECT more, queue FROM {workflow_look_again}(%(jobs)s::uuid[], %(most)s)
"""

_GO_ON = """\
-- Queue what is ready of a workflow.
SELECT more, queue FROM {workflow_go_on}(%(flows)s::uuid[], %(most)s)
"""

_RETRY = """\
-- Have a workflow run once more.
SELECT more, queue FROM {workflow_retry}(%(id)s::uuid, %(most)s)
"""

_CLOSE = """\
-- Close a batch: it ends with the jobs that it has. One that has ended changes nothing.
WITH closed AS (
    UPDATE {workflows} SET open = false, updated_at = {now}()
     WHERE id = %(id)s AND kind = 'batch'
    RETURNING id
)
SELECT id FROM closed
"""

_CLOSED = """\
-- Say what follows from it that a batch was closed.
SELECT more, queue
  FROM {workflow_advance}(ARRAY[%(id)s::uuid], ARRAY(
           SELECT {workflow_count}(ARRAY[id], ARRAY[0], ARRAY[''], ARRAY[''])
             FROM {workflows} WHERE id = %(id)s AND state = 'running'), 0)
"""

_PAUSE = """\
-- Pause a workflow.
UPDATE {workflows} SET paused = true, updated_at = {now}() WHERE id = %(id)s RETURNING id
"""

_RESUME = """\
-- End the pause of a workflow.
UPDATE {workflows} SET paused = false, due = true, updated_at = {now}() WHERE id = %(id)s
RETURNING id
"""

_CANCEL = """\
-- Cancel a workflow that has not come to its end; what runs is cancelled after that.
UPDATE {workflows}
   SET state = 'cancelled', finished_at = coalesce(finished_at, {now}()), updated_at = {now}()
 WHERE id = %(id)s AND (state = 'running' OR state = 'failed' AND queued > 0)
RETURNING id
"""

_JOBS = """\
-- List jobs of steps that are in one of some states, from one step on.
SELECT step, job FROM {workflow_steps}
 WHERE workflow = %(id)s AND step > %(after)s AND state = ANY(%(states)s::text[])
   AND job IS NOT NULL
 ORDER BY step LIMIT %(most)s
"""


@frozen
class Gone:
    """What came of going on: which queues have new jobs, and of which workflows there is more."""

    queues: frozenset[str]
    more: tuple[UUID, ...]

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "Gone":
        """Read rows."""
        queues = frozenset(queue for _, queue in rows if queue is not None)
        return cls(queues, tuple(id_ for id_, _ in rows if id_ is not None))


def _ids(rows: Sequence[Row]) -> list[UUID]:
    return [row[0] for row in rows]


def push(names: Names, record: Record) -> list[Statement[list[UUID]]]:
    """Store a workflow or a batch; each answers the jobs that it has queued."""
    params = {
        "id": record.id,
        "name": record.name,
        "kind": record.kind,
        "open": record.open,
        "on_failure": record.on_failure,
        "on_end": record.on_end,
        "steps": list(record.pieces[0]),
        "edge_steps": record.edges[0],
        "edge_dependents": record.edges[1],
    }
    first = Statement.written(_PUSH, names, params, _ids)
    return [first, *(add(names, record.id, piece) for piece in record.pieces[1:])]


def add(names: Names, id_: UUID, steps: Sequence[str]) -> Statement[list[UUID]]:
    """Add jobs to a batch; answers those that were queued."""
    return Statement.written(_ADD, names, {"id": id_, "steps": list(steps)}, _ids)


def hold(
    names: Names, id_: UUID, check: Callable[[tuple[str, str] | None], None]
) -> Statement[None]:
    """Hold a batch; *check* is given its kind and its state, and raises if it takes no more."""
    return Statement.written(
        _HOLD, names, {"id": id_}, lambda rows: check((rows[0][0], rows[0][1]) if rows else None)
    )


def settle(
    names: Names, ended: Sequence[Settlement], read: Callable[[Gone], None]
) -> Statement[None]:
    """Record what became of jobs; *read* is given what came of it."""
    params = {
        "jobs": [one.job.id for one in ended],
        "states": [one.verdict.state.value for one in ended],
        "results": [one.outcome.result for one in ended],
        "problems": [_problem(one) for one in ended],
        "most": BESIDE,
    }
    return Statement.written(_SETTLE, names, params, lambda rows: read(Gone.read(rows)))


def _problem(one: Settlement) -> str | None:
    if one.verdict.state.value == "succeeded":
        return None
    failure = one.outcome.failure
    if failure is None:
        return f"its job is {one.verdict.state.value}"
    return codec.clean(f"{failure.type}: {failure.message}", SAID)


def look_again(names: Names, jobs: Collection[UUID]) -> Statement[Gone]:
    """Look what became of jobs, and record it."""
    return Statement.written(_LOOK_AGAIN, names, {"jobs": list(jobs), "most": ALONE}, Gone.read)


def go_on(names: Names, flows: Collection[UUID], most: int = ALONE) -> Statement[Gone]:
    """Queue what is ready."""
    return Statement.written(_GO_ON, names, {"flows": list(flows), "most": most}, Gone.read)


def retry(names: Names, id_: UUID) -> Statement[Gone]:
    """Have a workflow run once more."""
    return Statement.written(_RETRY, names, {"id": id_, "most": ALONE}, Gone.read)


def close(names: Names, id_: UUID) -> tuple[Statement[bool], Statement[Gone]]:
    """Close a batch, and say what follows; the first answers False if there is none."""
    params = {"id": id_}
    return (
        Statement.written(_CLOSE, names, params, bool),
        Statement.written(_CLOSED, names, params, Gone.read),
    )


def pause(names: Names, id_: UUID) -> Statement[bool]:
    """Pause a workflow; answers False if there is none."""
    return Statement.written(_PAUSE, names, {"id": id_}, bool)


def resume(names: Names, id_: UUID) -> Statement[bool]:
    """End a pause; answers False if there is none."""
    return Statement.written(_RESUME, names, {"id": id_}, bool)


def cancel(names: Names, id_: UUID) -> Statement[bool]:
    """Cancel a workflow; answers False if there is none that could be."""
    return Statement.written(_CANCEL, names, {"id": id_}, bool)


def jobs(
    names: Names, id_: UUID, states: Collection[str], after: int
) -> Statement[list[tuple[int, UUID]]]:
    """Answer jobs of steps in these states, from one step on, with the numbers of the steps."""
    params = {"id": id_, "states": list(states), "after": after, "most": PAGE}
    return Statement.written(_JOBS, names, params, lambda rows: [(step, job) for step, job in rows])
