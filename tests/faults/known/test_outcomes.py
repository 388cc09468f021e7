"""Each attempt has one outcome, which is written soon, counts once, and spoils no other."""

import signal
from typing import Any
from uuid import uuid4

import anyio
import pytest

from chancy import INJECTED, Chancy, Job, Queue, QueuedJob, State, Worker, job
from chancy_core import codec, discovery, heartbeat
from chancy_core.executor import Call, Capability, Executor
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from tests import hostile
from tests.faults.known import postponed
from tests.fleet import Fleet, left, until
from tests.stage import connect, push
from tests.told import claimed

pytestmark = [pytest.mark.faults, pytest.mark.anyio]


@job(name="known.fine", queue="q")
async def fine(number: int) -> int:
    return number


@job(name="known.raise_a_nul", queue="q")
async def raise_a_nul() -> None:
    raise ValueError("\x00")


@job(name="known.spoil_the_meta", queue="q")
async def spoil_the_meta(*, me: QueuedJob = INJECTED) -> None:
    me.meta["key"] = object()


@job(name="known.leave", queue="q")
async def leave(how: str) -> None:
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt()}[how]


class Raw(Executor):
    """Runs nothing: a job named `spoil` has a result that no database takes, `break` raises."""

    capabilities = Capability.ASYNC
    default_concurrency = 8

    async def run(self, call: Call) -> Any:
        if call.job.func == "break":
            raise OSError("the pool cannot take it")
        return codec.Encoded('"\\u0000"' if call.job.func == "spoil" else "1")


@pytest.fixture
async def raw(chancy: Chancy, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a queue with that executor."""
    load = discovery.load
    monkeypatch.setattr(
        discovery, "load", lambda group, name: Raw if name == "raw" else load(group, name)
    )
    await chancy.declare(Queue("raw", executor="raw"), check=False)
    return "raw"


async def test_an_outcome_that_cannot_be_stored_is_replaced_alone(chancy, raw):
    """W1, b1: one exception with a NUL ended the task that wrote outcomes: 41 stayed `running`."""
    poisons = [raise_a_nul.bind(), spoil_the_meta.bind(), Job("spoil", queue=raw)]
    asked = [fine.bind(n) for n in range(20)] + poisons + [fine.bind(n) for n in range(20)]
    async with Worker(chancy):
        jobs = await chancy.wait_for_jobs(await chancy.push_many(asked), timeout=20)
        raised, noted, returned = jobs[20:23]
        later = await chancy.wait_for_job(await chancy.push(fine.bind(7)), timeout=10)
    assert [one.result() for one in jobs[:20] + jobs[23:]] == [*range(20), *range(20)]
    assert (raised.state, raised.errors[0].type) == (State.FAILED, "ValueError")
    assert (noted.state, noted.meta) == (State.SUCCEEDED, {})
    assert (returned.state, returned.errors[0].type) == (State.FAILED, "UntranslatableCharacter")
    assert later.result() == 7


@pytest.mark.parametrize("harm", [hostile.raising, hostile.leaving], ids=["raises", "leaves"])
async def test_an_observer_that_raises_changes_no_outcome(dsn, harm):
    """W1, W6: a plugin that raised once a job was done left it `running`, or ended all writing."""
    async with Chancy(dsn, plugins=[harm]) as chancy:
        await chancy.declare(Queue("q", executor="async"))
        async with Worker(chancy):
            for _ in range(2):  # after the first harm, too
                references = await chancy.push_many(fine.bind(n) for n in range(10))
                jobs = await chancy.wait_for_jobs(references, timeout=20)
                assert [(one.result(), one.attempts) for one in jobs] == [
                    (number, 1) for number in range(10)
                ]


async def test_a_job_that_cannot_be_begun_fails_alone(chancy, raw):
    """W5: if the executor refused the k-th of the claimed jobs, all from there stayed `running`."""
    asked = [Job("break" if n == 3 else "run", queue=raw) for n in range(8)]
    async with Worker(chancy):
        jobs = await chancy.wait_for_jobs(await chancy.push_many(asked), timeout=10)
    assert [one.state for one in jobs].count(State.SUCCEEDED) == 7
    assert (jobs[3].state, jobs[3].errors[0].message) == (State.FAILED, "the pool cannot take it")


async def test_a_claim_whose_answer_was_lost_is_given_back(chancy, dsn, stage, monkeypatch):
    """W5: jobs whose claim was committed, but its answer lost, stayed `running` with the worker."""
    monkeypatch.setattr("chancy_core.holding.AUDIT", 0.1)
    async with Worker(chancy):
        await chancy.pause_queue("q")
        references = await push(chancy, dsn, 3)
        async with await connect(dsn) as conn:
            await conn.execute(
                "UPDATE chancy_jobs SET state = 'running', claims = 1,"
                " lease_id = gen_random_uuid(), worker = (SELECT id FROM chancy_workers)"
            )
        await chancy.resume_queue("q")
        stage.go.set()
        jobs = await chancy.wait_for_jobs(references, timeout=10)
    counted = {(one.state, one.claims, one.attempts, one.crashes) for one in jobs}
    assert counted == {(State.SUCCEEDED, 2, 1, 0)}


@pytest.mark.parametrize("how", ["exit", "interrupt"])
async def test_a_job_cannot_end_its_worker_by_leaving(chancy, how):
    """W7: `sys.exit()` in an asynchronous job ended the worker, with the job left `running`."""
    async with Worker(chancy):
        failed = await chancy.wait_for_job(await chancy.push(leave.bind(how)), timeout=10)
        after = await chancy.wait_for_job(await chancy.push(fine.bind(1)), timeout=10)
    assert (failed.state, failed.attempts) == (State.FAILED, 1)
    assert failed.errors[0].type in {"SystemExit", "KeyboardInterrupt"}
    assert after.result() == 1


async def test_an_outcome_of_the_dead_changes_nothing(chancy, dsn, stage, monkeypatch):
    """W12, b3g-t5: the outcome of a worker that was taken for dead overwrote `succeeded`."""
    monkeypatch.setattr(heartbeat, "LEASE", 0.3)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.05)
    (reference,) = await push(chancy, dsn, 1, max_attempts=3)
    zombie = await claimed(chancy)
    async with await connect(dsn) as conn:

        async def unchanged_by_the_dead(table: str) -> None:
            async def rows() -> list[tuple[Any, ...]]:
                cursor = await conn.execute(f"SELECT xmin, t.* FROM chancy_{table} t".encode())
                return await cursor.fetchall()

            before = await rows()
            for state in (State.PENDING, State.SCHEDULED, State.FAILED, State.SUCCEEDED):
                late = Settlement(zombie, Outcome(Kind.ERROR, "13"), Verdict(state))
                for again in (False, True):
                    assert await chancy.store.settle([late], again=again) == set()
            assert await rows() == before
            assert len(before) == 1

        await conn.execute("UPDATE chancy_workers SET expires_at = now() - interval '1 s'")
        async with Worker(chancy):
            await stage.until_begun(1)
            await unchanged_by_the_dead("jobs")  # while another runs it
            stage.go.set()
            await chancy.wait_for_job(reference, timeout=20)
            await unchanged_by_the_dead("history")
    done = await chancy.get_job(reference)
    assert (done.state, done.claims, done.crashes) == (State.SUCCEEDED, 2, 1)


async def test_outcomes_do_not_wait_for_a_timer(chancy):
    """W12: each outcome waited up to a second in memory, where a crash had its job run again."""
    async with Worker(chancy):
        with anyio.fail_after(10):  # a mean of half a second would take 20
            for number in range(40):
                reference = await chancy.push(fine.bind(number))
                assert (await chancy.wait_for_job(reference)).result() == number


async def test_sigterm_loses_no_outcome(chancy, dsn, anyio_backend, tmp_path):
    """b2: of twenty jobs in flight at SIGTERM, all twenty outcomes were lost in memory."""
    log = tmp_path / "log"
    await chancy.declare(Queue("q", executor="async", concurrency=20), upsert=True)
    nap = Job("member.nap", kwargs={"log": str(log), "seconds": 1.0}, queue="q")
    references = await chancy.push_many([nap] * 20)

    def terminate() -> None:
        with Fleet(dsn) as fleet:
            process = fleet.start("doomed", anyio_backend)
            until(lambda: len(fleet.running().get("doomed", ())) == 20, 30, "twenty are running")
            assert left(process, signal.SIGTERM, 20) < 10
            assert process.returncode == 0

    await anyio.to_thread.run_sync(terminate)
    jobs = await chancy.get_jobs(references)
    counted = {(one.state, one.attempts, one.claims, one.crashes) for one in jobs}
    assert counted == {(State.SUCCEEDED, 1, 1, 0)}
    assert len(log.read_text().split()) == 20


async def test_a_child_gets_the_job_and_keeps_its_notes_though_annotations_are_strings(chancy):
    """W26: under PEP 563 no job was given; what a failing job noted in a process was lost."""
    for executor in ("thread", "process"):
        queue = await chancy.declare(Queue(executor, executor=executor, concurrency=1))
        async with Worker(chancy, queues={executor}):
            asked = postponed.note_and_fail.bind(key=executor).options(queue=queue.name)
            done = await chancy.wait_for_job(await chancy.push(asked), timeout=20)
        assert (done.state, done.errors[0].message) == (State.FAILED, executor)
        assert done.meta == {"note": executor}


async def test_a_terminal_state_is_left_by_an_operator_alone(chancy, dsn, stage):
    """b3g-t6, W16: cancelling a job that had succeeded made it `failed`."""
    stage.go.set()
    (reference,) = await push(chancy, dsn, 1)
    async with Worker(chancy):
        before = await chancy.wait_for_job(reference, timeout=10)
        answer = await chancy.cancel_job(reference)
        assert (answer.done, (await chancy.get_job(reference))) == (False, before)
        assert before.state is State.SUCCEEDED
    assert not (await chancy.cancel_job(uuid4())).done
