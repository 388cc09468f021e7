"""Workflows, from their push to their end: what one step takes, few of them or many.

    python -m tests.benchmarks.sides.flows SHAPE [--few] CELL STEPS

`layers`: ten steps, ten that wait for all of them, and so on. `fan`: one step, all others but the
last, which wait for it, and the last, which waits for them. With `--few`, workflows of a hundredth
of the steps, one after the other.
"""

import sys
import time

from anyio import to_thread

from chancy import Chancy, Worker
from chancy_plugins.workflow import Workflow, Workflows
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work

WIDE = 10
#: How many small workflows are run, one after the other.
TIMES = 20


def layers(steps: int) -> Workflow:
    flow = Workflow("layers")
    before: list[str] = []
    for n in range(0, steps, WIDE):
        name = f"layer {n}"
        jobs = work.jobs(work.nothing, range(n, min(n + WIDE, steps)))
        flow.group(name, list(jobs), after=before)
        before = [name]
    return flow


def fan(steps: int) -> Workflow:
    flow = Workflow("fan")
    first = flow.add("first", work.nothing.bind(number=0))
    for n in range(1, steps - 1):
        flow.add(f"step {n}", work.nothing.bind(number=n), after=first)
    flow.add("last", work.nothing.bind(number=steps), after=[step.name for step in flow][1:])
    return flow


async def workflow(steps: int) -> dict[str, float]:
    """One worker process pushes and runs them."""
    make = {"layers": layers, "fan": fan}[sys.argv[1]]
    times, each = (TIMES, max(3, steps // 100)) if "--few" in sys.argv else (1, max(3, steps))
    await work.prepare()
    seconds, pushed = 0.0, 0.0
    async with Chancy(side.DSN) as chancy, Worker(chancy):
        for _ in range(times):
            flow = make(each)
            begin = time.perf_counter()
            await Workflows(chancy).push(flow)
            pushed += time.perf_counter() - begin
            left = "SELECT FROM chancy_workflows WHERE state = 'running'"
            seconds += await to_thread.run_sync(side.until_done, left) - begin
    done = side.count(work.DONE)
    if done != times * each:
        raise SystemExit(f"{times * each} steps were pushed, and {done} jobs have succeeded")
    return {
        "us": 1e6 * seconds / done,
        "push_us": 1e6 * pushed / done,
        "rate": done / seconds,
    }


if __name__ == "__main__":
    side.main(work.run, {"workflow": workflow})
