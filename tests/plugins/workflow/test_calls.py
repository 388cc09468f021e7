"""Workflows that are pushed, run, and looked at; and what is made of their failures."""

import json
import re
from typing import Any
from uuid import UUID, uuid4

import anyio
import psycopg
import pytest

from chancy import INJECTED, Chancy, Job, QueuedJob, State, job
from chancy_core.errors import InvalidValue, JobFailed
from chancy_core.testing import drain
from chancy_plugins.workflow import Sequence, Workflow, WorkflowNotFound, Workflows
from chancy_plugins.workflow.sweep import Sweeper
from tests.plugins.workflow.flows import add, failing, give, total

pytestmark = pytest.mark.anyio


@job(name="flows.told", queue="q")
async def told(*, me: QueuedJob = INJECTED) -> Any:
    return me.meta["workflow"]


def diamond(**options: Any) -> Workflow:
    """One step, two that wait for it, and one that waits for both."""
    flow = Workflow("diamond", **options)
    flow.add("a", give.bind(value=1, name="a"))
    flow.add("b", give.bind(value=2, name="b"), after="a")
    flow.add("c", give.bind(value=3, name="c"), after=["a"])
    flow.add("d", add.bind(left=flow["b"].result, right=flow["c"].result))
    return flow


async def states(workflows: Workflows, id_: UUID) -> dict[str, str]:
    return {step.name: step.state for step in await workflows.steps(id_)}


async def test_results_are_handed_on(chancy_app: Chancy, workflows: Workflows):
    flow = Workflow("sum")
    a, b = flow.add("a", give.bind(value=1)), flow.add("b", give.bind(value=2))
    both = flow.add("both", add.bind(left=a.result, right=b.result))
    flow.add("again", total.bind(parts=[both.result, a.result]))
    id_ = await workflows.push(flow)
    before = await workflows.get(id_)
    assert (before.state, before.total, before.queued, before.waiting) == ("running", 4, 2, 2)
    ran = await drain(chancy_app)
    assert [job.meta["workflow"]["step"] for job in ran] == ["a", "b", "both", "again"]
    done = await workflows.get(id_)
    assert (done.state, done.succeeded, done.queued, done.progress) == ("completed", 4, 0, 1.0)
    assert await workflows.result(id_, "again") == 4


async def test_its_jobs_may_be_purged_meanwhile(chancy_app: Chancy, workflows: Workflows):
    """W20: a workflow stayed running for ever once a succeeded step's job was gone."""
    id_ = await workflows.push(diamond())
    ran = await drain(chancy_app, limit=10)
    again = await workflows.push(diamond())
    assert len(ran) == 4
    for _ in range(4):
        live = [one.id for one in (await chancy_app.list_jobs()).jobs if not one.state.finished]
        await drain(chancy_app)
        await chancy_app.purge_jobs(live)
    assert (await workflows.get(again)).state == "completed"
    await chancy_app.purge_jobs([one.id for one in ran])
    assert await workflows.result(id_, "d") == await workflows.result(again, "d") == 5


async def test_a_group_is_over_when_all_of_it_is(chancy_app: Chancy, workflows: Workflows):
    flow = Workflow("pages")
    pages = flow.group("pages", [give.bind(value=n) for n in range(3)])
    named = flow.group("named", {"left": give.bind(value=5), "right": give}, after=pages)
    flow.add("total", total.bind(parts=pages.result), after=named)
    id_ = await workflows.push(flow)
    ran = await drain(chancy_app)
    steps = [job.meta["workflow"]["step"] for job in ran]
    assert steps == ["pages[0]", "pages[1]", "pages[2]", "left", "right", "total"]
    assert await workflows.result(id_, "total") == 3
    assert await workflows.result(id_, "named") == [5, None]
    assert (await workflows.get(id_)).total == 6


async def test_a_map_makes_a_job_of_each_element(chancy_app: Chancy, workflows: Workflows):
    flow = Workflow("map")
    listed = flow.add("list", give.bind(value=[1, 2, 3]))
    mapped = flow.map("each", add.bind(left=listed.each, right=10))
    twice = flow.map("twice", add.bind(left=mapped.each, right=listed.result))
    del flow["twice"]
    assert twice.name not in flow
    flow.add("total", total.bind(parts=mapped.result))
    id_ = await workflows.push(flow)
    await drain(chancy_app)
    done = await workflows.get(id_)
    assert (done.state, done.total) == ("completed", 5)
    assert await workflows.result(id_, "each") == [11, 12, 13]
    assert await workflows.result(id_, "each[1]") == 12
    assert await workflows.result(id_, "total") == 36


async def test_a_map_over_nothing_is_over(chancy_app: Chancy, workflows: Workflows):
    flow = Workflow("map")
    listed = flow.add("list", give.bind(value=[]))
    first = flow.map("first", add.bind(left=listed.each, right=1))
    second = flow.map("second", add.bind(left=first.each, right=1))
    flow.add("total", total.bind(parts=second.result))
    id_ = await workflows.push(flow)
    assert len(await drain(chancy_app)) == 2
    assert await workflows.result(id_, "total") == 0


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "the result of list must be a list, and is a number"),
        (None, "the result of list must be a list, and is null"),
        ({"a": 1}, "the result of list must be a list, and is an object"),
        (list(range(10_001)), "the result of list has 10001 elements, where a map takes 10,000"),
    ],
)
async def test_what_is_no_list_fails_the_map(
    chancy_app: Chancy, workflows: Workflows, value: object, said: str
):
    flow = Workflow("map", on_failure=told)
    listed = flow.add("list", give.bind(value=value))
    flow.map("each", add.bind(left=listed.each, right=1))
    id_ = await workflows.push(flow)
    ran = await drain(chancy_app)
    assert (await workflows.get(id_)).state == "failed"
    (step,) = await workflows.steps(id_, state="failed")
    assert (step.name, step.problem) == ("each", said)
    assert list(ran)[-1].returned["failed_step"] == "each"


@pytest.mark.slow
async def test_a_long_list_is_queued_in_more_than_one_transaction(
    chancy_app: Chancy, workflows: Workflows
):
    flow = Workflow("long")
    listed = flow.add("list", give.bind(value=list(range(1200))))
    flow.map("each", add.bind(left=listed.each, right=1))
    id_ = await workflows.push(flow)
    await drain(chancy_app, limit=1201)
    assert (await workflows.get(id_)).succeeded == 1201


async def test_a_failed_step_stops_what_comes_after(chancy_app: Chancy, workflows: Workflows):
    failing.add("b")
    id_ = await workflows.push(diamond(on_failure=told))
    ran = await drain(chancy_app)
    failed = await workflows.get(id_)
    assert (failed.state, failed.failed, failed.succeeded, failed.waiting) == ("failed", 1, 2, 1)
    assert failed.finished_at is not None
    assert await states(workflows, id_) == {
        "a": "succeeded",
        "b": "failed",
        "c": "succeeded",
        "d": "waiting",
    }
    (step,) = await workflows.steps(id_, state="failed")
    assert step.problem == "RuntimeError: b fails"
    with pytest.raises(
        JobFailed, match=r"step 'b' of workflow .* is failed: RuntimeError: b fails"
    ):
        await workflows.result(id_, "b")
    (said,) = (one.returned for one in ran if one.func == "flows.told")
    assert {key: said[key] for key in ("id", "name", "event", "failed_step", "problem")} == {
        "id": str(id_),
        "name": "diamond",
        "event": "failed",
        "failed_step": "b",
        "problem": "RuntimeError: b fails",
    }


async def test_it_goes_on_when_its_job_is_retried(chancy_app: Chancy, workflows: Workflows):
    """W20: a failed workflow could not be resumed."""
    failing.update("bc")
    id_ = await workflows.push(diamond())
    ran = await drain(chancy_app)
    failed = [one.id for one in ran if one.state is State.FAILED]
    failing.clear()
    await chancy_app.retry_jobs(failed[:1])
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "failed"  # the other is not mended
    await chancy_app.retry_jobs(failed[1:])
    await drain(chancy_app)
    done = await workflows.get(id_)
    assert (done.state, done.failed, done.succeeded) == ("completed", 0, 4)
    assert await workflows.result(id_, "d") == 5


async def test_retry_runs_all_that_failed(chancy_app: Chancy, workflows: Workflows):
    failing.update("bc")
    id_ = await workflows.push(diamond())
    await drain(chancy_app)
    failing.clear()
    assert await workflows.retry(id_) == 2
    again = await workflows.get(id_)
    assert (again.state, again.failed, again.queued, again.finished_at) == ("running", 0, 2, None)
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "completed"


async def test_retry_pushes_again_what_is_gone(chancy_app: Chancy, workflows: Workflows):
    failing.add("b")
    id_ = await workflows.push(diamond())
    ran = await drain(chancy_app)
    await chancy_app.purge_jobs([one.id for one in ran])
    failing.clear()
    assert await workflows.retry(id_) == 0
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "completed"


async def test_a_step_may_be_allowed_to_fail(chancy_app: Chancy, workflows: Workflows):
    failing.update(["x", "y"])
    flow = Workflow("lenient")
    x = flow.add("x", give.bind(value=1, name="x"), allow_failure=True)
    y = flow.group("y", [give.bind(value=3), give.bind(name="y")], allow_failure=True)
    flow.add("total", total.bind(parts=[x.result]), after=y)
    flow.add("of_group", total.bind(parts=y.result))
    id_ = await workflows.push(flow)
    await drain(chancy_app)
    done = await workflows.get(id_)
    assert (done.state, done.excused, done.succeeded) == ("completed", 2, 3)
    assert [await workflows.result(id_, name) for name in ("total", "of_group", "x")] == [
        0,
        3,
        None,
    ]


async def test_cancelling_ends_what_is_live_and_runs_nothing_more(
    chancy_app: Chancy, workflows: Workflows
):
    id_ = await workflows.push(diamond(on_failure=told))
    assert await workflows.cancel(id_)
    assert not await workflows.cancel(id_)
    assert len(await drain(chancy_app)) == 0
    gone = await workflows.get(id_)
    assert (gone.state, gone.cancelled, gone.queued, gone.waiting) == ("cancelled", 1, 0, 3)
    assert await workflows.retry(id_) == 1  # and yet it can be taken up again
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "completed"


async def test_a_pause_queues_nothing(chancy_app: Chancy, workflows: Workflows):
    id_ = await workflows.push(diamond())
    await workflows.pause(id_)
    assert len(await drain(chancy_app)) == 1
    paused = await workflows.get(id_)
    assert (paused.state, paused.waiting, paused.queued) == ("paused", 3, 0)
    assert [one.id for one in await workflows.list(state="paused")] == [id_]
    assert await workflows.list(state="running") == []
    await workflows.resume(id_)
    assert (await workflows.get(id_)).queued == 2
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "completed"


async def test_steps_with_one_key_run_one_after_the_other(chancy_app: Chancy, workflows: Workflows):
    """W20: steps that shared a unique key shared a job."""
    flow = Workflow("keys")
    for n in range(3):
        flow.add(f"s{n}", give.bind(value=n).options(unique_key="one"))
    id_ = await workflows.push(flow)
    assert sorted((await states(workflows, id_)).values()) == ["queued", "ready", "ready"]
    ran = await drain(chancy_app)
    assert [one.returned for one in ran] == [0, 1, 2]
    assert len({one.id for one in ran}) == 3
    assert (await workflows.get(id_)).state == "completed"


async def test_a_key_that_a_stranger_holds_is_waited_for(chancy_app: Chancy, workflows: Workflows):
    held = await chancy_app.push(give.bind(value=9).options(unique_key="k"))
    flow = Workflow("keys")
    flow.add("s", give.bind(value=1).options(unique_key="k"))
    id_ = await workflows.push(flow)
    assert await states(workflows, id_) == {"s": "ready"}
    assert [one.id for one in await drain(chancy_app)] == [held.id]
    await Sweeper(chancy_app).turn()
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "completed"


async def test_a_sequence_runs_in_its_order(chancy_app: Chancy, workflows: Workflows):
    flow = Sequence("three", [give.bind(value=n) for n in range(2)])
    flow.append(give.bind(value=2))
    id_ = await workflows.push(flow)
    assert [one.state for one in await workflows.steps(id_)] == ["queued", "waiting", "waiting"]
    assert [one.returned for one in await drain(chancy_app)] == [0, 1, 2]
    assert (await workflows.get(id_)).state == "completed"
    assert [step.name for step in flow] == ["step_0", "step_1", "step_2"]


async def test_who_waits_is_answered_when_it_is_over(chancy_app: Chancy, workflows: Workflows):
    id_ = await workflows.push(diamond())
    with pytest.raises(TimeoutError):
        await workflows.wait(id_, timeout=0.1)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain, chancy_app)
        done = await workflows.wait(id_, timeout=30)
    assert (done.state, done.finished) == ("completed", True)


async def test_it_is_pushed_with_the_callers_own_rows(chancy_app: Chancy, workflows: Workflows):
    async with chancy_app.store.pool.connection() as conn:
        async with conn.transaction(force_rollback=True):
            gone = await workflows.push_ex(conn, diamond())
        async with conn.transaction():
            id_ = await workflows.push_ex(conn, diamond())
    with pytest.raises(WorkflowNotFound, match=f"no workflow, and no batch, is {gone}"):
        await workflows.get(gone)
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "completed"


def test_it_is_pushed_by_threads(chancy_app: Chancy):
    with chancy_app, psycopg.connect(chancy_app._address()) as conn:
        id_ = Workflows(chancy_app).push_ex(conn.cursor(), diamond())
        found = conn.execute("SELECT total, queued FROM chancy_workflows WHERE id = %s", [id_])
        assert found.fetchall() == [(4, 1)]


async def test_pages_of_workflows_and_steps(workflows: Workflows):
    ids = [await workflows.push(diamond()) for _ in range(3)]
    first = await workflows.list(limit=2)
    assert [one.id for one in first] == ids[:0:-1]
    assert [one.id for one in await workflows.list(before=first[-1].id)] == ids[:1]
    assert await workflows.list(name="other") == await workflows.list(kind="batch") == []
    steps = await workflows.steps(ids[0], limit=3)
    rest = await workflows.steps(str(ids[0]), after=steps[-1].number)
    assert [step.name for step in [*steps, *rest]] == ["a", "b", "c", "d"]
    assert await workflows.steps(ids[0], state="failed") == []


async def test_nonsense_is_refused(workflows: Workflows):
    with pytest.raises(InvalidValue, match="state must be one of running, paused"):
        await workflows.list(state="odd")
    with pytest.raises(InvalidValue, match="kind must be workflow or batch"):
        await workflows.list(kind="odd")
    with pytest.raises(InvalidValue, match="a page has 1 to 10,000"):
        await workflows.list(limit=0)
    with pytest.raises(InvalidValue, match="named by its UUID, not by 'odd'"):
        await workflows.get("odd")
    with pytest.raises(InvalidValue, match="push takes a Workflow or a Batch"):
        await workflows.push(give)  # type: ignore[arg-type]
    id_ = await workflows.push(diamond())
    with pytest.raises(LookupError, match="has no step 'z'"):
        await workflows.result(id_, "z")


@pytest.mark.parametrize("call", ["get", "wait", "cancel", "pause", "resume", "retry", "close"])
async def test_what_is_not_there_is_not_found(workflows: Workflows, call: str):
    with pytest.raises(WorkflowNotFound):
        await getattr(workflows, call)(uuid4())


async def test_its_picture_has_its_states(chancy_app: Chancy, workflows: Workflows):
    flow = Workflow('a "b"')
    listed = flow.add('say "hi"\\', give.bind(value=[1]))
    flow.map("m", add.bind(left=listed.each, right=1))
    id_ = await workflows.push(flow)
    await drain(chancy_app)
    dot = await workflows.dot(id_)
    assert dot.startswith('digraph "a \\"b\\"" {')
    assert '"say \\"hi\\"\\\\" -> "m";' in dot
    assert '"m[0]" -> "m";' in dot
    assert dot.count('tooltip="succeeded"') == 3
    mermaid = await workflows.mermaid(id_)
    assert 's0["say #34;hi#34;#92;"]' in mermaid
    assert re.search(r"class s0,s1,s2 succeeded", mermaid)


async def test_a_push_that_is_repeated_changes_nothing(
    chancy_app: Chancy, workflows: Workflows, monkeypatch: pytest.MonkeyPatch
):
    """Its answer was lost: it may have been committed, or not."""
    run, calls = type(chancy_app.store).run, []

    async def lossy(store: object, *statements: object) -> object:
        answer = await run(store, *statements)  # type: ignore[arg-type]
        calls.append(answer)
        if len(calls) == 1:
            raise psycopg.OperationalError("the connection is lost")
        return answer

    monkeypatch.setattr(type(chancy_app.store), "run", lossy)
    id_ = await workflows.push(diamond())
    monkeypatch.undo()
    assert calls[0] == calls[1]
    assert [one.id for one in await workflows.list()] == [id_]
    assert len(await drain(chancy_app)) == 4


async def test_what_a_person_wrote_does_not_hinder_others(
    chancy_app: Chancy, workflows: Workflows, caplog: pytest.LogCaptureFixture
):
    """One whose rows make no sense is told of once, and has failed; the others go on."""
    broken, sound = [await workflows.push(diamond()) for _ in range(2)]
    async with chancy_app.store.pool.connection() as conn:
        await conn.execute(
            "UPDATE chancy_workflow_steps SET packed = packed || %s::jsonb "
            "WHERE workflow = %s AND name = 'b'",
            [json.dumps({"priority": "high"}), broken],
        )
    await drain(chancy_app)
    sweeper = Sweeper(chancy_app)
    for _ in range(2):
        await sweeper.turn()
        await drain(chancy_app)
    assert (await workflows.get(sound)).state == "completed"
    wrong = await workflows.get(broken)
    assert wrong.state == "failed"
    assert "high" in (wrong.problem or "")
    said = [one for one in caplog.records if one.name == "chancy.workflow"]
    assert len(said) == 1


async def test_meta_that_means_something_else_is_no_step(chancy_app: Chancy):
    for meta in ({"workflow": 7}, {"workflow": {"id": "odd", "step": None}}):
        await chancy_app.push(Job("flows.give", queue="q", meta=meta))
    assert (await drain(chancy_app)).counts == {State.SUCCEEDED: 2}
