"""What two worker processes do together.

python -m tests.benchmarks.sides.crews CELL JOBS
"""

import time

from anyio import to_thread

from chancy import Chancy, Queue
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work
from tests.benchmarks.sides.member import Member, members
from tests.benchmarks.spans import longest_gap

#: Jobs that are long enough for a queue that holds twenty of them to be divided unfairly.
LONG = 0.02
TEN = Queue("q", executor="async", concurrency=10)


async def drain(jobs: int) -> float:
    """Two workers that are there, and wait; the queue is resumed when all jobs are there.

    No job may have run twice, by what ran in both and by what the rows say.
    """
    await work.prepare()
    async with Chancy(side.DSN) as chancy:
        await chancy.pause_queue("q")
        await work.push(work.jobs(work.counted, range(jobs)))
        with members(2) as crew:
            begin = time.perf_counter()
            await chancy.resume_queue("q")
            end = await to_thread.run_sync(side.until_done, "SELECT FROM chancy_jobs")
    ran = [number for each in crew for number in each.ran]
    if sorted(ran) != list(range(jobs)):
        raise SystemExit(f"{jobs} jobs ran {len(ran)} times, {len(set(ran))} of them")
    once = "SELECT count(*) FROM chancy_history WHERE state = 'succeeded' AND claims = 1"
    return side.rate(jobs, end - begin, side.count(once))


async def fairness(jobs: int) -> dict[str, float]:
    """Two workers share jobs of 20 ms: how long one had nothing to do while jobs waited."""
    await work.prepare(TEN)
    async with Chancy(side.DSN) as chancy:
        with members(2) as crew:
            begin = time.monotonic()
            await chancy.push_many(work.spanned.bind(number=n, seconds=LONG) for n in range(jobs))
            await to_thread.run_sync(side.until_done, "SELECT FROM chancy_jobs")
    last = max(begun for each in crew for _, begun, _ in each.spans)
    busy = sum(end - begun for each in crew for _, begun, end in each.spans)
    return {
        "idle_ms": 1000 * max(idle(each, begin, last) for each in crew),
        "rate": jobs / (last - begin),
        "used": busy / (last + LONG - begin) / (2 * 10),
        "share": max(len(each.spans) for each in crew) / jobs,
    }


def idle(member: Member, begin: float, last: float) -> float:
    """The longest time in which no job ran on a member: from the push until the last one began."""
    return longest_gap([(begun, end) for _, begun, end in member.spans], begin, last)


if __name__ == "__main__":
    side.main(work.run, {"drain-two": drain, "fairness": fairness})
