"""`chancy workflow`: what runs, how far it is, and how that is changed."""

from typing import Annotated, Any, Literal
from uuid import UUID

from cyclopts import App, Parameter

from chancy_core.cli.asking import ensure
from chancy_core.cli.invocation import Here
from chancy_plugins.workflow.calls import Workflows
from chancy_plugins.workflow.stored import Stored, StoredStep

app = App(name="workflow", help="List workflows and batches; show, pause, cancel and retry them.")
_COLUMNS = ("id", "name", "kind", "state", "done", "failed", "created_at")
_STEPS = ("number", "name", "kind", "state", "waits_for", "job", "problem")


def _document(found: Stored) -> dict[str, Any]:
    """Return what is known of a workflow, as `--json` prints it."""
    return {
        "id": found.id,
        "name": found.name,
        "kind": found.kind,
        "state": found.state,
        "done": f"{found.ended}/{found.total}",
        "total": found.total,
        "waiting": found.waiting,
        "queued": found.queued,
        "succeeded": found.succeeded,
        "failed": found.failed,
        "cancelled": found.cancelled,
        "excused": found.excused,
        "open": found.open,
        "problem": found.problem,
        "created_at": found.created_at,
        "finished_at": found.finished_at,
    }


def _step(step: StoredStep) -> dict[str, Any]:
    return {name: getattr(step, name) for name in _STEPS}


@app.command(name="list")
async def list_(
    *,
    state: str | None = None,
    name: str | None = None,
    kind: str | None = None,
    limit: int = 20,
    before: UUID | None = None,
    here: Here,
) -> None:
    """List workflows and batches, the newest first.

    Parameters
    ----------
    state
        Those that are running, paused, completed, failed or cancelled.
    name
        Those of this name.
    kind
        Workflows, or batches: `workflow`, `batch`.
    limit
        How many are shown: 1 to 10,000.
    before
        Go on after this one, the last of the page before.
    """
    async with here.chancy() as chancy:
        found = await Workflows(chancy).list(
            state=state, name=name, kind=kind, limit=limit, before=before
        )
    here.output.items([_document(one) for one in found], _COLUMNS, "no workflow")


@app.command
async def show(
    id_: UUID,
    /,
    *,
    state: str | None = None,
    limit: int = 100,
    after: int = 0,
    here: Here,
) -> None:
    """Show a workflow or a batch, with its steps.

    Parameters
    ----------
    state
        Only steps in this state, such as failed.
    limit
        How many steps are shown: 1 to 10,000.
    after
        Go on after the step of this number.
    """
    async with here.chancy() as chancy:
        workflows = Workflows(chancy)
        found = await workflows.get(id_)
        steps = await workflows.steps(id_, state=state, limit=limit, after=after)
    document = _document(found)
    if here.output.as_json:
        here.output.item(document | {"steps": [_step(step) for step in steps]})
        return
    here.output.item(document)
    here.output.items([_step(step) for step in steps], _STEPS, "no such step")


@app.command
async def pause(id_: UUID, /, *, here: Here) -> None:
    """Have nothing more of a workflow queued, until it is resumed."""
    async with here.chancy() as chancy:
        await Workflows(chancy).pause(id_)
        here.output.item(_document(await Workflows(chancy).get(id_)))


@app.command
async def resume(id_: UUID, /, *, here: Here) -> None:
    """End a pause."""
    async with here.chancy() as chancy:
        await Workflows(chancy).resume(id_)
        here.output.item(_document(await Workflows(chancy).get(id_)))


@app.command
async def retry(id_: UUID, /, *, here: Here) -> None:
    """Run the failed jobs of a workflow once more, and go on from there."""
    async with here.chancy() as chancy:
        again = await Workflows(chancy).retry(id_)
        found = _document(await Workflows(chancy).get(id_))
    here.output.item(found | {"retried": again})


@app.command
async def cancel(
    id_: UUID,
    /,
    *,
    yes: Annotated[bool, Parameter(negative=(), alias="-y")] = False,
    here: Here,
) -> None:
    """Cancel a workflow or a batch, with those of its jobs that are live.

    Parameters
    ----------
    yes
        Do not ask.
    """
    async with here.chancy() as chancy:
        workflows = Workflows(chancy)
        found = await workflows.get(id_)
        await ensure(f"Cancel {found.kind} {found.name!r}?", here.output, yes=yes)
        await workflows.cancel(id_)
        here.output.item(_document(await workflows.get(id_)))


@app.command
async def draw(
    id_: UUID,
    /,
    *,
    as_: Annotated[Literal["dot", "mermaid"], Parameter(name="--as")] = "dot",
    here: Here,
) -> None:
    """Print a picture of a workflow, for Graphviz or Mermaid.

    Parameters
    ----------
    as_
        In which language: `dot`, `mermaid`.
    """
    async with here.chancy() as chancy:
        workflows = Workflows(chancy)
        text = await (workflows.dot(id_) if as_ == "dot" else workflows.mermaid(id_))
    here.output.item({"id": id_, as_: text}, text)
