"""What workers do for workflows: at once in the settling transaction, and later what was left."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import anyio
import pytest
from attrs import evolve

from chancy import INJECTED, Chancy, Queue, QueuedJob, State, Worker, job
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.statement import Names, Statement
from chancy_core.testing import drain
from chancy_plugins import trouble
from chancy_plugins.workflow import (
    Batch,
    Workflow,
    Workflows,
    hooks,
    left,
    reading,
    statements,
    sweep,
)
from chancy_plugins.workflow.going import Going
from chancy_plugins.workflow.sweep import Sweeper
from tests.plugins.workflow.flows import add, give, total
from tests.pooled import past
from tests.roles import EVERY, granted

pytestmark = pytest.mark.anyio


def two() -> Workflow:
    flow = Workflow("two")
    a = flow.add("a", give.bind(value=1))
    flow.add("b", add.bind(left=a.result, right=1))
    return flow


@asynccontextmanager
async def working(chancy: Chancy) -> AsyncIterator[Worker]:
    await chancy.declare(Queue("q", executor="async"))
    async with Worker(chancy, signals=False) as worker:
        yield worker


def raising(text: str) -> Any:
    def made(names: object, *_: object, **__: object) -> Statement[Any]:
        return Statement(b"DO $$ BEGIN RAISE " + text.encode() + b"; END $$", {}, list)

    return made


async def test_a_worker_runs_it_at_once(chancy_app: Chancy, workflows: Workflows, monkeypatch):
    """Neither a poll nor a sweep is waited for."""
    monkeypatch.setattr(sweep, "SOON", 3600.0)
    await chancy_app.declare(Queue("q", executor="async", polling_interval=600))
    flow = Workflow("chain")
    last = flow.add("s0", give.bind(value=1))
    for n in range(1, 20):
        last = flow.add(f"s{n}", add.bind(left=last.result, right=1))
    async with Worker(chancy_app, signals=False):
        await anyio.sleep(0.5)  # it listens
        id_ = await workflows.push(flow)
        assert (await workflows.wait(id_, timeout=60)).state == "completed"
    assert await workflows.result(id_, "s19") == 20


async def test_what_could_not_be_recorded_at_once_is_after_the_commit(
    chancy_app: Chancy, workflows: Workflows, monkeypatch, caplog
):
    """The statement was rolled back, alone: the outcome of the job is not lost with it."""
    monkeypatch.setattr(sweep, "SOON", 3600.0)
    monkeypatch.setattr(statements, "settle", raising("division_by_zero"))
    async with working(chancy_app):
        id_ = await workflows.push(two())
        assert (await workflows.wait(id_, timeout=60)).state == "completed"
    assert "chancy_settling" in caplog.text


async def test_the_sweep_finds_what_a_crash_left(
    chancy_app: Chancy, workflows: Workflows, monkeypatch
):
    """Neither in the transaction nor after it was anything recorded."""
    monkeypatch.setattr(hooks, "_is_step", lambda _: False)
    id_ = await workflows.push(two())
    assert len(await drain(chancy_app)) == 1
    assert (await workflows.get(id_)).queued == 1
    await Sweeper(chancy_app).turn()
    assert (await workflows.get(id_)).succeeded == 1
    await drain(chancy_app)
    await Sweeper(chancy_app).turn()
    assert (await workflows.get(id_)).state == "completed"


async def test_a_worker_sweeps_soon_after_its_start(
    chancy_app: Chancy, workflows: Workflows, monkeypatch
):
    monkeypatch.setattr(hooks, "_is_step", lambda _: False)
    monkeypatch.setattr(sweep, "SOON", 0.1)
    monkeypatch.setattr(sweep, "CALM", 0.1)
    id_ = await workflows.push(two())
    async with working(chancy_app):
        assert (await workflows.wait(id_, timeout=60)).state == "completed"


async def test_jobs_that_are_cancelled_or_purged_behind_its_back(
    chancy_app: Chancy, workflows: Workflows
):
    cancelled, purged = await workflows.push(two()), await workflows.push(two())
    jobs = {id_: next(one.job for one in await workflows.steps(id_)) for id_ in (cancelled, purged)}
    await chancy_app.cancel_jobs([jobs[cancelled]])
    await chancy_app.purge_jobs([jobs[purged]])
    await Sweeper(chancy_app).turn()
    found = [await workflows.get(id_) for id_ in (cancelled, purged)]
    assert [(one.state, one.cancelled, one.failed) for one in found] == [
        ("failed", 1, 0),
        ("failed", 0, 1),
    ]
    (step,) = await workflows.steps(purged, state="failed")
    assert step.problem == "its job is gone: somebody has purged it"
    (step,) = await workflows.steps(cancelled, state="cancelled")
    assert step.problem == "its job is cancelled"


async def test_jobs_that_settle_themselves(chancy_app: Chancy, workflows: Workflows, monkeypatch):
    """By `complete_ex`: of which no plugin is told."""

    @job(name=f"sweep.own{id(chancy_app)}", queue="q")
    async def own(*, me: QueuedJob = INJECTED) -> int:
        async with chancy_app.store.pool.connection() as conn:
            await chancy_app.complete_ex(conn, me, 7)
        return 8

    flow = Workflow("own")
    a = flow.add("a", own)
    flow.add("b", add.bind(left=a.result, right=1))
    id_ = await workflows.push(flow)
    with monkeypatch.context() as untold:
        untold.setattr(hooks, "_is_step", lambda _: False)
        await drain(chancy_app)
    assert (await workflows.get(id_)).succeeded == 0
    await Sweeper(chancy_app).turn()
    await drain(chancy_app)
    assert await workflows.result(id_, "b") == 8


async def test_a_retried_job_that_settles_itself(
    chancy_app: Chancy, workflows: Workflows, monkeypatch
):
    """The step has failed: it is looked at all the same."""
    ran: list[int] = []

    @job(name=f"sweep.second{id(chancy_app)}", queue="q")
    async def second(*, me: QueuedJob = INJECTED) -> int:
        ran.append(1)
        if len(ran) == 1:
            raise RuntimeError("not yet")
        async with chancy_app.store.pool.connection() as conn:
            await chancy_app.complete_ex(conn, me, 7)
        return 8

    flow = Workflow("own")
    a = flow.add("a", second)
    flow.add("b", add.bind(left=a.result, right=1))
    id_ = await workflows.push(flow)
    (failed,) = await drain(chancy_app)
    await chancy_app.retry_jobs([failed.id])
    with monkeypatch.context() as untold:
        untold.setattr(hooks, "_is_step", lambda _: False)
        await drain(chancy_app)
    assert (await workflows.get(id_)).state == "failed"
    await Sweeper(chancy_app).turn()
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "completed"


async def test_what_follows_is_in_the_transaction_that_settles(
    chancy_app: Chancy, workflows: Workflows, monkeypatch
):
    """A worker that dies right after its commit has left nothing to be done."""

    async def dead(*_: object) -> None:
        return

    for name in ("follow", "look_again", "go_on"):
        monkeypatch.setattr(Going, name, dead)
    flow = Workflow("three")
    listed = flow.add("list", give.bind(value=[1, 2]))
    mapped = flow.map("each", add.bind(left=listed.each, right=1))
    flow.add("total", total.bind(parts=mapped.result))
    id_ = await workflows.push(flow)
    await drain(chancy_app)
    assert (await workflows.get(id_)).state == "completed"


async def test_the_sweep_goes_on_page_after_page(
    chancy_app: Chancy, workflows: Workflows, monkeypatch
):
    monkeypatch.setattr(hooks, "_is_step", lambda _: False)
    monkeypatch.setattr(left, "PAGE", 3)
    monkeypatch.setattr(left, "FLOWS", 2)
    ids = [await workflows.push(two()) for _ in range(8)]
    await drain(chancy_app)
    sweeper = Sweeper(chancy_app)
    for _ in range(4):
        await sweeper.turn()
        await drain(chancy_app)
    assert {(await workflows.get(id_)).state for id_ in ids} == {"completed"}


async def test_what_a_finished_job_does_again_changes_nothing(
    chancy_app: Chancy, workflows: Workflows
):
    id_ = await workflows.push(two())
    ran = list(await drain(chancy_app))
    before = [await workflows.get(id_), await workflows.steps(id_)]
    await Going(chancy_app).look_again([one.id for one in ran])
    await chancy_app.retry_jobs([ran[0].id])  # by hand: it is recorded already
    await drain(chancy_app)
    assert [await workflows.get(id_), await workflows.steps(id_)] == before


async def test_what_ended_long_ago_is_forgotten(
    chancy_app: Chancy, workflows: Workflows, chancy_clock, monkeypatch
):
    monkeypatch.setenv(sweep.KEEP, "2")
    ended, live = await workflows.push(two()), await workflows.push(two())
    await workflows.pause(live)
    await drain(chancy_app)
    batch = await workflows.push(Batch("b", [give, give]))
    sweeper = Sweeper(chancy_app)
    chancy_clock.advance(days=1)
    await sweeper._forget()
    assert len(await workflows.list()) == 3
    chancy_clock.advance(days=2)
    await sweeper._forget()
    assert [one.id for one in await workflows.list()] == [batch, live]
    count = "SELECT count(*) FROM {workflow_steps} WHERE workflow = %(id)s"
    for table in ("workflow_steps", "workflow_edges"):
        text = count.replace("workflow_steps", table)
        asked = Statement.written(text, chancy_app.names, {"id": ended}, lambda rows: rows[0][0])
        assert await chancy_app.database.run(asked) == 0


@pytest.mark.parametrize(("given", "kept"), [("", 30), ("0.5", 0.5), ("soon", 30), ("-1", 30)])
def test_for_how_long_they_are_kept(given: str, kept: float, monkeypatch, caplog):
    monkeypatch.setenv(sweep.KEEP, given)
    assert sweep.kept() == kept * 86_400
    assert ("must be a number of days" in caplog.text) == (given in {"soon", "-1"})


async def test_without_its_tables_it_says_so_and_the_worker_goes_on(
    chancy_app: Chancy, monkeypatch, caplog
):
    for name in ("SOON", "CALM"):
        monkeypatch.setattr(sweep, name, 0.1)
    monkeypatch.setattr(trouble, "LASTING", 0.1)
    caplog.set_level(logging.INFO, "chancy.workflow")
    async with working(chancy_app):
        await chancy_app.migrate(to={"workflow": 0})
        with anyio.fail_after(15):
            while "run `chancy migrate`" not in caplog.text:
                await anyio.sleep(0.02)
        marked = give.bind(value=3).options(meta={"workflow": {}})
        done = await chancy_app.wait_for_job(await chancy_app.push(marked), timeout=20)
        assert done.result() == 3
        said = [
            one
            for one in caplog.records
            if "looking after workflows fails on this worker" in one.getMessage()
        ]
        assert [one.levelname for one in said] == ["ERROR"]
        await chancy_app.migrate()
        with anyio.fail_after(15):
            while "looking after workflows works again" not in caplog.text:
                await anyio.sleep(0.02)


async def test_connections_that_are_cut_are_outlived(
    chancy_app: Chancy, workflows: Workflows, chancy_dsn: str, monkeypatch
):
    monkeypatch.setattr(sweep, "CALM", 0.2)
    monkeypatch.setattr(sweep, "SOON", 0.1)
    cut = Statement(
        b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        b"WHERE datname = current_database() AND pid <> pg_backend_pid()",
        {},
        list,
    )
    flow = Workflow("chain")
    last = flow.add("s0", give.bind(value=1))
    for n in range(1, 30):
        last = flow.add(f"s{n}", add.bind(left=last.result, right=1))
    async with working(chancy_app), Chancy(chancy_dsn) as other:
        id_ = await workflows.push(flow)
        for _ in range(3):
            await anyio.sleep(0.2)
            await other.database.run(cut)
        assert (await Workflows(other).wait(id_, timeout=90)).state == "completed"


def test_jobs_of_nobody_open_no_transaction():
    """Nothing of it may slow down the drain of jobs that do not concern it."""
    now = datetime.now(UTC)
    plain = QueuedJob("f", id=uuid4(), state=State.RUNNING, created_at=now)
    settled = Settlement(plain, Outcome(Kind.SUCCESS), Verdict(State.SUCCEEDED))
    step = evolve(settled, job=evolve(plain, meta={"workflow": {}}))
    back = evolve(step, verdict=Verdict(State.PENDING))
    assert hooks.chancy_settling([settled, back], Names()) is None
    assert hooks.chancy_settling([settled, step], Names())


PLANS = {
    "look": left._LOOK,
    "forget": left._FORGET,
    "list": reading._LIST,
}


@pytest.mark.parametrize("name", PLANS)
async def test_nobody_reads_a_table_from_one_end_to_the_other(
    chancy_app: Chancy, workflows: Workflows, name: str
):
    """Whatever the statistics say: 30,000 workflows have ended, and there are none, or old ones."""
    async with chancy_app.store.pool.connection() as conn:
        await conn.execute(
            "INSERT INTO chancy_workflows (id, name, kind, state, finished_at) "
            "SELECT gen_random_uuid(), 'w', 'workflow', 'completed', now() "
            "FROM generate_series(1, 30000)"
        )
        await conn.execute(
            "INSERT INTO chancy_workflow_steps (workflow, step, name, state, job) "
            "SELECT id, 1, 'a', 'succeeded', gen_random_uuid() FROM chancy_workflows"
        )
        await workflows.push(two())
        params: dict[str, Any] = {
            "queued": "00000000-0000-0000-0000-000000000000",
            "bad": "00000000-0000-0000-0000-000000000000",
            "due": "00000000-0000-0000-0000-000000000000",
            "page": 500,
            "flows": 100,
            "rows": 10_000,
            "keep": 86_400.0,
            "state": None,
            "paused": None,
            "name": None,
            "kind": None,
            "before": None,
            "limit": 10,
        }
        text = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {chancy_app.names.render(PLANS[name])}"
        for _ in range(2):
            async with conn.transaction(force_rollback=True):
                cursor = await conn.execute(text.encode(), params)
                ((plan,),) = await cursor.fetchall()
            told = json.dumps(plan)
            buffers = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
            assert buffers < 400, told
            await conn.execute("ANALYZE chancy_workflows, chancy_workflow_steps")


async def test_least_rights_are_enough(chancy_dsn: str):
    """What a worker's role may is enough to push, run, cancel and sweep; who looks may look."""
    with granted(past(chancy_dsn), migrations=EVERY) as made:
        async with Chancy(made["work"]) as chancy:
            workflows = Workflows(chancy)
            flow = Workflow("roles", on_failure=give)
            listed = flow.add("list", give.bind(value=[1, 2]))
            mapped = flow.map("each", add.bind(left=listed.each, right=1))
            flow.add("total", total.bind(parts=mapped.result))
            id_ = await workflows.push(flow)
            batch = await workflows.push(Batch("b", [give], then=give, open=True))
            await workflows.add(batch, [give])
            await drain(chancy)
            await workflows.close(batch)
            cancelled = await workflows.push(two())
            await workflows.pause(cancelled)
            await workflows.resume(cancelled)
            assert await workflows.cancel(cancelled)
            sweeper = Sweeper(chancy)
            await sweeper.turn()
            await sweeper._forget()
        async with Chancy(made["look"]) as chancy:
            workflows = Workflows(chancy)
            assert (await workflows.get(id_)).state == "completed"
            assert await workflows.result(id_, "total") == 5
            assert len(await workflows.steps(batch)) == 2
            assert "digraph" in await workflows.dot(cancelled)
            with pytest.raises(Exception, match="permission denied"):
                await workflows.pause(id_)
