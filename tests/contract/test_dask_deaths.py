"""Who may die while jobs run on a Dask cluster: its processes, its scheduler, and our worker."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest

from chancy import Chancy, Job, Queue, State
from chancy_core.executor import Executor
from chancy_core.outcome import Kind, Outcome
from chancy_core.run import Attempt
from tests.attempts import opened
from tests.dask_attempts import SOURCE, came, sent, until_nothing_is_left
from tests.dask_cluster import ROOT, DaskCluster
from tests.fleet import Fleet, until
from tests.remote_jobs import begun

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path) as cluster:
        yield cluster


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
            # Some of the others are done in the process that it kills, and wait to be fetched.
            dies = sent("note_and_die", log=str(log))
            tasks.start_soon(ends.run, dies)
            others = [sent("add", a=1, b=1) for _ in range(6)]
            for other in others:
                tasks.start_soon(ends.run, other)
            await came(lambda: dies.job.id in ends.outcomes)
            go.touch()
    assert len(begun(log)) == 1
    assert refusal(ends.outcomes[dies.job.id]) == (
        Kind.CHILD_DIED,
        "the Dask worker that ran it ended before its answer was here",
    )
    assert ends.outcomes[waits.job.id].result == '"waited"'
    assert {ends.outcomes[other.job.id].result for other in others} == {"2"}


async def test_a_flood_of_calls_survives_a_process_that_is_killed(
    cluster: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        ends = Ends(executor)
        async with anyio.create_task_group() as tasks:
            for _ in range(400):
                tasks.start_soon(ends.run, sent("compute", log=str(log), seconds=0.005))
            await came(lambda: len(begun(log)) > 100)
            await anyio.to_thread.run_sync(cluster.kill, next(iter(cluster.workers)))
        await until_nothing_is_left(cluster)
    assert len(ends.outcomes) == 400
    assert {outcome.kind for outcome in ends.outcomes.values()} == {Kind.SUCCESS}


@pytest.mark.parametrize("once", [False, True])
async def test_what_a_process_ran_that_was_killed_begins_again_unless_it_must_not(
    cluster: DaskCluster, anyio_backend: str, tmp_path: Path, once: bool
) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        ends = Ends(executor)
        async with anyio.create_task_group() as tasks:
            tried = sent("note_and_wait", log=str(log), until=str(go), at_most_once=once)
            tasks.start_soon(ends.run, tried)
            await came(lambda: begun(log))
            await anyio.to_thread.run_sync(cluster.kill, begun(log)[0])
            await came(lambda: ends.outcomes or len(begun(log)) == 2)
            go.touch()
        await until_nothing_is_left(cluster)
    (outcome,) = ends.outcomes.values()
    assert outcome.kind is (Kind.CHILD_DIED if once else Kind.SUCCESS)
    assert len(begun(log)) == (1 if once else 2)


# -- the scheduler ---------------------------------------------------------------------------------


@pytest.mark.parametrize("once", [False, True])
async def test_a_scheduler_that_dies_costs_no_attempt_and_is_found_again(
    cluster: DaskCluster, anyio_backend: str, tmp_path: Path, once: bool
) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        ends = Ends(executor)
        async with anyio.create_task_group() as tasks:
            tried = sent("note_and_wait", log=str(log), until=str(go), at_most_once=once)
            tasks.start_soon(ends.run, tried)
            await came(lambda: begun(log))
            cluster.scheduler.kill()
            cluster.scheduler.wait()
            await anyio.to_thread.run_sync(cluster.start_scheduler)
        await anyio.to_thread.run_sync(cluster.start_worker)
        kind, said = refusal(ends.outcomes[tried.job.id])
        # Handed back uncounted; but what may have begun, and must not again, is at its end.
        assert kind is (Kind.CHILD_DIED if once else Kind.UNPREPARED)
        assert f"its task {tried.job.id}-1 is gone" in said
        with anyio.fail_after(30):
            assert (await sent("add", a=1, b=1).run(executor)).result == "2"


async def test_a_scheduler_that_stays_away_has_jobs_handed_back(
    cluster: DaskCluster, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chancy_executors.connection.PATIENCE", 1.0)
    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        with anyio.fail_after(20):
            outcome = await sent("add", a=1, b=1).run(executor)
    kind, said = refusal(outcome)
    assert kind is Kind.UNPREPARED
    assert cluster.address in said


# -- our worker ------------------------------------------------------------------------------------


def vanish(cluster: DaskCluster, backend: str, log: Path, go: Path) -> UUID:
    """Have a worker of ours begin a job and be killed; return the id of the job."""
    id_ = uuid4()
    told = [backend, cluster.address, str(id_), str(log), str(go)]
    with subprocess.Popen([sys.executable, "-m", "tests.dask_sender", *told], cwd=ROOT) as sender:
        try:
            until(lambda: begun(log), 30, "the job begins")
        finally:
            sender.kill()
    return id_


@pytest.mark.parametrize("ends", ["before", "after"])
async def test_whoever_claims_the_job_of_a_killed_worker_waits_for_its_task(
    cluster: DaskCluster, anyio_backend: str, tmp_path: Path, ends: str
) -> None:
    """Whether the task ends before somebody looks for it or after."""
    log, go = tmp_path / "log", tmp_path / "go"
    id_ = await anyio.to_thread.run_sync(vanish, cluster, anyio_backend, log, go)
    assert cluster.left == [f"{id_}-1"]
    if ends == "before":
        go.touch()
        await came(lambda: cluster.ask(finished))
    told: dict[str, Any] = {"log": str(log), "until": str(go)}
    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        found = Ends(executor)
        async with anyio.create_task_group() as tasks:
            tried = sent("note_and_wait", id_=id_, claims=3, **told)
            tasks.start_soon(found.run, tried)
            if ends == "after":
                await came(lambda: cluster.ask(wanted) == 2)
                assert not found.outcomes
                go.touch()
        assert found.outcomes == {id_: Outcome(Kind.SUCCESS, '"waited"')}
        await until_nothing_is_left(cluster)
    assert len(begun(log)) == 1


def finished(dask_scheduler: Any) -> bool:
    """Whether all tasks of a scheduler have ended."""
    return all(task.state == "memory" for task in dask_scheduler.tasks.values())


def wanted(dask_scheduler: Any) -> int:
    """By how many the one task of a scheduler is wanted."""
    (task,) = dask_scheduler.tasks.values()
    return len(task.who_wants)


def test_the_jobs_of_a_killed_worker_go_on_and_are_settled_by_another(
    cluster: DaskCluster, dsn: str, tmp_path: Path
) -> None:
    log, go = tmp_path / "ran", tmp_path / "go"
    told = {"log": str(log), "until": str(go)}
    hold = Job("member.hold", kwargs=told, queue="q")
    options = {"address": cluster.address}
    with Chancy(dsn) as chancy, Fleet(dsn) as fleet:
        chancy.sync_declare(
            Queue("q", executor="dask", concurrency=8, executor_options=options, polling_interval=1)
        )
        references = chancy.sync_push_many([hold] * 2)
        fleet.start("a", "asyncio", lease=2)
        until(lambda: log.exists() and log.read_text().count("\n") == 2, 60, "both jobs run")
        fleet.processes["a"].kill()
        fleet.start("b", "trio", lease=2)
        until(lambda: fleet.one("SELECT max(crashes) FROM chancy_jobs") == 1, 30, "they are freed")
        until(lambda: len(cluster.ask(holders)) == 1, 30, "one of them is found")
        go.touch()
        jobs = chancy.sync_wait_for_jobs(references, timeout=30)
        until(lambda: not cluster.left, 10, "nothing is left on the cluster")
    assert {(job.state, job.claims, job.attempts) for job in jobs} == {(State.SUCCEEDED, 2, 1)}
    assert sorted(log.read_text().split()) == sorted(str(job.id) for job in jobs)


def holders(dask_scheduler: Any) -> list[str]:
    """The clients by which tasks are wanted, beside ourselves when we are gone."""
    names = {
        client.client_key for task in dask_scheduler.tasks.values() for client in task.who_wants
    }
    return [name for name in names if name != "chancy"]
