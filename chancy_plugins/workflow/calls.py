"""What applications ask of workflows and batches: `Workflows`."""

from collections.abc import Awaitable, Iterable
from typing import Any
from uuid import UUID

import anyio

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue, JobFailed
from chancy_core.host import Application
from chancy_plugins.workflow import picture, reading, record, statements
from chancy_plugins.workflow.batch import Batch, jobs_of
from chancy_plugins.workflow.errors import BatchOver, InvalidWorkflow, WorkflowNotFound
from chancy_plugins.workflow.flow import Given, Workflow
from chancy_plugins.workflow.going import Going, persist
from chancy_plugins.workflow.stored import STATES, Stored, StoredStep

#: Seconds between two looks of one who waits: the first, and the longest.
SHORTEST, LONGEST = 0.02, 1.0
#: A workflow, by what `push` answered, or by its text.
Named = UUID | str
#: Their names within a class that has a method `list`.
Steps = list[StoredStep]
Waits = list[tuple[str, str]]
Drawing = tuple[list[picture.Drawn], Waits]


def _id(given: Named) -> UUID:
    try:
        return given if isinstance(given, UUID) else UUID(given)
    except (ValueError, AttributeError, TypeError) as exc:
        raise InvalidValue(f"a workflow is named by its UUID, not by {shown(given)}") from exc


def _page(limit: int) -> int:
    if not isinstance(limit, int) or not 1 <= limit <= 10_000:
        raise InvalidValue(f"a page has 1 to 10,000 of them, not {shown(limit)}")
    return limit


class Workflows:
    """The workflows and batches of an application.

        workflows = Workflows(chancy)
        id_ = await workflows.push(flow)
        done = await workflows.wait(id_, timeout=60)

    Works inside `async with chancy`. Each call that names one raises `WorkflowNotFound` if there is
    none of this id.
    """

    def __init__(self, chancy: Application) -> None:
        self._app = chancy
        self._going = Going(chancy)

    async def push(self, flow: Workflow | Batch) -> UUID:
        """Store a workflow or a batch, and queue what waits for nothing; answers its id.

        All of it is committed together. Raises `InvalidWorkflow` and its kinds for what makes no
        sense, and `InvalidValue` for a job that cannot be stored.
        """
        made = self._record(flow)
        stored = await persist(lambda: self._run(statements.push(self._app.names, made)))
        await self._app.pushed(made.push, set(stored))
        return made.id

    def push_ex(self, conn: Any, flow: Workflow | Batch) -> Any:
        """Store a workflow or a batch in the caller's transaction; answers its id.

        On an asynchronous connection, or a cursor of one, that is awaited. Workers find its jobs
        by polling, once it is committed.
        """
        made = self._record(flow)
        ran = self._app.run_ex(conn, *statements.push(self._app.names, made))
        if not isinstance(ran, Awaitable):
            return made.id

        async def pushed() -> UUID:
            await ran
            return made.id

        return pushed()

    def _record(self, flow: Workflow | Batch) -> record.Record:
        if isinstance(flow, Workflow):
            return record.of_workflow(self._app, flow)
        if isinstance(flow, Batch):
            return record.of_batch(self._app, flow)
        raise InvalidWorkflow(f"push takes a Workflow or a Batch, not {shown(flow)}")

    async def _run(self, asked: list[Any]) -> list[UUID]:
        if len(asked) == 1:
            stored: list[UUID] = await self._app.database.run(asked[0])
            return stored
        several = await self._app.database.run(*asked)
        return [id_ for stored in several for id_ in stored or ()]

    async def add(self, id_: Named, jobs: Iterable[Given]) -> int:
        """Add jobs to a batch that has not ended; answers how many it has been given.

        Raises `BatchOver` if it takes no more, and `InvalidWorkflow` for what are no jobs.
        """
        flow = _id(id_)
        made = jobs_of(jobs, f"batch {flow}")
        push = record.members(self._app, flow, made)

        def check(found: tuple[str, str] | None) -> None:
            if found is None:
                raise _unknown(flow)
            if found[0] != "batch":
                raise InvalidWorkflow(f"{flow} is a workflow, whose steps were all pushed with it")
            if found[1] != "running":
                raise BatchOver(f"batch {flow} is {found[1]}, and takes no more jobs")

        names = self._app.names
        pieces = [statements.add(names, flow, one) for one in record.pieces(push, len(made))]
        held = statements.hold(names, flow, check)
        _, *stored = await self._app.database.run(held, *pieces)
        await self._app.pushed(push, {id_ for piece in stored for id_ in piece})
        return len(made)

    async def close(self, id_: Named) -> None:
        """Close a batch that was open: it ends when the jobs that it has by now have ended."""
        flow = _id(id_)
        known, gone = await self._app.database.run(*statements.close(self._app.names, flow))
        if not known:
            raise _unknown(flow)
        await self._going.follow(gone)

    async def get(self, id_: Named) -> Stored:
        """Return a workflow or a batch, with how many of its jobs are in which state."""
        flow = _id(id_)
        found = await self._app.database.run(reading.get(self._app.names, flow))
        if found is None:
            raise _unknown(flow)
        return found

    async def list(
        self,
        *,
        state: str | None = None,
        name: str | None = None,
        kind: str | None = None,
        limit: int = 100,
        before: Named | None = None,
    ) -> list[Stored]:
        """Return a page of workflows and batches, the newest first.

        Those in a *state*, of a *name*, or of a *kind* (`"workflow"`, `"batch"`). The next page
        comes *before* the id of the last of this one. Raises `InvalidValue`.
        """
        if state is not None and state not in STATES:
            raise InvalidValue(f"state must be one of {', '.join(STATES)}, not {shown(state)}")
        if kind not in {None, "workflow", "batch"}:
            raise InvalidValue(f"kind must be workflow or batch, not {shown(kind)}")
        wanted = reading.list_(
            self._app.names,
            state=state,
            name=name,
            kind=kind,
            limit=_page(limit),
            before=None if before is None else _id(before),
        )
        return await self._app.database.run(wanted)

    async def steps(
        self, id_: Named, *, state: str | None = None, limit: int = 1000, after: int = 0
    ) -> Steps:
        """Return a page of steps, in the order in which they were added.

        The next page comes *after* the number of the last of this one.
        """
        flow = _id(id_)
        wanted = reading.steps(self._app.names, flow, state=state, limit=_page(limit), after=after)
        found = await self._app.database.run(wanted)
        if not found:
            await self.get(flow)
        return found

    async def result(self, id_: Named, step: str) -> Any:
        """Return what the job of a step returned, as plain JSON data; of a group or a map, a list.

        Raises `LookupError` for an unknown step, and `JobFailed` for one that has not succeeded.
        """
        flow = _id(id_)
        found = await self._app.database.run(reading.result(self._app.names, flow, step))
        if found is None:
            await self.get(flow)
            raise LookupError(f"workflow {flow} has no step {step!r}")
        state, problem, value = found
        if state not in {"succeeded", "excused"}:
            raise JobFailed(
                f"step {step!r} of workflow {flow} is {state}" + (f": {problem}" if problem else "")
            )
        return value

    async def wait(self, id_: Named, *, timeout: float | None = None) -> Stored:
        """Return a workflow or a batch once it is completed, failed or cancelled.

        Raises `TimeoutError` after *timeout* seconds. It looks again and again, each second in the
        end; a failed one may yet go on, if its jobs are retried.
        """
        pause = SHORTEST
        with anyio.fail_after(timeout):
            while not (found := await persist(lambda: self.get(id_))).finished:
                await anyio.sleep(pause)
                pause = min(pause * 1.3, LONGEST)
        return found

    async def cancel(self, id_: Named) -> bool:
        """Cancel a workflow or a batch: what waits is never run, what is live is cancelled.

        Answers False if it has come to its end already.
        """
        flow = _id(id_)
        names, database = self._app.names, self._app.database
        if not await database.run(statements.cancel(names, flow)):
            await self.get(flow)
            return False
        after = 0
        while found := await database.run(statements.jobs(names, flow, ["queued"], after)):
            jobs = [job for _, job in found]
            await self._app.cancel_jobs(jobs)
            await self._going.look_again(jobs)
            after = found[-1][0]
        return True

    async def pause(self, id_: Named) -> None:
        """Have nothing more of a workflow queued, until it is resumed; what is live goes on."""
        flow = _id(id_)
        if not await self._app.database.run(statements.pause(self._app.names, flow)):
            raise _unknown(flow)

    async def resume(self, id_: Named) -> None:
        """End a pause: what has become ready is queued."""
        flow = _id(id_)
        if not await self._app.database.run(statements.resume(self._app.names, flow)):
            raise _unknown(flow)
        await self._going.go_on([flow])

    async def retry(self, id_: Named) -> int:
        """Run the failed and cancelled jobs of a workflow once more, and go on from there.

        Answers how many jobs are run again. What has succeeded is not. One that was cancelled goes
        on, too.
        """
        flow = _id(id_)
        await self.get(flow)
        names, database = self._app.names, self._app.database
        after, count = 0, 0
        while found := await database.run(
            statements.jobs(names, flow, ["failed", "cancelled"], after)
        ):
            answers = await self._app.retry_jobs([job for _, job in found])
            count += sum(answer.done for answer in answers)
            after = found[-1][0]
        gone = await database.run(statements.retry(names, flow))
        await self._going.follow(gone)
        return count

    async def dot(self, id_: Named) -> str:
        """Return a picture of a workflow, as Graphviz reads it; colours are states.

        Raises `InvalidValue` for one of more than 2,000 steps.
        """
        found = await self.get(id_)
        return picture.dot(found.name, *await self._drawn(found))

    async def mermaid(self, id_: Named) -> str:
        """Return a picture of a workflow, as Mermaid reads it; colours are states.

        Raises `InvalidValue` for one of more than 2,000 steps.
        """
        return picture.mermaid(*await self._drawn(await self.get(id_)))

    async def _drawn(self, found: Stored) -> Drawing:
        nodes, edges = await self._app.database.run(*reading.drawn(self._app.names, found.id))
        if len(nodes) > reading.DRAWN:
            raise InvalidValue(
                f"{found.kind} {found.name!r} has more than {reading.DRAWN:,} steps: nobody "
                "would see anything in its picture"
            )
        waits = [(nodes[step][0].name, nodes[dependent][0].name) for step, dependent in edges]
        waits += [
            (drawn.name, nodes[parent][0].name)
            for drawn, parent in nodes.values()
            if parent is not None
        ]
        return [drawn for drawn, _ in nodes.values()], waits


def _unknown(id_: UUID) -> WorkflowNotFound:
    return WorkflowNotFound(f"no workflow, and no batch, is {id_}")
