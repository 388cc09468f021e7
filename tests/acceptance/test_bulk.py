"""Jobs that are there: listed, cancelled, retried and purged, by reference or by filter."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest
from psycopg.errors import CheckViolation

from chancy import JobFilter, Queue, State, Worker
from chancy_core.errors import InvalidValue, QueueNotFound
from tests.stage import connect, play, push
from tests.told import listening

pytestmark = pytest.mark.anyio


async def test_cancelling_in_every_state(chancy, dsn):
    later = datetime.now(UTC) + timedelta(hours=1)
    (scheduled,) = await push(chancy, dsn, 1, scheduled_at=later)
    running, pending = await push(chancy, dsn, 2)
    async with await connect(dsn) as conn:
        await conn.execute(
            "UPDATE chancy_jobs SET state = 'running', worker = %s, lease_id = %s WHERE id = %s",
            [uuid4(), uuid4(), running.id],
        )
    unknown = uuid4()
    asked = [scheduled, pending, running, unknown]
    first = await chancy.cancel_jobs(asked)
    assert [(answer.done, answer.what) for answer in first] == [
        (True, "cancelled"),
        (True, "cancelled"),
        (True, "cancelling"),
        (False, "there is no such job"),
    ]
    assert [answer.id for answer in first] == [scheduled.id, pending.id, running.id, unknown]
    again = await chancy.cancel_job(str(pending))
    assert (again.done, again.what) == (False, "it is cancelled")
    assert (await chancy.get_job(scheduled)).state is State.CANCELLED
    marked = await chancy.get_job(running)
    assert (marked.state, marked.cancelling) == (State.RUNNING, True)


async def test_cancelling_where_no_worker_has_run_for_long(chancy, dsn):
    """Nobody has made the history's partitions for these days."""
    async with await connect(dsn) as conn:
        await conn.execute(
            "CREATE OR REPLACE FUNCTION chancy_now() RETURNS timestamptz LANGUAGE sql STABLE "
            "AS $$ SELECT now() + interval '100 days' $$"
        )
        first, second = await push(chancy, dsn, 2)
        async with conn.transaction(force_rollback=True):
            with pytest.raises(CheckViolation, match="no partition"):
                await chancy.cancel_job_ex(conn, first)
    assert (await chancy.cancel_job(first)).what == "cancelled"
    assert (await chancy.cancel_job(second)).what == "cancelled"


async def test_retrying_answers_for_each(chancy, dsn):
    keyed = play.bind(stage=dsn, number=0).options(unique_key="k", max_attempts=2)
    old = await chancy.push(keyed)
    plain, live = await push(chancy, dsn, 2)
    await chancy.cancel_jobs([old, plain])
    await chancy.push(keyed)
    answers = await chancy.retry_jobs([old, plain, live, uuid4()])
    assert [(answer.done, answer.what) for answer in answers] == [
        (False, "a live job holds its unique key"),
        (True, "pending"),
        (False, "it is pending"),
        (False, "there is no such job"),
    ]
    back = await chancy.get_job(plain)
    assert (back.state, back.attempts, back.claims, back.finished_at) == ("pending", 0, 0, None)


async def test_retrying_brings_forward_what_waits_for_later(chancy, dsn, stage):
    stage.go.set()
    later = datetime.now(UTC) + timedelta(hours=1)
    (reference,) = await push(chancy, dsn, 1, scheduled_at=later, max_attempts=3, unique_key="k")
    async with await connect(dsn) as conn:
        await conn.execute("UPDATE chancy_jobs SET attempts = 2, claims = 4, crashes = 1")
    (earlier,) = await push(chancy, dsn, 1)
    await chancy._notifier.flush()  # what the pushes have to tell
    async with listening(dsn) as told:
        (answer,) = await chancy.retry_jobs([reference])
        heard: list[Any] = []
        with anyio.fail_after(10):
            while ("", "queue.pushed:q") not in heard:
                heard += await told()
    assert (answer.done, answer.what) == (True, "pending")
    job = await chancy.get_job(reference)
    assert (job.state, job.attempts, job.claims, job.crashes) == (State.PENDING, 0, 4, 0)
    assert job.scheduled_at < later
    async with await connect(dsn) as conn:
        line = await (await conn.execute("SELECT id FROM chancy_jobs ORDER BY seq")).fetchall()
    assert line == [(earlier.id,), (reference.id,)]
    async with Worker(chancy):
        done = await chancy.wait_for_jobs([earlier, reference], timeout=10)
    assert [(job.state, job.attempts) for job in done] == [(State.SUCCEEDED, 1)] * 2


async def test_purging_by_filter(chancy, dsn):
    references = await push(chancy, dsn, 5)
    await chancy.cancel_jobs(references[:3])
    answers = await chancy.purge_jobs(JobFilter(state="cancelled", queue="q"))
    assert {answer.id for answer in answers} == {reference.id for reference in references[:3]}
    assert {answer.what for answer in answers} == {"purged"}
    assert len(await chancy.get_jobs(references)) == 2


async def test_pages_lead_through_live_and_finished_jobs(chancy, dsn):
    references = await push(chancy, dsn, 7)
    await chancy.cancel_jobs(references[::2])
    seen, before = [], None
    while True:
        page = await chancy.list_jobs(limit=3, before=before)
        seen += [job.id for job in page.jobs]
        before = page.next
        if before is None:
            break
    assert seen == sorted((reference.id for reference in references), reverse=True)


@pytest.mark.parametrize(
    ("which", "numbers"),
    [
        (JobFilter(state=["cancelled", "failed"]), {0, 1}),
        (JobFilter(state="pending"), {2, 3}),
        (JobFilter(queue="other"), {3}),
        (JobFilter(func="life.play", unique_key=["a", "b"]), {1}),
        (JobFilter(meta={"tenant": 7}), {2}),
        (JobFilter(func="nobody"), set()),
        (JobFilter(retrying=True), {3}),
        (JobFilter(retrying=False, queue="q"), {0, 1, 2}),
        (JobFilter(created_after=datetime(2020, 1, 1, tzinfo=UTC)), {0, 1, 2, 3}),
        (JobFilter(created_before=datetime(2020, 1, 1, tzinfo=UTC)), set()),
    ],
)
async def test_filters(chancy, dsn, which, numbers):
    asked = [play.bind(stage=dsn, number=n) for n in range(4)]
    asked[1] = asked[1].options(unique_key="a")
    asked[2] = asked[2].options(meta={"tenant": 7, "x": 1})
    asked[3] = asked[3].options(queue="other")
    references = await chancy.push_many(asked)
    async with await connect(dsn) as conn:
        await conn.execute(
            "UPDATE chancy_jobs SET attempts = 1 WHERE (args->>'number')::int IN (1, 3)"
        )
    await chancy.cancel_jobs(references[:2])
    page = await chancy.list_jobs(which)
    assert {job.kwargs["number"] for job in page.jobs} == numbers


async def test_what_cannot_be_asked(chancy):
    with pytest.raises(InvalidValue, match="UUID"):
        await chancy.cancel_job("seven")
    with pytest.raises(InvalidValue, match="several references"):
        await chancy.cancel_jobs("seven")
    with pytest.raises(InvalidValue, match="time zone"):
        await chancy.pause_queue("q", resume_at=datetime(2030, 1, 1))  # noqa: DTZ001
    for odd in (timedelta.max, timedelta(-1), datetime.max.replace(tzinfo=UTC), "soon"):
        with pytest.raises(InvalidValue, match="up to 100 years"):
            await chancy.pause_queue("q", resume_at=odd)
    with pytest.raises(InvalidValue, match="1 to 10,000"):
        await chancy.list_jobs(limit=0)
    with pytest.raises(InvalidValue, match="succeeded"):
        JobFilter(state="done")
    with pytest.raises(InvalidValue, match="retrying must be a bool, not 'yes'"):
        JobFilter(retrying="yes")
    for call in (chancy.get_queue, chancy.pause_queue, chancy.resume_queue, chancy.delete_queue):
        with pytest.raises(QueueNotFound, match="'none'"):
            await call("none")


async def test_a_pause_is_seen_until_it_is_over(chancy):
    due = datetime.now(UTC) + timedelta(hours=1)
    await chancy.pause_queue("q", resume_at=due)
    queue = await chancy.get_queue("q")
    assert (queue.state, queue.resume_at) == (Queue.State.PAUSED, due)
    await chancy.pause_queue("q", resume_at=timedelta(0))
    queue = await chancy.get_queue("q")
    assert (queue.state, queue.resume_at) == (Queue.State.ACTIVE, None)
