"""Batches: jobs that are watched together, and what is run when all of them have ended."""

from typing import Any

import pytest

from chancy import INJECTED, Chancy, QueuedJob, State, job
from chancy_core.testing import drain
from chancy_plugins.workflow import Batch, BatchOver, InvalidWorkflow, Workflow, Workflows
from chancy_plugins.workflow import batch as batches
from tests.plugins.workflow.flows import failing, give

pytestmark = pytest.mark.anyio


@job(name="batches.then", queue="q")
async def then(*, me: QueuedJob = INJECTED) -> Any:
    return me.meta["workflow"]


def told(ran: Any) -> list[dict[str, Any]]:
    return [one.returned for one in ran if one.func == "batches.then"]


async def test_what_follows_is_run_once_all_have_ended(chancy_app: Chancy, workflows: Workflows):
    failing.add("b")
    jobs = [give.bind(name=name) for name in "abc"]
    id_ = await workflows.push(Batch("import", jobs, then=then.bind(), on_failure=then))
    before = await workflows.get(id_)
    assert (before.kind, before.state, before.total, before.remaining) == ("batch", "running", 3, 3)
    ran = await drain(chancy_app)
    done = await workflows.get(id_)
    assert (done.state, done.succeeded, done.failed, done.remaining) == ("failed", 2, 1, 0)
    early, late = told(ran)
    assert (early["event"], early["failed_step"], early["state"]) == ("failed", "2", "running")
    assert (late["event"], late["state"]) == ("ended", "failed")
    assert [late[key] for key in ("total", "succeeded", "failed", "cancelled")] == [3, 2, 1, 0]
    assert [step.problem for step in await workflows.steps(id_, state="failed")] == [
        "RuntimeError: b fails"
    ]


async def test_one_that_is_retried_completes_it_and_nothing_is_told_twice(
    chancy_app: Chancy, workflows: Workflows
):
    failing.add("b")
    jobs = [give.bind(name=name) for name in "ab"]
    id_ = await workflows.push(Batch("import", jobs, then=then, on_failure=then))
    ran = await drain(chancy_app)
    assert len(told(ran)) == 2
    failing.clear()
    assert await workflows.retry(id_) == 1
    again = await drain(chancy_app)
    assert told(again) == []
    assert (await workflows.get(id_)).state == "completed"


async def test_more_are_added_while_it_is_open(chancy_app: Chancy, workflows: Workflows):
    id_ = await workflows.push(Batch("open", then=then, open=True))
    assert (await workflows.get(id_)).open
    assert await workflows.add(id_, [give, give.bind(value=1)]) == 2
    assert told(await drain(chancy_app)) == []
    assert await workflows.add(id_, (give.bind(value=n) for n in range(3))) == 3
    await workflows.close(id_)
    (said,) = told(await drain(chancy_app))
    assert (said["total"], said["succeeded"]) == (5, 5)
    with pytest.raises(BatchOver, match="is completed, and takes no more jobs"):
        await workflows.add(id_, [give])


async def test_one_that_is_closed_when_all_have_ended_ends(
    chancy_app: Chancy, workflows: Workflows
):
    id_ = await workflows.push(Batch("open", [give], then=then, open=True))
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "running"
    for _ in range(2):
        await workflows.close(id_)
    assert (await workflows.get(id_)).state == "completed"
    assert len(told(await drain(chancy_app))) == 1


async def test_a_job_of_a_batch_adds_others(chancy_app: Chancy, workflows: Workflows):
    """As long as one of its jobs runs, it has not ended."""

    @job(name=f"batches.more{id(chancy_app)}", queue="q")
    async def more(*, me: QueuedJob = INJECTED) -> None:
        await workflows.add(me.meta["workflow"]["id"], [give.bind(value=1)])

    await workflows.push(Batch("growing", [more], then=then))
    (said,) = told(await drain(chancy_app))
    assert said["total"] == 2


async def test_it_is_cancelled_and_nothing_follows(chancy_app: Chancy, workflows: Workflows):
    id_ = await workflows.push(Batch("import", [give, give], then=then, on_failure=then))
    assert await workflows.cancel(id_)
    assert len(await drain(chancy_app)) == 0
    gone = await workflows.get(id_)
    assert (gone.state, gone.cancelled) == ("cancelled", 2)


async def test_jobs_whose_key_is_held_wait(chancy_app: Chancy, workflows: Workflows):
    jobs = [give.bind(value=n).options(unique_key="k") for n in range(3)]
    id_ = await workflows.push(Batch("keys", jobs))
    ran = await drain(chancy_app)
    assert [one.returned for one in ran] == [0, 1, 2]
    assert (await workflows.get(id_)).state == "completed"


async def test_many_go_in_pieces_and_in_one_transaction(
    chancy_app: Chancy, workflows: Workflows, monkeypatch: pytest.MonkeyPatch
):
    from chancy_plugins.workflow import record

    monkeypatch.setattr(record, "PIECE", 10)
    id_ = await workflows.push(Batch("many", (give.bind(value=n) for n in range(35)), then=then))
    found = await workflows.get(id_)
    assert (found.total, found.queued) == (35, 35)
    ran = await drain(chancy_app)
    assert [one.returned for one in ran][:35] == list(range(35))
    assert [step.name for step in await workflows.steps(id_)] == [str(n + 1) for n in range(35)]
    assert len(told(ran)) == 1


async def test_what_it_is_not_is_refused(workflows: Workflows, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InvalidWorkflow, match="has no jobs, and is not open for any"):
        Batch("empty")
    with pytest.raises(InvalidWorkflow, match="give several jobs, not"):
        Batch("one", give)  # type: ignore[arg-type]
    with pytest.raises(InvalidWorkflow, match=r"give a job, such as my_job\.bind"):
        Batch("odd", ["give"])  # type: ignore[list-item]
    with pytest.raises(InvalidWorkflow, match="it must have 1 to 200 bytes"):
        Batch("", [give])
    monkeypatch.setattr(batches, "MOST", 2)
    with pytest.raises(InvalidWorkflow, match="3 jobs, where 2 are taken at a time"):
        Batch("many", [give] * 3)
    flow = Workflow("flow")
    flow.add("a", give)
    id_ = await workflows.push(flow)
    with pytest.raises(InvalidWorkflow, match="whose steps were all pushed with it"):
        await workflows.add(id_, [give])


async def test_a_batch_of_nothing_but_failures(chancy_app: Chancy, workflows: Workflows):
    failing.add("a")
    await workflows.push(Batch("bad", [give.bind(name="a")] * 3, on_failure=then))
    ran = await drain(chancy_app)
    assert ran.counts[State.FAILED] == 3
    assert len(told(ran)) == 1
