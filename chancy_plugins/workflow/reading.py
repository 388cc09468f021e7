"""What is read of the tables of workflows: where they stand, their steps, results, and pictures."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from chancy_core import codec
from chancy_core.statement import Names, Row, Statement
from chancy_plugins.workflow.picture import Drawn
from chancy_plugins.workflow.stored import Stored, StoredStep

#: How many steps a picture has at most.
DRAWN = 2_000

_GET = """\
-- Find a workflow.
SELECT w.id, w.name, w.kind, w.state, w.paused, w.open, w.total, w.queued, w.succeeded, w.failed,
       w.cancelled, w.excused, w.problem, w.created_at, w.updated_at, w.finished_at
  FROM {workflows} AS w WHERE w.id = %(id)s
"""

#: The same columns.
_LIST = """\
-- List workflows, the newest first.
SELECT w.id, w.name, w.kind, w.state, w.paused, w.open, w.total, w.queued, w.succeeded, w.failed,
       w.cancelled, w.excused, w.problem, w.created_at, w.updated_at, w.finished_at
  FROM {workflows} AS w
 WHERE (%(state)s::text IS NULL OR w.state = %(state)s)
   AND (%(paused)s::boolean IS NULL OR w.paused = %(paused)s)
   AND (%(name)s::text IS NULL OR w.name = %(name)s)
   AND (%(kind)s::text IS NULL OR w.kind = %(kind)s)
   AND (%(before)s::uuid IS NULL
        OR w.number < (SELECT number FROM {workflows} WHERE id = %(before)s))
 ORDER BY w.number DESC LIMIT %(limit)s
"""

_STEPS = """\
-- List steps of a workflow.
SELECT step, name, kind, state, waits_for, job, problem FROM {workflow_steps}
 WHERE workflow = %(id)s AND step > %(after)s AND (%(state)s::text IS NULL OR state = %(state)s)
 ORDER BY step LIMIT %(limit)s
"""

_RESULT = """\
-- Find the result of a step of a workflow.
SELECT state, problem, {workflow_result}(workflow, step)::text FROM {workflow_steps}
 WHERE workflow = %(id)s AND name = %(name)s ORDER BY step LIMIT 1
"""

_DRAWN = """\
-- List the steps of a workflow for a picture.
SELECT s.step, s.name, s.kind, s.state, s.parent FROM {workflow_steps} AS s
 WHERE s.workflow = %(id)s ORDER BY s.step LIMIT %(most)s
"""

_EDGES = """\
-- List who waits for whom in a workflow.
SELECT step, dependent FROM {workflow_edges} WHERE workflow = %(id)s ORDER BY 1, 2
"""


def get(names: Names, id_: UUID) -> Statement[Stored | None]:
    """Answer a workflow or a batch."""
    return Statement.written(
        _GET, names, {"id": id_}, lambda rows: Stored.read(rows[0]) if rows else None
    )


def list_(
    names: Names,
    *,
    state: str | None,
    name: str | None,
    kind: str | None,
    limit: int,
    before: UUID | None,
) -> Statement[list[Stored]]:
    """Answer a page of workflows, the newest first."""
    paused = {"running": False, "paused": True}.get(state or "")
    params: dict[str, Any] = {
        "state": "running" if state == "paused" else state,
        "paused": paused,
        "name": name,
        "kind": kind,
        "limit": limit,
        "before": before,
    }
    return Statement.written(_LIST, names, params, lambda rows: [Stored.read(row) for row in rows])


def steps(
    names: Names, id_: UUID, *, state: str | None, limit: int, after: int
) -> Statement[list[StoredStep]]:
    """Answer a page of steps, as they were added."""
    params = {"id": id_, "state": state, "limit": limit, "after": after}
    return Statement.written(
        _STEPS, names, params, lambda rows: [StoredStep.read(row) for row in rows]
    )


def result(names: Names, id_: UUID, name: str) -> Statement[tuple[str, str | None, Any] | None]:
    """Answer the state of a step, why it has failed, and its result."""

    def read(rows: Sequence[Row]) -> tuple[str, str | None, Any] | None:
        if not rows:
            return None
        state, problem, text = rows[0]
        return state, problem, codec.decode(text)

    return Statement.written(_RESULT, names, {"id": id_, "name": name}, read)


def drawn(
    names: Names, id_: UUID
) -> tuple[Statement[dict[int, tuple[Drawn, int | None]]], Statement[list[tuple[int, int]]]]:
    """Answer the steps of a picture, by number and with their group or map; and who waits."""
    nodes = Statement.written(
        _DRAWN,
        names,
        {"id": id_, "most": DRAWN + 1},
        lambda rows: {
            step: (Drawn(name, kind, state), parent) for step, name, kind, state, parent in rows
        },
    )
    edges = Statement.written(
        _EDGES, names, {"id": id_}, lambda rows: [(step, dependent) for step, dependent in rows]
    )
    return nodes, edges
