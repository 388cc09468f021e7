"""A worker that is given hostile names and hostile values; sitecustomize sees what it does.

python attack.py asyncio|trio COUNT
"""

import base64
import json
import os
import pickle
import sys
from pathlib import Path

import anyio
import target

from chancy import Chancy, Job, JobFilter, Queue, Worker
from chancy_core import discovery
from chancy_core.errors import UnknownName
from tests.security.hostile_names import names

EXECUTORS = ("async", "thread", "process")


class Trap:
    """Whoever unpickles it runs a command."""

    def __reduce__(self):
        return os.system, ("touch unpickled",)


def traps() -> list[str]:
    """Pickles as text, in each form in which text can carry them."""
    made = [pickle.dumps(Trap(), protocol) for protocol in range(6)]
    return [code(one) for one in made for code in (_latin, _base64, bytes.hex, repr)]


def _latin(data: bytes) -> str:
    return data.decode("latin-1").replace("\0", "\u0100")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def armed(now: bool) -> None:
    """Whether what is seen from now on is written down, here and in the children."""
    path = Path(os.environ["ARMED"])
    path.touch() if now else path.unlink()


async def warm(chancy: Chancy) -> list[int]:
    """Have all modules loaded that jobs need; return the processes that ran them."""
    pids = set()
    for queue in EXECUTORS:
        for made in (target.double_async, target.double):
            plain = made is target.double
            if plain is (queue == "async"):
                continue
            asked = [made.bind(1), made.bind("x"), made.bind([1])]
            jobs = [job.options(queue=queue) for job in (*asked, Job("no.such"))]
            references = await chancy.push_many(jobs)
            await chancy.wait_for_jobs(references, timeout=30, states=["scheduled"])
        who = target.pid_async if queue == "async" else target.pid
        done = await chancy.wait_for_job(await chancy.push(who.bind().options(queue=queue)))
        pids.add(done.result())
    return sorted(pids)


async def all_refused(chancy: Chancy) -> None:
    """Return once each job that is there has been refused."""
    waiting = "SELECT count(*) FROM chancy_jobs WHERE errors IS NULL"
    async with chancy.store.pool.connection() as conn:
        while await (await conn.execute(waiting)).fetchone() != (0,):
            await anyio.sleep(0.05)


async def attack(chancy: Chancy, count: int, first: int) -> dict[str, object]:
    """Have every second name called in a child, and the others in the worker itself."""
    hostile = list(names(count))
    arguments = {"command": "touch ran", "value": 1, "name": "canary"}
    asked = [
        Job(name, queue=("process", EXECUTORS[n // 2 % 2])[(n + first) % 2], kwargs=arguments)
        for n, name in enumerate(hostile)
    ]
    jobs = []
    for begin in range(0, count, 1000):
        references = await chancy.push_many(asked[begin : begin + 1000])
        await all_refused(chancy)
        jobs += await chancy.get_jobs(references)
        await chancy.purge_jobs(references)  # they would be offered around for an hour
    kinds = {(job.state.finished, job.attempts, job.errors[0].kind) for job in jobs}
    refused = 0
    for name in hostile:
        for group in discovery.GROUPS:
            try:
                discovery.load(group, name)
            except UnknownName:
                refused += 1
    return {"names": len(jobs), "kinds": sorted(map(list, kinds)), "refused": refused}


async def give(chancy: Chancy) -> dict[str, object]:
    """Give pickles wherever a value goes: arguments, meta, results and errors."""
    echoed, failed = [], []
    for queue in EXECUTORS:
        echo, fail = (
            (target.double_async, target.fail_async)
            if queue == "async"
            else (target.double, target.fail)
        )
        for text in traps():
            echoed.append(echo.bind([text]).options(queue=queue, meta={text: text}))
            failed.append(fail.bind(text).options(queue=queue))
    jobs = await chancy.wait_for_jobs(await chancy.push_many(echoed), timeout=60)
    same = all(job.result() == [t, t] for job in jobs for t in [job.kwargs["value"][0]])
    jobs = await chancy.wait_for_jobs(await chancy.push_many(failed), timeout=60)
    kept = {(job.state.value, job.errors[0].type) for job in jobs}
    return {"pickles": len(echoed), "same": same, "kept": sorted(map(list, kept))}


async def main(count: int, first: int) -> None:
    async with Chancy(jobs=["target"]) as chancy:
        options = {"process": {"max_jobs_per_child": None}}
        for name in EXECUTORS:
            queue = Queue(name, executor=name, executor_options=options.get(name, {}))
            await chancy.declare(queue.options(concurrency=1 if name == "process" else 50))
        async with Worker(chancy, grace_period=5):
            pids = await warm(chancy)
            armed(True)
            told = await attack(chancy, count, first) | await give(chancy)
            armed(False)
            seen = Path(os.environ["SEEN"])
            told["seen"] = seen.read_text().splitlines() if seen.exists() else []
            armed(True)  # and what is to be seen, is seen
            for queue in ("thread", "process"):
                reference = await chancy.push(target.control.bind().options(queue=queue))
                await chancy.wait_for_job(reference, timeout=20)
            armed(False)
            told |= {"pids": pids, "control": seen.read_text().splitlines()}
            left = await chancy.list_jobs(JobFilter(func=["target.double", "target.double_async"]))
            told["live"] = [job.func for job in left.jobs if not job.state.finished]
    print(json.dumps(told))


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[2]), sys.argv[1] == "trio", backend=sys.argv[1])
