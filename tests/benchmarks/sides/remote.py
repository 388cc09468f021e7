"""Plain functions that take 5 ms of a processor's time, on a Dask cluster of two processes.

    python -m tests.benchmarks.sides.remote [--direct] CELL JOBS

`--direct` gives the same functions to the same cluster by `Client.map`, all at once. The time is
that from the first push to the last committed outcome; Dask's own, until all results are there.
Whoever is killed is so in the middle: a process of the cluster, and another is started in its
place; or our worker, whose lease has to run out before another takes over.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from anyio import to_thread
from attrs import frozen

from chancy import Chancy, Queue
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work
from tests.dask_cluster import DaskCluster

#: Dask's own default: a process has the next task with it while it runs one.
SATURATION = "1.1"
#: How many jobs are run before anything is measured: everybody has loaded everything by then.
WARM = 20


@contextmanager
def clustered() -> Iterator[DaskCluster]:
    with (
        tempfile.TemporaryDirectory() as folder,
        DaskCluster(Path(folder), saturation=SATURATION) as cluster,
    ):
        yield cluster


@contextmanager
def working(name: str) -> Iterator["Popen[str]"]:
    """A worker process of ours."""
    command = [sys.executable, "-m", "tests.benchmarks.sides.member", name]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def direct(jobs: int) -> float:
    """Dask alone."""
    with clustered() as cluster:
        client = cluster.client
        client.gather(client.map(work.burnt, range(WARM), pure=False))
        begin = time.perf_counter()
        done = client.gather(client.map(work.burnt, range(jobs), pure=False))
        return side.rate(jobs, time.perf_counter() - begin, len(done))


@frozen
class Run:
    """A cluster, and a worker of ours that uses it."""

    cluster: DaskCluster
    worker: "Popen[str]"
    ends: ExitStack


def kill_process(run: Run) -> set[int]:
    victim = next(iter(run.cluster.workers))
    run.cluster.kill(victim)
    run.cluster.start_worker()
    return {victim}


def kill_worker(run: Run) -> set[int]:
    run.worker.kill()
    run.ends.enter_context(working("b"))
    return set()


async def measured(jobs: int, midway: Callable[[Run], set[int]] | None = None) -> dict[str, float]:
    """Push and run jobs; *midway* kills, and says which processes of the cluster are gone."""
    with ExitStack() as ends:
        cluster = ends.enter_context(clustered())
        log = cluster.folder / "starts"
        told = {"log": str(log)} if midway else {}
        options = {"address": cluster.address}
        await work.prepare(Queue("q", executor="dask", concurrency=64, executor_options=options))
        run = Run(cluster, ends.enter_context(working("a")), ends)
        async with Chancy(side.DSN) as chancy:
            await chancy.push_many(work.jobs(work.burn, range(WARM)))
            await to_thread.run_sync(side.until_done, "SELECT FROM chancy_jobs")
            begin = time.perf_counter()
            await chancy.push_many(work.burn.bind(number=n, **told) for n in range(jobs))
            killed = set()
            if midway is not None:
                await to_thread.run_sync(until_settled, WARM + jobs // 2)
                killed = await to_thread.run_sync(midway, run)
            end = await to_thread.run_sync(side.until_done, "SELECT FROM chancy_jobs")
        settled = side.count(work.DONE) - WARM
        found = {"rate": side.rate(jobs, end - begin, settled), "seconds": end - begin}
        return found | {"settled": settled} | (again(log, killed) if midway else {})


def until_settled(count: int) -> None:
    while side.count(work.DONE) < count:
        time.sleep(0.05)


def again(log: Path, killed: set[int]) -> dict[str, float]:
    """How many jobs began more than once, and how many of them not because a process was killed."""
    where: dict[int, list[int]] = defaultdict(list)
    for line in log.read_text().splitlines():
        pid, number = map(int, line.split())
        where[number].append(pid)
    twice = [pids for pids in where.values() if len(pids) > 1]
    return {"again": len(twice), "live": sum(not killed.issuperset(pids[:-1]) for pids in twice)}


async def ours(jobs: int) -> dict[str, float]:
    """Nobody dies."""
    return await measured(jobs)


async def process_dies(jobs: int) -> dict[str, float]:
    """A process of the cluster is killed."""
    return await measured(jobs, kill_process)


async def worker_dies(jobs: int) -> dict[str, float]:
    """Our worker is killed."""
    return await measured(jobs, kill_worker)


CELLS = {"remote": ours, "remote-process-dies": process_dies, "remote-worker-dies": worker_dies}

if __name__ == "__main__":
    side.main(work.run, CELLS | ({"remote": direct} if "--direct" in sys.argv else {}))
