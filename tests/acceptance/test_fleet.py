"""Four workers, a thousand running jobs: a change of their queue is in effect within a second."""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio
import psycopg
import pytest

from chancy import Chancy, Queue, State, Worker
from chancy_core import discovery
from tests.crowd import Crowd, Loud, crowds, play

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

#: Seconds from a commit until every worker follows: with notifications, and without.
PROMISED = 1.0
UNTOLD = 5.0


@pytest.fixture
def loud(monkeypatch):
    """The executor `Loud`, as if a package offered it."""
    load = discovery.load
    monkeypatch.setattr(
        discovery, "load", lambda group, name: Loud if name == "loud" else load(group, name)
    )


@asynccontextmanager
async def fleet(chancy: Chancy, dsn: str) -> AsyncIterator[Crowd]:
    """Four workers that have begun; half of them are tagged as such."""
    crowd = Loud.crowd = crowds[dsn] = Crowd(chancy, dsn)
    async with AsyncExitStack() as workers:
        for n in range(4):
            tags = {"half=a" if n < 2 else "half=b"}
            worker = Worker(chancy, name=f"w{n}", tags=tags, grace_period=0.1)
            await workers.enter_async_context(worker)
        await crowd.know_workers()
        yield crowd
    del crowds[dsn]


def push_silently(dsn: str, chancy: Chancy, count: int) -> None:
    """Push jobs of which no worker is told."""
    with psycopg.connect(dsn) as conn:
        chancy.push_many_ex(conn, [play.bind(crowd=dsn)] * count)


async def finished(crowd: Crowd) -> Counter[tuple[State, int]]:
    """Let all jobs end; return how many of those pushed, and not purged, ended how."""
    crowd.end()
    with anyio.fail_after(30):
        while True:
            jobs = await crowd.chancy.get_jobs(crowd.references)
            if not any(job.state is State.RUNNING for job in jobs):
                return Counter((job.state, job.claims) for job in jobs)
            await anyio.sleep(0.05)


async def test_every_worker_follows_each_change_within_a_second(chancy, dsn, loud):
    queue = Queue("q", executor="async", concurrency=250, polling_interval=3600)
    await chancy.declare(queue, upsert=True)
    async with fleet(chancy, dsn) as crowd:

        async def change(**settings) -> None:
            nonlocal queue
            queue = queue.options(**settings)
            await chancy.declare(queue, upsert=True)

        async def shows(expected: list[int], what: str, within: float = PROMISED) -> None:
            await crowd.shows(crowd.running, expected, within, what)

        async def stays(expected: list[int], what: str, seconds: float = 0.2) -> None:
            """Nothing begins, and what runs goes on."""
            await anyio.sleep(seconds)
            assert crowd.running() == expected, what

        await crowd.push(1000)
        await shows([250] * 4, "a thousand jobs", 20)

        await crowd.push(20)
        await change(concurrency=255)
        await shows([255] * 4, "more slots")

        await crowd.push(80)
        await change(concurrency=240)
        await stays([255] * 4, "fewer slots interrupt nothing", PROMISED)
        crowd.end(20)
        await shows([240] * 4, "fewer slots")
        await stays([240] * 4, "fewer slots")
        await change(concurrency=255)
        await shows([255] * 4, "more slots, after fewer")

        await change(concurrency=265, polling_interval=0.1)
        await anyio.sleep(PROMISED / 2)
        await anyio.to_thread.run_sync(push_silently, dsn, chancy, 40)
        await shows([265] * 4, "more slots and a shorter polling interval", PROMISED / 2)
        crowd.end(10)
        await shows([255] * 4, "idle slots")
        await anyio.to_thread.run_sync(push_silently, dsn, chancy, 40)
        await shows([265] * 4, "a polling interval of 0.1 s")
        crowd.end(10)
        await shows([255] * 4, "idle slots")

        # The idle slots go to the new executor at once, while the rest drains.
        for settings in (
            {"executor": "loud", "executor_options": {"volume": 1}, "polling_interval": 3600},
            {"executor_options": {"volume": 2}},
        ):
            await change(**settings)
            volume = queue.executor_options["volume"]
            await crowd.shows(
                lambda v=volume: crowd.opened.count(v), 4, PROMISED, f"an executor of {settings}"
            )
            await crowd.push(40)
            await shows([265] * 4, f"jobs on an executor of {settings}")
            assert [crowd.loud[id_, volume] for id_ in crowd.workers] == [10] * 4
            crowd.end(10)
            await shows([255] * 4, "idle slots")

        await chancy.pause_queue("q")
        await crowd.push(40)
        await stays([255] * 4, "a pause", PROMISED)
        await chancy.resume_queue("q")
        await shows([265] * 4, "the end of a pause")

        await change(tags={"half=a"})
        await stays([265] * 4, "tags that match no more interrupt nothing", PROMISED)
        crowd.end(10)
        await crowd.push(40)
        await shows([265, 265, 255, 255], "tags of two workers")
        await stays([265, 265, 255, 255], "tags of two workers")
        await change(tags={".*"})
        await shows([265] * 4, "tags of all workers, whose slots are counted as they were")

        await crowd.push(40)
        assert await chancy.delete_queue("q", purge_jobs=True) == 40
        crowd.end(10)
        await crowd.push(40)
        await stays([255] * 4, "deletion", PROMISED)
        states = await finished(crowd)
    assert states == {(State.SUCCEEDED, 1): len(crowd.references) - 80, (State.PENDING, 0): 40}


async def test_every_worker_follows_within_five_seconds_without_notifications(dsn, loud):
    names = ("fewer", "more", "moved", "resumed", "tagged")
    async with Chancy(dsn, notifications=False) as chancy:
        queues = {
            name: Queue(name, executor="async", concurrency=1, polling_interval=3600)
            for name in names
        }
        queues["fewer"] = queues["fewer"].options(concurrency=2)
        queues["tagged"] = queues["tagged"].options(tags={"nobody"})
        for queue in queues.values():
            await chancy.declare(queue)
        await chancy.pause_queue("resumed")
        crowds[dsn] = crowd = Crowd(chancy, dsn)
        for name in names:
            await crowd.push(16 if name == "fewer" else 8, name)
        references = crowd.references

        def running() -> dict[str, list[int]]:
            return {name: crowd.running(name) for name in names}

        async with fleet(chancy, dsn) as crowd:
            crowd.references = references
            begun = {"fewer": 2, "more": 1, "moved": 1, "resumed": 0, "tagged": 0}
            await crowd.shows(running, {n: [c] * 4 for n, c in begun.items()}, 10, "the beginning")
            await chancy.declare(queues["fewer"].options(concurrency=1), upsert=True)
            await chancy.declare(queues["more"].options(concurrency=2), upsert=True)
            moved = queues["moved"].options(executor="loud", executor_options={"volume": 1})
            await chancy.declare(moved.options(concurrency=2), upsert=True)
            await chancy.declare(queues["tagged"].options(tags={".*"}), upsert=True)
            await chancy.resume_queue("resumed")
            committed = time.monotonic()
            follow = {"fewer": 2, "more": 2, "moved": 2, "resumed": 1, "tagged": 1}
            await crowd.shows(running, {n: [c] * 4 for n, c in follow.items()}, UNTOLD, "changes")
            assert [crowd.loud[id_, 1] for id_ in crowd.workers] == [1] * 4
            await anyio.sleep(committed + UNTOLD - time.monotonic())
            crowd.end(2, "fewer")
            follow["fewer"] = 1
            await crowd.shows(running, {n: [c] * 4 for n, c in follow.items()}, 1, "fewer slots")
            await anyio.sleep(0.2)
            assert crowd.running("fewer") == [1] * 4
