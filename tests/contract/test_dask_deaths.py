"""Who may die while calls run on a Dask cluster: a process, the scheduler, whoever sent them."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from anyio import to_thread

from chancy_core.executor import Executor
from chancy_core.outcome import Kind, Outcome
from chancy_core.run import Attempt
from tests.attempts import opened
from tests.dask_attempts import SOURCE, came, sent, until_nothing_is_left
from tests.dask_cluster import ROOT, DaskCluster
from tests.fleet import until
from tests.remote_jobs import begun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("distributed") is None, reason="it comes with chancy[dask]"
    ),
]


class Ends:
    """How attempts have ended that run beside what a test does."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.outcomes: dict[UUID, Outcome] = {}

    async def run(self, tried: Attempt) -> None:
        assert tried.job.id not in self.outcomes
        self.outcomes[tried.job.id] = await tried.run(self.executor)


def refusal(outcome: Outcome) -> tuple[Kind, str]:
    assert outcome.failure is not None
    return outcome.kind, outcome.failure.message


# -- a process of the cluster ----------------------------------------------------------------------


async def test_a_process_of_its_own_cluster_that_dies_costs_its_own_job_only(
    anyio_backend: str, tmp_path: Path
) -> None:
    log, wait, go = tmp_path / "log", tmp_path / "wait", tmp_path / "go"
    async with opened("dask", anyio_backend, SOURCE, workers=2) as executor:
        ends = Ends(executor)
        async with anyio.create_task_group() as tasks:
            waits = sent("note_and_wait", log=str(wait), until=str(go))
            tasks.start_soon(ends.run, waits)
            await came(lambda: begun(wait))
            dies = sent("note_and_die", log=str(log))
            tasks.start_soon(ends.run, dies)
            others = [sent("add", a=1, b=1) for _ in range(6)]
            for other in others:
                tasks.start_soon(ends.run, other)
            await came(lambda: dies.job.id in ends.outcomes)
            go.touch()
    assert len(begun(log)) == 1
    kind, said = refusal(ends.outcomes[dies.job.id])
    assert kind is Kind.CHILD_DIED
    assert "the Dask workers that had it have died" in said
    assert ends.outcomes[waits.job.id].result == '"waited"'
    assert {ends.outcomes[other.job.id].result for other in others} == {"2"}


@pytest.mark.parametrize("once", [False, True])
async def test_what_a_process_ran_that_was_killed_begins_again_unless_it_must_not(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path, once: bool
) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        ends = Ends(executor)
        async with anyio.create_task_group() as tasks:
            tried = sent("note_and_wait", log=str(log), until=str(go), at_most_once=once)
            tasks.start_soon(ends.run, tried)
            await came(lambda: begun(log))
            await to_thread.run_sync(dask.kill, begun(log)[0].pid)
            await came(lambda: ends.outcomes or len(begun(log)) == 2)
            go.touch()
        await until_nothing_is_left(dask)
    (outcome,) = ends.outcomes.values()
    assert outcome.kind is (Kind.CHILD_DIED if once else Kind.SUCCESS)
    assert len(begun(log)) == (1 if once else 2)


async def test_a_poison_job_is_no_end_of_the_cluster(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    """Dask gives it to others until it has killed too many; here there are only two."""
    log = tmp_path / "log"
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        ends = Ends(executor)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ends.run, sent("note_and_die", log=str(log)))
            for number in range(1, 5):
                await came(lambda: len(begun(log)) >= number)  # noqa: B023 - at once
                dask.start_worker()
        (outcome,) = ends.outcomes.values()
        kind, said = refusal(outcome)
        assert kind is Kind.CHILD_DIED
        assert "the Dask workers that had it have died" in said
        await until_nothing_is_left(dask)


# -- the scheduler ---------------------------------------------------------------------------------


@pytest.mark.parametrize("once", [False, True])
async def test_a_scheduler_that_dies_costs_no_attempt_and_is_found_again(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path, once: bool
) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        ends = Ends(executor)
        async with anyio.create_task_group() as tasks:
            tried = sent("note_and_wait", log=str(log), until=str(go), at_most_once=once)
            tasks.start_soon(ends.run, tried)
            await came(lambda: begun(log))
            await to_thread.run_sync(dask.kill_scheduler)
            await to_thread.run_sync(dask.start_scheduler)
        go.touch()
        kind, said = refusal(ends.outcomes[tried.job.id])
        # Handed back uncounted; but what may have begun, and must not again, is at its end.
        assert kind is (Kind.CHILD_DIED if once else Kind.UNPREPARED)
        assert f"its task {tried.job.id}-1 is gone" in said
        await to_thread.run_sync(dask.replace_workers)
        with anyio.fail_after(30):
            assert (await sent("add", a=1, b=1).run(executor)).result == "2"


async def test_a_scheduler_that_stays_away_has_jobs_handed_back(
    dask: DaskCluster, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chancy_executors.connection.PATIENCE", 1.0)
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        await to_thread.run_sync(dask.kill_scheduler)
        with anyio.fail_after(20):
            outcome = await sent("add", a=1, b=1).run(executor)
    kind, said = refusal(outcome)
    assert kind is Kind.UNPREPARED
    assert dask.address in said


# -- whoever sent them -----------------------------------------------------------------------------


def vanish(dask: DaskCluster, backend: str, log: Path, go: Path) -> UUID:
    """Have a process send a job and be killed once it runs; return the id of the job."""
    id_ = uuid4()
    told = [backend, dask.address, str(id_), str(log), str(go)]
    with subprocess.Popen([sys.executable, "-m", "tests.dask_sender", *told], cwd=ROOT) as sender:
        try:
            until(lambda: begun(log), 30, "the job begins")
        finally:
            sender.kill()
    return id_


@pytest.mark.parametrize("ends", ["before", "after"])
async def test_whoever_claims_the_job_of_a_killed_worker_waits_for_its_task(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path, ends: str
) -> None:
    """Whether the task ends before somebody looks for it or after."""
    log, go = tmp_path / "log", tmp_path / "go"
    id_ = await to_thread.run_sync(vanish, dask, anyio_backend, log, go)
    key = f"{id_}-1"
    await came(lambda: dask.seen == {key: ("processing", {"chancy"})})
    if ends == "before":
        go.touch()
        await came(lambda: dask.seen == {key: ("memory", {"chancy"})})
    told: dict[str, Any] = {"log": str(log), "until": str(go)}
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        found = Ends(executor)
        async with anyio.create_task_group() as tasks:
            tried = sent("note_and_wait", id_=id_, claims=3, **told)
            tasks.start_soon(found.run, tried)
            if ends == "after":
                await came(lambda: len(dask.seen[key][1]) == 2)
                assert not found.outcomes
                go.touch()
        assert found.outcomes == {id_: Outcome(Kind.SUCCESS, '"waited"')}
        await until_nothing_is_left(dask)
    assert len(begun(log)) == 1
