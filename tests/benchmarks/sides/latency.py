"""How long it takes from the commit of a push to the first line of the job.

    python -m tests.benchmarks.sides.latency CELL PROBES

The client is another process. Both read the machine's monotonic clock, which is one for all of its
processes: the client when `push` has returned, which it does once the commit is known, the job in
its first line. At half load a third process pushes all the while: half as many jobs a second as
this worker can drain here, by a drain that is done first.
"""

import json
import random
import subprocess
import sys
import time
from subprocess import PIPE
from typing import Any

import anyio
from anyio import to_thread

from chancy import Chancy, Worker
from tests.benchmarks.cells import scaled
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work
from tests.benchmarks.sides.pacing import pacing

#: Seconds between two probes: at random, so that they meet all phases of what is periodic, and not
#: so soon that the second hint is held back, as those are that follow another within 50 ms.
PAUSE = (0.1, 0.2)
#: Jobs of the drain that says what half a load is.
TRIAL = 20_000
#: Probes that do not count: connections are opened, and code is loaded.
WARM = 5


async def probe(number: int) -> list[float]:
    """Push single jobs; the times at which their commits were known."""
    pushed: list[float] = []
    async with Chancy(side.DSN) as chancy:
        for n in range(number):
            await anyio.sleep(random.uniform(*PAUSE))
            await chancy.push(work.spanned.bind(number=n, seconds=0))
            pushed.append(time.monotonic())
    return pushed


async def probed(probes: int) -> dict[str, float]:
    """Have another process push, and compare with what ran here."""
    work.SPANS.clear()
    command = [sys.executable, "-m", "tests.benchmarks.sides.latency", "probe", str(probes + WARM)]
    client = await to_thread.run_sync(
        lambda: subprocess.run(command, stdout=PIPE, text=True, check=True)
    )
    pushed: list[float] = json.loads(client.stdout)
    with anyio.fail_after(60):
        while len(work.SPANS) < len(pushed):
            await anyio.sleep(0.05)
    began = {number: begin for number, begin, _ in work.SPANS}
    took = [1000 * (began[n] - at) for n, at in enumerate(pushed)][WARM:]
    return {
        "p50_ms": work.percentile(took, 0.50),
        "p99_ms": work.percentile(took, 0.99),
        "most_ms": max(took),
    }


async def idle(probes: int) -> dict[str, float]:
    """A worker that has nothing else to do."""
    await work.prepare()
    async with Chancy(side.DSN) as chancy, Worker(chancy):
        return await probed(probes)


async def half_load(probes: int) -> dict[str, float]:
    """A worker that does half of what it can."""
    await work.prepare()
    trial = scaled(TRIAL)
    await work.push(work.jobs(work.nothing, range(trial)))
    most = await work.drained(trial)
    async with Chancy(side.DSN) as chancy, Worker(chancy), pacing(most / 2):
        await anyio.sleep(1)
        found = await probed(probes)
    return found | {"load": most / 2}


CELLS: dict[str, Any] = {"latency": idle, "latency-load": half_load}

if __name__ == "__main__":
    if sys.argv[1] == "probe":
        print(json.dumps(work.run(probe(int(sys.argv[2])))))
    else:
        side.main(work.run, CELLS)
