"""Jobs on a Dask cluster while somebody dies: one of its processes, our worker, its scheduler.

All are settled once, and none is run a second time while its task lives.
"""

import importlib.util
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from chancy import Chancy, Job, Queue, State
from chancy_core.job import QueuedJob
from tests.dask_cluster import ROOT, DaskCluster
from tests.fleet import Fleet, left, until
from tests.remote_jobs import Start, begun

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("distributed") is None, reason="it comes with chancy[dask]"
    ),
]

JOBS = 300


class Play:
    """A queue on a cluster, and what is known of its jobs."""

    def __init__(self, chancy: Chancy, fleet: Fleet, log: Path) -> None:
        self.fleet = fleet
        self.log = log
        self._chancy = chancy
        self._pushed: list[UUID] = []

    def push(self, func: str, count: int, **kwargs: object) -> None:
        told = {"log": str(self.log), **kwargs}
        made = Job(f"tests.remote_jobs.{func}", kwargs=told, queue="q")
        self._pushed += [each.id for each in self._chancy.sync_push_many([made] * count)]

    @property
    def begun(self) -> list[Start]:
        return begun(self.log)

    def until_begun(self, count: int) -> None:
        until(lambda: len(self.begun) >= count, 100, f"{count} jobs begin")

    def settled(self, within: float) -> list[QueuedJob]:
        """Return all jobs, once all have ended: each once, by the history."""
        done = "SELECT count(*) FROM chancy_history"
        until(lambda: self.fleet.one(done) >= len(self._pushed), within, "all jobs are settled")
        assert self.fleet.one("SELECT count(*) FROM chancy_jobs") == 0
        assert self.fleet.one("SELECT count(DISTINCT id) FROM chancy_history") == len(self._pushed)
        jobs = [self._chancy.sync_get_job(id_) for id_ in self._pushed]
        assert {job.state for job in jobs if job} == {State.SUCCEEDED}
        assert {start.job for start in self.begun} == set(self._pushed)
        return [job for job in jobs if job]

    def again(self) -> dict[UUID, list[Start]]:
        """Return those jobs that have begun more than once, with where."""
        starts: dict[UUID, list[Start]] = {}
        for start in self.begun:
            starts.setdefault(start.job, []).append(start)
        return {id_: each for id_, each in starts.items() if len(each) > 1}


@pytest.fixture
def play(
    dask: DaskCluster, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Play]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("CHANCY_JOBS", "tests.remote_jobs")
    queue = Queue(
        "q",
        executor="dask",
        concurrency=40,
        executor_options={"address": dask.address},
        polling_interval=1,
    )
    with Chancy(dsn) as chancy, Fleet(dsn) as fleet:
        chancy.sync_declare(queue)
        yield Play(chancy, fleet, tmp_path / "log")


def test_a_process_of_the_cluster_is_killed(dask: DaskCluster, play: Play) -> None:
    play.push("compute", JOBS, seconds=0.005)
    play.fleet.start("a", "asyncio", lease=2)
    play.until_begun(JOBS // 3)
    victim = next(iter(dask.workers))
    dask.kill(victim)
    jobs = play.settled(200)
    assert {(job.claims, job.attempts, job.crashes) for job in jobs} == {(1, 1, 0)}
    # What ran there, and what had ended there at that moment, with an answer that was lost.
    again = play.again()
    assert {starts[0].pid for starts in again.values()} <= {victim}
    assert len(again) < 20
    until(lambda: not dask.left, 10, "nothing is left on the cluster")


def kill_worker_midway(play: Play) -> None:
    """Have a worker be killed while hundreds of jobs run, and another take over."""
    play.push("compute", JOBS, seconds=0.005)
    play.fleet.start("a", "asyncio", lease=2)
    play.until_begun(JOBS // 3)
    play.fleet.processes["a"].kill()
    play.fleet.start("b", "trio", lease=2)


def test_our_worker_is_killed(play: Play) -> None:
    kill_worker_midway(play)
    jobs = play.settled(200)
    assert {job.attempts for job in jobs} == {1}
    assert {job.claims for job in jobs} == {1, 2}
    assert not play.again()


def test_our_worker_is_killed_while_a_long_job_runs(dask: DaskCluster, play: Play) -> None:
    go = play.log.with_name("go")
    play.push("note_and_wait", 2, until=str(go))
    play.fleet.start("a", "trio", lease=2)
    play.until_begun(2)
    play.fleet.processes["a"].kill()
    play.fleet.start("b", "asyncio", lease=2)
    until(lambda: any(len(by) == 2 for _, by in dask.seen.values()), 30, "a task is found")
    go.touch()
    assert {(job.claims, job.attempts) for job in play.settled(100)} == {(2, 1)}
    assert not play.again()
    until(lambda: not dask.left, 10, "nothing is left on the cluster")


def test_a_workers_death_is_no_crash_of_its_jobs(play: Play) -> None:
    kill_worker_midway(play)
    assert {job.crashes for job in play.settled(200)} == {0}


def test_our_worker_stops_and_leaves_a_long_job_to_the_next(dask: DaskCluster, play: Play) -> None:
    go = play.log.with_name("go")
    play.push("note_and_wait", 2, until=str(go))
    play.fleet.start("a", "asyncio", grace=0.2)
    play.until_begun(2)
    assert left(play.fleet.processes["a"], signal.SIGTERM, 20) < 10
    assert {frozenset(by) for _, by in dask.seen.values()} == {frozenset({"chancy"})}
    play.fleet.start("b", "trio")
    until(lambda: all(len(by) == 2 for _, by in dask.seen.values()), 30, "both are found")
    go.touch()
    assert {(job.claims, job.attempts, job.crashes) for job in play.settled(100)} == {(2, 1, 0)}
    assert not play.again()
    until(lambda: not dask.left, 10, "nothing is left on the cluster")


def test_the_scheduler_is_killed_and_started_again(dask: DaskCluster, play: Play) -> None:
    play.push("compute", JOBS, seconds=0.005)
    play.fleet.start("a", "asyncio", lease=2)
    play.until_begun(JOBS // 3)
    dask.kill_scheduler()
    dask.start_scheduler()
    dask.replace_workers()
    jobs = play.settled(200)
    # What it knew is gone with it, and has been handed back, uncounted.
    assert {(job.attempts, job.crashes) for job in jobs} == {(1, 0)}
