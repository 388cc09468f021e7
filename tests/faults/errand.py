"""All that an application asks for, once over: whatever stands between it and the database.

The release before this one runs it too, so nothing is used here that it does not have.

python -m tests.faults.errand asyncio|trio DSN
"""

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import psycopg
import pytest

from chancy import (
    INJECTED,
    Chancy,
    JobFailed,
    JobFilter,
    Queue,
    QueuedJob,
    State,
    Worker,
    job,
)

QUEUE = Queue("errand", executor="async", concurrency=4, polling_interval=0.1)
#: Three a second.
SLOW = Queue("slow", executor="async", polling_interval=0.1, rate_limit=3, rate_limit_window=1.0)
SOON = 20.0


@job(name="errand.answer", queue="errand")
async def answer(number: int) -> int:
    return number


@job(name="errand.first_fail", queue="errand", max_attempts=2)
async def first_fail(*, me: QueuedJob = INJECTED) -> int:
    if me.attempts == 0:
        raise RuntimeError("the first attempt fails")
    return me.attempts


@job(name="errand.fail", queue="errand")
async def fail() -> None:
    raise RuntimeError("it always does")


@job(name="errand.stay", queue="errand")
async def stay() -> None:
    await anyio.sleep_forever()


async def pushes(chancy: Chancy, dsn: str) -> None:
    """So many that each statement is repeated as often as makes the driver prepare it."""
    for n in range(12):
        reference = await chancy.push(answer.bind(number=n))
        assert (await chancy.wait_for_job(reference, timeout=SOON)).result() == n
    many = await chancy.push_many(answer.bind(number=n) for n in range(50))
    found = await chancy.wait_for_jobs(many, timeout=SOON)
    assert [job.result() for job in found] == list(range(50))


async def _unique(chancy: Chancy, dsn: str) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    later = answer.bind(number=1).options(unique_key="one", scheduled_at=tomorrow)
    first, second = await chancy.push(later), await chancy.push(later)
    assert (first.new, second.new, first.id) == (True, False, second.id)
    assert (await chancy.retry_jobs([first]))[0].done
    assert (await chancy.wait_for_job(first, timeout=SOON)).result() == 1
    assert (await chancy.purge_jobs(JobFilter(unique_key="one")))[0].done


async def _failures(chancy: Chancy, dsn: str) -> None:
    again = await chancy.push(first_fail.bind())
    assert (await chancy.wait_for_job(again, timeout=SOON)).result() == 1
    bad = await chancy.push(fail.bind())
    with pytest.raises(JobFailed, match="it always does"):
        (await chancy.wait_for_job(bad, timeout=SOON)).result()
    assert [one.done for one in await chancy.retry_jobs([bad])] == [True]
    assert (await chancy.wait_for_job(bad, timeout=SOON)).state is State.FAILED


async def _cancelled(chancy: Chancy, dsn: str) -> None:
    reference = await chancy.push(stay.bind())
    await chancy.wait_for_job(reference, timeout=SOON, states={State.RUNNING})
    assert (await chancy.cancel_job(reference)).done
    assert (await chancy.wait_for_job(reference, timeout=SOON)).state is State.CANCELLED


async def _limited(chancy: Chancy, dsn: str) -> None:
    began = time.monotonic()
    jobs = [answer.bind(number=n).options(queue="slow") for n in range(6)]
    await chancy.wait_for_jobs(await chancy.push_many(jobs), timeout=SOON)
    assert time.monotonic() - began > 0.8


async def _paused(chancy: Chancy, dsn: str) -> None:
    await chancy.pause_queue("errand")
    reference = await chancy.push(answer.bind(number=1))
    with pytest.raises(TimeoutError):
        await chancy.wait_for_job(reference, timeout=0.5)
    await chancy.resume_queue("errand")
    assert (await chancy.wait_for_job(reference, timeout=SOON)).result() == 1


async def _twins(chancy: Chancy, dsn: str) -> None:
    """From a thread, and in a transaction of the caller's."""

    def push() -> list[Any]:
        pushed = [chancy.sync_push(answer.bind(number=n)) for n in range(12)]
        with psycopg.connect(dsn, prepare_threshold=None) as conn:
            pushed.append(chancy.push_ex(conn, answer.bind(number=12)))
            conn.commit()
            chancy.push_ex(conn, answer.bind(number=13))
            conn.rollback()
        found = chancy.sync_wait_for_jobs(pushed, timeout=SOON)
        return [job.result() for job in found]

    assert await anyio.to_thread.run_sync(push) == list(range(13))


Step = Callable[[Chancy, str], Awaitable[None]]
STEPS: Sequence[Step] = (pushes, _unique, _failures, _cancelled, _limited, _paused, _twins)


async def errand(dsn: str, steps: Sequence[Step] = STEPS, **known: Any) -> None:
    """Do it all on the database at *dsn*, with an application of its own and one worker."""
    async with Chancy(dsn, **known) as chancy:
        for queue in (QUEUE, SLOW):
            await chancy.declare(queue, upsert=True)
        async with Worker(chancy, name="errand", grace_period=2.0):
            for step in steps:
                with anyio.fail_after(60):
                    await step(chancy, dsn)
        assert not (await chancy.list_jobs(JobFilter(state=[State.PENDING, State.RUNNING]))).jobs
        assert not await chancy.get_all_workers()
    await anyio.to_thread.run_sync(chancy.sync_close)


if __name__ == "__main__":
    anyio.run(errand, sys.argv[2], backend=sys.argv[1])
