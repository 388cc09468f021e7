"""How much memory a worker has taken after many jobs, beside what it had when it was warm.

    python -m tests.benchmarks.sides.memory CELL JOBS

Another process pushes, so that what that takes is not counted here, and never so much that the
table becomes large.
"""

import json
import subprocess
import sys

import psutil
from anyio import to_thread

from chancy import Chancy, Worker
from tests.benchmarks.cells import scaled
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work

#: Jobs after which all code is loaded, all slots have run and all buffers have grown.
WARM = 50_000
PORTION = 50_000


async def push(jobs: int) -> None:
    async with Chancy(side.DSN) as chancy:
        await chancy.push_many(work.jobs(work.nothing, range(jobs)))


async def work_off(jobs: int) -> None:
    """Have another process push so many jobs, and wait until they are done."""
    command = [sys.executable, "-m", "tests.benchmarks.sides.memory", "push"]
    while jobs > 0:
        portion = min(jobs, scaled(PORTION))
        await to_thread.run_sync(
            lambda told=[*command, str(portion)]: subprocess.run(told, check=True)
        )
        await to_thread.run_sync(side.until_done, "SELECT FROM chancy_jobs")
        jobs -= portion


async def memory(jobs: int) -> dict[str, float]:
    """A worker's resident memory when it is warm, and after so many jobs more."""
    await work.prepare()
    me = psutil.Process()
    async with Chancy(side.DSN) as chancy, Worker(chancy):
        fresh = me.memory_info().rss
        await work_off(scaled(WARM))
        warm = me.memory_info().rss
        await work_off(jobs)
        after = me.memory_info().rss
    return {
        "growth": after / warm,
        "start_mb": fresh / 2**20,
        "warm_mb": warm / 2**20,
        "after_mb": after / 2**20,
    }


if __name__ == "__main__":
    if sys.argv[1] == "push":
        work.run(push(int(sys.argv[2])))
        print(json.dumps({}))
    else:
        side.main(work.run, {"memory": memory})
