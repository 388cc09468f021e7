"""A queue for GPUs: its jobs compute on the worker that found one by itself, and nowhere else.

Once on a GPU, through the driver that it has, where there is one; and anywhere, with a library that
stands in for the driver, so that all but the kernel itself is tried.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from chancy import Chancy, Queue, State
from tests.fleet import Fleet
from tests.gpu import stand_in
from tests.gpu.jobs import SIZE, compute, look

ROOT = Path(__file__).parents[2]
JOBS = 20
#: How a GPU is hidden from a process: it may use none, and CUDA says that there is none.
HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(params=[pytest.param("real", marks=pytest.mark.gpu), "stand-in"])
def gpu(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """What the environment of a worker has besides, so that there is a GPU."""
    if request.param == "stand-in":
        if sys.platform != "linux":
            pytest.skip("the library that stands in for the driver is found on Linux only")
        return stand_in.environment(tmp_path)
    # Asked elsewhere: the driver starts threads, which stay.
    command = [sys.executable, "-m", "tests.gpu.cuda"]
    asked = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    if reason := asked.stdout.strip():
        pytest.skip(reason)
    return {}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_jobs_for_a_gpu_compute_on_the_worker_that_found_one_and_on_no_other(
    dsn: str, gpu: dict[str, str], backend: str
) -> None:
    told = gpu | {"CHANCY_JOBS": "tests.gpu.jobs", "PYTHONPATH": str(ROOT)}
    with Chancy(dsn) as chancy, Fleet(dsn) as fleet:
        chancy.sync_declare(Queue("gpu", executor="process", concurrency=2, tags={"has=gpu"}))
        chancy.sync_declare(Queue("any", executor="process", concurrency=1))
        fleet.start("without", backend, environment=told | HIDDEN)
        fleet.until_live({"without"})
        references = chancy.sync_push_many(compute.bind(add=n) for n in range(JOBS))
        for _ in range(2):  # it has looked for work since then, and runs what is for everybody
            looked = chancy.sync_wait_for_job(chancy.sync_push(look.bind()), timeout=60)
            assert str(looked.result()).startswith("no GPU here: ")
        waiting = chancy.sync_get_jobs(references)
        assert {(job.state, job.claims) for job in waiting} == {(State.PENDING, 0)}

        fleet.start("with", backend, environment=told)
        done = chancy.sync_wait_for_jobs(references, timeout=200)
        workers = {worker.name: worker for worker in chancy.sync_get_all_workers()}
        assert [name for name in workers if "has=gpu" in workers[name].tags] == ["with"]
        assert workers.keys() == {"with", "without"}
        counts = {(job.state, job.claims, job.worker) for job in done}
        assert counts == {(State.SUCCEEDED, 1, workers["with"].id)}
        results = [job.result() for job in done]
    assert [found["sum"] for found in results] == [
        sum(3 * n + add for n in range(SIZE)) for add in range(JOBS)
    ]
    (device,) = {found["device"] for found in results}
    print(f"{JOBS} jobs computed {SIZE:,} numbers each on {device}")
