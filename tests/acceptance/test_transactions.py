"""What is asked within a transaction of the caller's is committed with the rest, or never was."""

from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from chancy import INJECTED, Chancy, Queue, QueuedJob, State, Worker, job
from chancy_core.errors import InvalidJob, InvalidValue, LeaseLost, QueueNotFound
from chancy_core.hint import Hint
from chancy_core.postgres import Connection
from chancy_core.store import statements
from chancy_core.transaction import run_sync
from tests.stage import connect, play, push

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def transaction(dsn: str, kind: str, *, commit: bool):
    """A connection of the kind that is asked for, and a way to wait for its answers."""
    factory = psycopg.ClientCursor if kind == "django" else psycopg.Cursor
    if kind == "ours":
        conn = await Connection.connect(dsn)
        yield conn, awaited
        await (conn.commit() if commit else conn.rollback())
        await conn.close()
    else:
        with psycopg.connect(dsn, row_factory=dict_row, cursor_factory=factory) as sync:
            yield (sync.cursor() if kind == "cursor" else sync), at_once
            sync.commit() if commit else sync.rollback()


async def awaited(answer):
    return await answer


async def at_once(answer):
    return answer


KINDS = ["sync", "cursor", "django", "ours"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_push_is_there_when_it_is_committed(chancy, dsn, stage, kind):
    stage.go.set()
    asked = [play.bind(stage=dsn, number=n) for n in range(3)]
    async with Worker(chancy):
        async with transaction(dsn, kind, commit=True) as (conn, answer):
            first = await answer(chancy.push_ex(conn, asked[0], wake="notify"))
            rest = await answer(chancy.push_many_ex(conn, asked[1:], wake="notify"))
            assert await chancy.get_jobs([first, *rest]) == []
        jobs = await chancy.wait_for_jobs([first, *rest], timeout=10)
    assert [job.state for job in jobs] == [State.SUCCEEDED] * 3
    assert sorted(stage.ended) == [0, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_push_never_was_when_it_is_rolled_back(chancy, dsn, kind):
    async with transaction(dsn, kind, commit=False) as (conn, answer):
        reference = await answer(chancy.push_ex(conn, play.bind(stage=dsn, number=1)))
    assert await chancy.get_jobs([reference]) == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # which is all that it runs on
async def test_psycopgs_own_asynchronous_connection_will_do(chancy, dsn):
    async with await psycopg.AsyncConnection.connect(dsn, row_factory=dict_row) as conn:
        reference = await chancy.push_ex(conn, play.bind(stage=dsn, number=1))
        await conn.commit()
    assert (await chancy.get_job(reference)).state is State.PENDING


async def test_a_hint_in_the_callers_transaction_leaves_its_commit_as_it_was(chancy, dsn):
    """Only one that is alone in its transaction does not wait for the disk."""
    with psycopg.connect(dsn) as conn:
        conn.execute("SET synchronous_commit = on")
        chancy.push_ex(conn, play.bind(stage=dsn, number=1), wake="notify")
        assert conn.execute("SHOW synchronous_commit").fetchone() == ("on",)
        conn.commit()
        hints = [Hint("acme.refresh", "x")]
        run_sync(conn, statements.notify(chancy.names, hints, alone=True))
        assert conn.execute("SHOW synchronous_commit").fetchone() == ("off",)
        conn.commit()
        assert conn.execute("SHOW synchronous_commit").fetchone() == ("on",)


async def test_a_chancy_that_is_not_open_will_do(dsn):
    with psycopg.connect(dsn) as conn:
        reference = Chancy(dsn).push_ex(conn, play.bind(stage=dsn, number=1))
    async with Chancy(dsn) as chancy:
        assert (await chancy.get_job(reference)).queue == "q"


async def test_a_held_key_is_referred_to_within_the_transaction_too(chancy, dsn):
    asked = play.bind(stage=dsn, number=1).options(unique_key="k")
    with psycopg.connect(dsn) as conn:
        first, second = chancy.push_many_ex(conn, [asked, asked])
        assert (first.new, second.new, first == second) == (True, False, True)


async def test_what_cannot_be_is_said_where_it_is_asked(chancy, dsn):
    asked = play.bind(stage=dsn, number=1)
    with pytest.raises(InvalidValue, match="psycopg Connection or Cursor"):
        chancy.push_ex("a connection", asked)
    with psycopg.connect(dsn) as conn:
        with pytest.raises(InvalidValue, match='"poll" or "notify"'):
            chancy.push_ex(conn, asked, wake="loudly")
        with pytest.raises(InvalidJob, match="takes a Job"):
            chancy.push_ex(conn, play.func)
        with pytest.raises(InvalidJob, match="number"):
            chancy.push_ex(conn, asked.with_kwargs(stage="s"))


async def test_queues_change_when_it_is_committed(chancy, dsn):
    with psycopg.connect(dsn) as conn:
        chancy.declare_ex(conn, Queue("new", executor="async"))
        chancy.pause_queue_ex(conn, "q")
        assert [queue.name for queue in await chancy.get_all_queues()] == ["q"]
        conn.commit()
        assert (await chancy.get_queue("q")).state is Queue.State.PAUSED
        chancy.resume_queue_ex(conn, "q")
        assert chancy.delete_queue_ex(conn, "new") == 0
    assert [(q.name, q.state) for q in await chancy.get_all_queues()] == [("q", "active")]


async def test_queues_are_seen_as_the_transaction_sees_them(chancy, dsn):
    with psycopg.connect(dsn) as conn:
        chancy.declare_ex(conn, Queue("new", executor="async", concurrency=7))
        assert chancy.get_queue_ex(conn, "new").concurrency == 7
        assert [queue.name for queue in chancy.get_all_queues_ex(conn)] == ["new", "q"]
        with pytest.raises(QueueNotFound):
            chancy.get_queue_ex(conn, "nowhere")
        with pytest.raises(QueueNotFound):
            await chancy.get_queue("new")
    async with await Connection.connect(dsn) as own:
        assert (await chancy.get_queue_ex(own, "new")).concurrency == 7
        assert len(await chancy.get_all_queues_ex(own)) == 2


async def test_bulk_calls_answer_when_they_are_committed(chancy, dsn):
    references = await push(chancy, dsn, 2)
    with psycopg.connect(dsn) as conn:
        answers = chancy.cancel_jobs_ex(conn, references)
        assert [(answer.done, answer.what) for answer in answers] == [(True, "cancelled")] * 2
        assert (await chancy.get_job(references[0])).state is State.PENDING
        conn.commit()
        assert (await chancy.get_job(references[0])).state is State.CANCELLED
        assert [answer.done for answer in chancy.retry_jobs_ex(conn, references)] == [True, True]
        conn.commit()
        assert [answer.done for answer in chancy.purge_jobs_ex(conn, references)] == [True, True]
    assert await chancy.get_jobs(references) == []


@job(name="transactions.pay", queue="q", max_attempts=3)
async def pay(dsn: str, *, commit: bool, me: QueuedJob = INJECTED) -> str:
    """Write a payment, and the end of this job, in one transaction."""
    async with await Connection.connect(dsn) as conn:
        await conn.execute("INSERT INTO payments VALUES (%s)", [me.id])
        await Chancy(dsn).complete_ex(conn, me, {"paid": True})
        await (conn.commit() if commit else conn.rollback())
    raise RuntimeError("too late to fail")


@pytest.mark.parametrize("commit", [True, False])
async def test_a_job_that_completes_itself_happens_once(chancy, dsn, commit):
    async with await connect(dsn) as conn:
        await conn.execute("CREATE TABLE payments (job uuid)")
        reference = await chancy.push(pay.bind(dsn, commit=commit))
        async with Worker(chancy):
            done = await chancy.wait_for_job(reference, timeout=10)
        cursor = await conn.execute("SELECT count(*) FROM payments")
        assert await cursor.fetchone() == (int(commit),)
    if commit:
        assert (done.state, done.result(), done.claims) == (State.SUCCEEDED, {"paid": True}, 1)
    else:
        assert (done.state, done.attempts) == (State.FAILED, 3)


async def test_who_lost_the_lease_cannot_complete(chancy, dsn):
    (reference,) = await push(chancy, dsn, 1)
    async with await connect(dsn) as conn:
        text = "UPDATE chancy_jobs SET state = 'running', worker = %s, lease_id = %s"
        await conn.execute(text, [uuid4(), uuid4()])
        held = await chancy.get_job(reference)
        await conn.execute(text, [uuid4(), uuid4()])
    with psycopg.connect(dsn) as conn, pytest.raises(LeaseLost, match="must not be committed"):
        chancy.complete_ex(conn, held)
    assert (await chancy.get_job(reference)).state is State.RUNNING
