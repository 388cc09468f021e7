"""What is asked in a transaction of the caller's is committed with it, or never was."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest
from psycopg.rows import dict_row

from chancy import Chancy, Queue, QueuedJob, State, Worker
from chancy_core.errors import InvalidValue, JobNotFound, LeaseLost, QueueNotFound
from chancy_core.postgres import Connection
from chancy_core.store import statements
from chancy_core.within import Within
from tests.stage import Stage, connect, play

pytestmark = pytest.mark.anyio

Ask = Callable[..., Awaitable[Any]]


@asynccontextmanager
async def of_ours(dsn: str, method: str) -> AsyncIterator[tuple[Any, Ask, Ask]]:
    async with await Connection.connect(dsn) as conn:
        chancy = Chancy(dsn)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            return await getattr(chancy, method)(conn, *args, **kwargs)

        yield conn, ask, lambda commit: conn.commit() if commit else conn.rollback()


@asynccontextmanager
async def of_psycopg(dsn: str, method: str, **how: Any) -> AsyncIterator[tuple[Any, Ask, Ask]]:
    """A synchronous connection, used as a program without an event loop would use it."""
    with psycopg.connect(dsn, **how) as conn:
        chancy = Chancy(dsn)

        async def ask(*args: Any, **kwargs: Any) -> Any:
            return getattr(chancy, method)(conn, *args, **kwargs)

        async def end(commit: bool) -> None:
            if commit:
                conn.commit()
            else:
                conn.rollback()

        yield conn, ask, end


KINDS: dict[str, Any] = {
    "ours": of_ours,
    "psycopg": of_psycopg,
    "rows are dicts": lambda dsn, method: of_psycopg(dsn, method, row_factory=dict_row),
    "client-side binding": lambda dsn, method: of_psycopg(
        dsn, method, cursor_factory=psycopg.ClientCursor
    ),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]


async def test_a_push_that_is_rolled_back_never_was(chancy: Chancy, dsn: str, kind: Any):
    async with kind(dsn, "push_ex") as (_, push, end):
        reference = await push(play.bind(stage=dsn, number=1))
        with pytest.raises(JobNotFound):
            await chancy.get_job(reference)
        await end(False)
    with pytest.raises(JobNotFound):
        await chancy.get_job(reference)


async def test_a_push_that_is_committed_runs(chancy: Chancy, dsn: str, stage: Stage, kind: Any):
    stage.go.set()
    async with Worker(chancy):
        async with kind(dsn, "push_ex") as (_, push, end):
            reference = await push(play.bind(stage=dsn, number=7), wake="notify")
            await end(True)
        done = await chancy.wait_for_job(reference, timeout=20)
    assert done.result() == 7


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_psycopgs_own_asynchronous_connection(chancy: Chancy, dsn: str):
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as conn:
        first = await chancy.push_ex(conn, play.bind(stage=dsn, number=1))
        async with conn.cursor() as cursor:
            second = await chancy.push_ex(cursor, play.bind(stage=dsn, number=2))
            assert (await chancy.get_job_ex(cursor, second)).kwargs["number"] == 2
        await conn.commit()
    assert len(await chancy.get_jobs([first, second])) == 2


async def test_a_cursor_keeps_what_it_was_reading(chancy: Chancy, dsn: str):
    with psycopg.connect(dsn) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT * FROM generate_series(1, 3)")
        assert cursor.fetchone() == (1,)
        chancy.push_ex(cursor, play.bind(stage=dsn, number=1))
        assert cursor.fetchall() == [(2,), (3,)]


async def test_many_are_pushed_with_their_keys_held(chancy: Chancy, dsn: str, kind: Any):
    jobs = [play.bind(stage=dsn, number=n).options(unique_key=f"k{n % 3}") for n in range(5)]
    async with kind(dsn, "push_many_ex") as (_, push, end):
        references = await push(iter(jobs), batch_size=2)
        await end(True)
    assert [r.new for r in references] == [True, True, True, False, False]
    assert references[0] == references[3]
    assert len(await chancy.get_jobs(references)) == 3


@asynccontextmanager
async def listening(dsn: str) -> AsyncIterator[Callable[[], Awaitable[list[tuple[str, str]]]]]:
    names = Chancy(dsn).names
    async with await Connection.connect(dsn, autocommit=True) as conn:
        for channel in (names.channel, names.answers):
            await conn.execute(f'LISTEN "{channel}"')

        async def told() -> list[tuple[str, str]]:
            """All that was sent before now."""
            await conn.execute("SELECT pg_notify(%s, 'now')", [names.channel])
            heard: list[tuple[str, str]] = []
            with anyio.fail_after(10):
                while (names.channel, "now") not in heard:
                    heard += [(n.channel, n.payload) for n in await conn.notified()]
            heard.remove((names.channel, "now"))
            return [(channel[len(names.channel) :], payload) for channel, payload in heard]

        yield told


async def test_a_push_notifies_inside_of_the_transaction_only_if_asked(dsn: str):
    async with listening(dsn) as told:
        with psycopg.connect(dsn) as conn:
            Chancy(dsn).push_ex(conn, play.bind(stage=dsn, number=1))
            Chancy(dsn).push_many_ex(conn, [play.bind(stage=dsn, number=1)])
            conn.commit()
            assert await told() == []
            Chancy(dsn).push_ex(conn, play.bind(stage=dsn, number=1), wake="notify")
            assert await told() == []
            conn.commit()
            assert await told() == [("", "queue.pushed:q")]
            quiet = Chancy(dsn, notifications=False)
            quiet.push_ex(conn, play.bind(stage=dsn, number=1), wake="notify")
            quiet.notify_ex(conn, "acme.refresh")
            conn.commit()
            assert await told() == []
            Chancy(dsn).notify_ex(conn, "acme.refresh", "a:b")
            conn.commit()
            assert await told() == [("", "acme.refresh:a:b")]


async def test_a_queue_changes_with_the_transaction_and_workers_are_told(dsn: str):
    chancy = Chancy(dsn)
    async with listening(dsn) as told, chancy:
        with psycopg.connect(dsn) as conn:
            chancy.declare_ex(conn, Queue("mail", executor="async"))
            with pytest.raises(QueueNotFound):
                await chancy.get_queue("mail")
            conn.commit()
            chancy.pause_queue_ex(conn, "mail", resume_at=timedelta(hours=1))
            assert (await chancy.get_queue("mail")).state is Queue.State.ACTIVE
            conn.commit()
            paused = await chancy.get_queue("mail")
            assert paused.state is Queue.State.PAUSED
            assert paused.resume_at is not None
            chancy.resume_queue_ex(conn, "mail")
            chancy.push_ex(conn, play.bind(stage=dsn, number=1).options(queue="mail"))
            conn.commit()
            assert chancy.delete_queue_ex(conn, "mail") == 1
            conn.commit()
        events = ["declared", "paused", "resumed", "deleted"]
        assert await told() == [("", f"queue.{event}:mail") for event in events]


async def claimed(chancy: Chancy) -> QueuedJob:
    """Claim the only job, as a worker that somebody plays."""
    worker = uuid4()
    announced = {"name": "w", "hostname": "h", "pid": 1, "tags": ["*"], "lease": 60.0}
    await chancy.store.run(statements.announce(chancy.names, worker, **announced))
    (claim,) = await chancy.store.run(statements.claim(chancy.names, worker, {"q": 1}))
    return claim.job


async def test_completed_with_the_transaction(chancy: Chancy, dsn: str, kind: Any):
    reference = await chancy.push(play.bind(stage=dsn, number=1))
    job = await claimed(chancy)
    async with kind(dsn, "complete_ex") as (_, complete, end):
        await complete(job, {"sent": 1})
        await end(False)
        assert (await chancy.get_job(reference)).state is State.RUNNING
        await complete(job, {"sent": 2})
        assert (await chancy.get_job(reference)).state is State.RUNNING
        await end(True)
        done = await chancy.get_job(reference)
        assert (done.state, done.result(), done.attempts) == (State.SUCCEEDED, {"sent": 2}, 1)
        with pytest.raises(LeaseLost, match="must not be committed"):
            await complete(job, 3)


async def test_only_who_holds_the_current_lease_may_complete(chancy: Chancy, dsn: str):
    reference = await chancy.push(play.bind(stage=dsn, number=1))
    waiting = await chancy.get_job(reference)
    job = await claimed(chancy)
    conn = await connect(dsn)
    async with conn:
        await conn.execute("UPDATE chancy_jobs SET lease_id = gen_random_uuid()")
        for stale in (waiting, job):
            with pytest.raises(LeaseLost):
                await chancy.complete_ex(conn, stale)
    assert (await chancy.get_job(reference)).state is State.RUNNING


async def test_those_who_wait_are_told_of_a_completion(chancy: Chancy, dsn: str):
    reference = await chancy.push(play.bind(stage=dsn, number=1))
    job = await claimed(chancy)
    async with listening(dsn) as told:
        with psycopg.connect(dsn) as conn:
            chancy.complete_ex(conn, job)
        assert ("!", f"job.finished:{reference}") in await told()


async def test_cancelled_retried_and_purged_with_the_transaction(chancy: Chancy, dsn: str):
    reference = await chancy.push(play.bind(stage=dsn, number=1))
    with psycopg.connect(dsn) as conn:
        assert chancy.cancel_job_ex(conn, reference).what == "cancelled"
        assert (await chancy.get_job(reference)).state is State.PENDING
        conn.commit()
        assert (await chancy.get_job(reference)).state is State.CANCELLED
        (answer,) = chancy.retry_jobs_ex(conn, [reference])
        assert (answer.id, answer.done, answer.what) == (reference.id, True, "pending")
        conn.commit()
        assert (await chancy.get_job(reference)).state is State.PENDING
        assert [a.what for a in chancy.purge_jobs_ex(conn, [reference.id])] == ["purged"]
        conn.rollback()
        assert chancy.get_job_ex(conn, str(reference)).state is State.PENDING


@pytest.mark.parametrize("wrong", [None, "postgresql://", object()])
async def test_a_wrong_connection_is_refused_with_what_may_be_given(dsn: str, wrong: Any):
    with pytest.raises(InvalidValue, match=r"Connection, Cursor, AsyncConnection or AsyncCursor"):
        Chancy(dsn).push_ex(wrong, play.bind(stage=dsn, number=1))


async def test_wrong_values_are_refused_before_anything_is_sent(dsn: str):
    chancy = Chancy(dsn)
    with psycopg.connect(dsn) as conn:
        with pytest.raises(InvalidValue, match="wake must be 'poll' or 'notify'"):
            chancy.push_ex(conn, play.bind(stage=dsn, number=1), wake="shout")
        with pytest.raises(InvalidValue, match="time zone"):
            chancy.pause_queue_ex(conn, "q", resume_at=datetime(2030, 1, 1))  # noqa: DTZ001
        with pytest.raises(InvalidValue, match="named by the Reference"):
            chancy.cancel_job_ex(conn, "no uuid")
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with pytest.raises(QueueNotFound):
            chancy.resume_queue_ex(conn, "nowhere")


def test_the_methods_say_what_they_take():
    import inspect

    assert str(inspect.signature(Within.push_ex)).startswith("(conn, /, job:")
    assert "polling_interval" in (Within.push_ex.__doc__ or "")
