"""A workflow, or a batch, as the database is given it: a record for each step, and who waits."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from attrs import evolve, frozen

from chancy_core import codec
from chancy_core.host import Application
from chancy_core.job import Job
from chancy_core.statement import Push
from chancy_plugins.workflow.batch import Batch
from chancy_plugins.workflow.flow import Workflow, job_of
from chancy_plugins.workflow.graph import Graph, Node
from chancy_plugins.workflow.reference import Result, named

#: Under which name the meta of a job has which step of which workflow it is.
META = "workflow"
#: How many jobs of a batch one statement stores.
PIECE = 5_000


@frozen
class Record:
    """All that is stored of a workflow or a batch; its id is known before."""

    id: UUID
    name: str
    kind: str
    open: bool
    #: Packed jobs, as JSON.
    on_failure: str | None
    on_end: str | None
    #: Each step as JSON, in pieces; a workflow is one.
    pieces: Sequence[Sequence[str]]
    #: The steps by their numbers, and each that waits for it.
    edges: tuple[list[int], list[int]]
    #: Its jobs, by the identities that they will have.
    push: Push


def of_workflow(app: Application, flow: Workflow) -> Record:
    """Return what is stored of a workflow. Raises `InvalidWorkflow`, and `InvalidValue`."""
    id_, graph = uuid4(), flow.graph()
    told = [] if flow.on_failure is None else [job_of(flow.on_failure, f"workflow {flow.name!r}")]
    nodes = [node for node in graph.nodes.values() if node.job is not None]
    push = app.pushing([*(_shell(node, id_) for node in nodes), *told])
    packed = dict(zip([node.name for node in nodes], push.jobs.items(), strict=False))
    numbers = {name: n for n, name in enumerate(graph.nodes, start=1)}
    steps = [
        codec.as_text(_step(node, graph, numbers, packed.get(node.name)))
        for node in graph.nodes.values()
    ]
    edges = [
        (numbers[before], numbers[name])
        for name, waits in graph.waits.items()
        for before in waits
        if graph.nodes[before].parent != name  # members say so themselves
    ]
    return Record(
        id=id_,
        name=flow.name,
        kind="workflow",
        open=False,
        on_failure=_text(list(push.jobs.values())[-1]) if told else None,
        on_end=None,
        pieces=[steps],
        edges=([before for before, _ in edges], [after for _, after in edges]),
        push=push,
    )


def of_batch(app: Application, batch: Batch) -> Record:
    """Return what is stored of a batch. Raises `InvalidValue` for jobs that cannot be stored."""
    id_, who = uuid4(), f"batch {batch.name!r}"
    told = [job_of(one, who) for one in (batch.on_failure, batch.then) if one is not None]
    push = app.pushing([*(_member(job, id_) for job in batch.jobs), *told])
    packed = list(push.jobs.values())
    ends = [_text(job) for job in packed[len(batch.jobs) :]]
    return Record(
        id=id_,
        name=batch.name,
        kind="batch",
        open=batch.open,
        on_failure=ends.pop(0) if batch.on_failure is not None else None,
        on_end=ends.pop(0) if batch.then is not None else None,
        pieces=pieces(push, len(batch.jobs)),
        edges=([], []),
        push=push,
    )


def members(app: Application, id_: UUID, jobs: Sequence[Job]) -> Push:
    """Return the jobs that are added to a batch, with their identities."""
    return app.pushing([_member(job, id_) for job in jobs])


def pieces(push: Push, count: int) -> list[list[str]]:
    """Return the records of the first jobs of a push, in pieces; one at least."""
    records = [
        codec.as_text({"job": str(id_), "packed": job.pack()})
        for (id_, job), _ in zip(push.jobs.items(), range(count), strict=False)
    ]
    return [records[at : at + PIECE] for at in range(0, max(1, count), PIECE)]


def _member(job: Job, id_: UUID) -> Job:
    return evolve(job, meta={**job.meta, META: {"id": str(id_)}})


def _shell(node: Node, id_: UUID) -> Job:
    """Return the job of a step with nothing in the place of what is not known yet."""
    assert node.job is not None
    kwargs = {key: None if _is_open(value) else value for key, value in node.job.kwargs.items()}
    entry = {"id": str(id_), "step": node.name}
    return evolve(node.job, kwargs=kwargs, meta={**node.job.meta, META: entry})


def _is_open(value: Any) -> bool:
    return isinstance(value, Result) or named(value) is not None


def _step(
    node: Node, graph: Graph, numbers: dict[str, int], stored: tuple[UUID, Job] | None
) -> dict[str, Any]:
    """Return the columns of a step's row, but for those that have their usual value."""
    found: dict[str, Any] = {"name": node.name}
    if node.kind != "job":
        found["kind"] = node.kind
    if count := len(graph.waits[node.name]):
        found["waits_for"] = count
    if node.members:
        found["first"], found["last"] = numbers[node.members[0]], numbers[node.members[-1]]
    if node.parent is not None:
        found["parent"] = numbers[node.parent]
    if node.allow_failure:
        found["may_fail"] = True
    if stored is not None:
        found |= _called(node, stored)
    if over := node.over:
        found["argument"], found["over"] = over[0], numbers[over[1]]
    if inputs := node.inputs:
        assert node.job is not None
        found["inputs"] = {
            key: numbers[steps[0]]
            if isinstance(node.job.kwargs[key], Result)
            else [numbers[step] for step in steps]
            for key, steps in inputs.items()
        }
    return found


def _called(node: Node, stored: tuple[UUID, Job]) -> dict[str, Any]:
    """Return the columns about its job: that without the arguments that are not known yet."""
    id_, job = stored
    packed = job.pack()
    for key in (*node.inputs, *(node.over or ())[:1]):
        del packed["kwargs"][key]
    return {"packed": packed} | ({"job": str(id_)} if node.kind == "job" else {})


def _text(job: Job) -> str:
    return codec.as_text(job.pack())
