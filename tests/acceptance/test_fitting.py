"""A function that the executor of its queue cannot run is refused where it is pushed."""

import psycopg
import pytest

from chancy import Chancy, Job, Queue, State, Worker, job
from chancy_core.errors import InvalidJob, Unsupported
from chancy_core.limit import Limit, LimitKind
from tests.stage import connect

pytestmark = pytest.mark.anyio


@job(name="fitting.plain", queue="fit")
def plain() -> str:
    return "plain"


@job(name="fitting.awaited", queue="fit")
async def awaited() -> str:
    return "awaited"


@job(name="fitting.killed", queue="fit", needs={"hard-kill", "memory-limit"})
async def killed() -> str:
    return "killed"


ASYNC = Queue("fit", executor="async")
THREADS = Queue("fit", executor="thread")
PROCESSES = Queue("fit", executor="process")


async def stored(dsn: str) -> int:
    async with await connect(dsn) as conn:
        cursor = await conn.execute("SELECT count(*) FROM chancy_jobs")
        return (await cursor.fetchone() or (0,))[0]


async def test_what_a_declared_queue_cannot_run_is_refused(chancy: Chancy, dsn: str):
    await chancy.declare(ASYNC, upsert=True)
    with pytest.raises(Unsupported, match=r"fitting\.plain is a plain function, which .* 'fit'"):
        await chancy.push(plain)
    with pytest.raises(Unsupported, match=r"hard-kill and memory-limit, and .* only async"):
        await chancy.push(killed)
    limited = awaited.bind().with_limits([Limit(LimitKind.MEMORY, 1e9)])
    with pytest.raises(Unsupported, match="memory limit"):
        await chancy.push(limited)
    with pytest.raises(Unsupported):
        await chancy.push_many([awaited.bind(), plain.bind()])
    with psycopg.connect(dsn) as conn, pytest.raises(Unsupported):
        chancy.push_ex(conn, plain)
    assert await stored(dsn) == 0
    await chancy.push_many([awaited.bind(), Job("somebody.elses", queue="fit")])
    assert await stored(dsn) == 2


def test_threads_are_refused_alike(dsn: str):
    with Chancy(dsn) as chancy:
        chancy.sync_declare(ASYNC, upsert=True)
        with pytest.raises(Unsupported):
            chancy.sync_push(plain)
        chancy.sync_push(awaited)


async def test_what_has_changed_meanwhile_is_known_before_anything_is_refused(
    chancy: Chancy, dsn: str
):
    await chancy.declare(ASYNC, upsert=True)
    async with Chancy(dsn) as other:
        await other.declare(PROCESSES, upsert=True)
    await chancy.push_many([plain.bind(), killed.bind()])
    async with Chancy(dsn) as other:
        await other.delete_queue("fit")
    await chancy.push(plain)  # nobody knows who will run it


async def test_a_function_that_needs_more_is_not_run(chancy: Chancy, dsn: str):
    async with Chancy(dsn) as producer:  # which knows no queue
        pushed = [await producer.push(each) for each in (killed, plain)]
    await chancy.declare(THREADS, upsert=True)
    async with Worker(chancy):
        first, second = await chancy.wait_for_jobs(pushed, timeout=20)
    assert (first.state, first.errors[-1].kind) == (State.FAILED, "unsupported")
    assert "needs an executor with hard-kill and memory-limit" in first.errors[-1].message
    assert second.result() == "plain"


async def test_a_function_that_has_what_it_needs_is_run(chancy: Chancy):
    await chancy.declare(PROCESSES, upsert=True)
    reference = await chancy.push(killed)
    async with Worker(chancy):
        done = await chancy.wait_for_job(reference, timeout=30)
    assert done.result() == "killed"


def test_needs_are_names_of_capabilities():
    with pytest.raises(InvalidJob, match=r"'fast'; there are sync, async, hard-kill, memory-limit"):

        @job(name="fitting.never", needs="fast")
        def never() -> None: ...
