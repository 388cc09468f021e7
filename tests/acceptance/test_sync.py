"""The synchronous twins: from any thread but an event loop's own, and after a fork."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest
from anyio import to_thread

from chancy import Chancy, Job, JobFilter, Queue, QueuedJob, State, Worker
from chancy_core import embedded
from chancy_core.errors import (
    ChancyError,
    InvalidValue,
    JobNotFound,
    MigrationsNeeded,
    PoolClosed,
    PoolExhausted,
    QueueNotFound,
)
from chancy_core.postgres.threaded import ThreadedPool
from chancy_core.store import statements
from tests.pooled import past
from tests.stage import Stage, play

TWINS = sorted(name for name in dir(Chancy) if name.startswith("sync_"))
LATER = timedelta(hours=1)


def a_job(number: int = 1, **options: Any) -> Job:
    return play.bind(stage="s", number=number).options(**options)


@pytest.fixture
def closed(dsn: str) -> Iterator[Chancy]:
    """An application that is not opened."""
    chancy = Chancy(dsn)
    chancy.sync_declare(Queue("q", executor="async"))
    yield chancy
    chancy.sync_close()


def act(chancy: Chancy) -> None:
    """Use each twin once."""
    assert chancy.sync_declare(Queue("mail", executor="async", concurrency=3)).concurrency == 3
    assert chancy.sync_get_queue("mail").concurrency == 3
    assert "mail" in [queue.name for queue in chancy.sync_get_all_queues()]
    chancy.sync_pause_queue("mail", resume_at=LATER)
    assert chancy.sync_get_queue("mail").state is Queue.State.PAUSED
    chancy.sync_resume_queue("mail")
    assert chancy.sync_get_queue("mail").state is Queue.State.ACTIVE
    with pytest.raises(QueueNotFound):
        chancy.sync_resume_queue("nowhere")
    assert chancy.sync_get_all_workers() == []
    first = chancy.sync_push(a_job(queue="mail"))
    rest = chancy.sync_push_many((a_job(n, queue="mail") for n in range(5)), batch_size=2)
    assert chancy.sync_get_job(str(first)).state is State.PENDING
    assert chancy.sync_wait_for_job(first, timeout=5, states=["pending"]).state is State.PENDING
    assert len(chancy.sync_wait_for_jobs(rest, timeout=5, states=[State.PENDING])) == 5
    assert len(chancy.sync_get_jobs([first, *rest])) == 6
    page = chancy.sync_list_jobs(JobFilter(queue="mail"), limit=4)
    assert len(chancy.sync_list_jobs(JobFilter(queue="mail"), before=page.next).jobs) == 2
    assert chancy.sync_cancel_job(first).what == "cancelled"
    assert chancy.sync_wait_for_job(first, timeout=5).state is State.CANCELLED
    assert [answer.done for answer in chancy.sync_cancel_jobs(rest[:2])] == [True, True]
    assert len(chancy.sync_wait_for_jobs(rest[:2], timeout=5)) == 2
    assert [answer.what for answer in chancy.sync_retry_jobs([first])] == ["pending"]
    (raised,) = chancy.sync_reprioritize_jobs([first], by=7)
    assert (raised.done, raised.what) == (True, "priority 7")
    assert [answer.what for answer in chancy.sync_purge_jobs([first])] == ["purged"]
    with pytest.raises(JobNotFound):
        chancy.sync_get_job(first)
    chancy.sync_notify("acme.refresh")
    assert chancy.sync_delete_queue("mail") == 3
    chancy.sync_check()
    assert chancy.sync_is_up_to_date()


def test_each_twin_does_what_its_coroutine_does(closed: Chancy):
    act(closed)


def test_behind_a_block_and_open_again_after_it(dsn: str):
    with Chancy(dsn) as chancy:
        act(chancy)
    assert chancy.sync_get_all_queues() == []
    chancy.sync_close()
    chancy.sync_close()


@pytest.mark.anyio
async def test_each_twin_works_on_a_thread_of_an_asynchronous_program(chancy: Chancy):
    await to_thread.run_sync(act, chancy)
    await to_thread.run_sync(chancy.sync_close)


@pytest.mark.anyio
@pytest.mark.parametrize("name", [*TWINS, "__enter__"])
async def test_each_twin_is_refused_where_it_would_block_an_event_loop(dsn: str, name: str):
    chancy = Chancy(dsn)
    instead = {"__enter__": "async with chancy", "sync_close": "leave `async with"}
    awaited = instead.get(name, f"await chancy.{name.removeprefix('sync_')}(...)")
    with pytest.raises(ChancyError) as refused:
        getattr(chancy, name)()
    assert awaited in str(refused.value)
    assert hasattr(chancy, name.removeprefix("sync_")) or name in {*instead}


@pytest.mark.anyio
async def test_a_worker_runs_what_a_thread_pushes_and_it_is_waited_for(
    chancy: Chancy, dsn: str, stage: Stage
):
    stage.go.set()

    def produce() -> QueuedJob:
        reference = chancy.sync_push(play.bind(stage=dsn, number=5))
        return chancy.sync_wait_for_job(reference, timeout=20)

    async with Worker(chancy):
        done = await to_thread.run_sync(produce)
        await to_thread.run_sync(chancy.sync_close)
    assert done.result() == 5


def test_a_wait_ends_at_its_timeout(closed: Chancy):
    reference = closed.sync_push(a_job())
    with pytest.raises(TimeoutError, match=r"1 jobs had not ended after 0.05 s"):
        closed.sync_wait_for_job(reference, timeout=0.05)
    with pytest.raises(JobNotFound):
        closed.sync_wait_for_job(uuid4())


def test_what_cannot_be_is_refused(closed: Chancy):
    with pytest.raises(InvalidValue, match="push takes a Job"):
        closed.sync_push("play")
    with pytest.raises(InvalidValue, match="push takes a Job"):
        closed.sync_push_many([a_job(), None])
    assert closed.sync_list_jobs().jobs == []


def test_workers_are_told_with_one_statement_after_the_commit(closed: Chancy, dsn: str):
    with psycopg.connect(past(dsn), autocommit=True) as conn:
        conn.execute(f'LISTEN "{closed.names.channel}"')
        closed.sync_push(a_job())
        (told,) = conn.notifies(timeout=10, stop_after=1)
    assert told.payload == "queue.pushed:q"


def test_the_schema_is_brought_up_to_date(empty_dsn: str):
    chancy = Chancy(empty_dsn)
    with chancy:
        with pytest.raises(MigrationsNeeded):
            chancy.sync_check()
        assert not chancy.sync_is_up_to_date()
        chancy.sync_migrate()
        chancy.sync_check()
        assert chancy.sync_is_up_to_date()


def test_without_a_dsn_a_server_is_joined_and_kept_until_closed(
    dsn: str, monkeypatch: pytest.MonkeyPatch
):
    class Lease:
        left = 0

        def __init__(self) -> None:
            self.dsn = dsn

        def close(self) -> None:
            Lease.left += 1

    for name in ("CHANCY_DSN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(embedded, "join", Lease)
    chancy = Chancy()
    chancy.sync_get_all_queues()
    assert Lease.left == 0
    chancy.sync_close()
    assert Lease.left == 1


def terminate(dsn: str, chancy: Chancy) -> None:
    """End all connections but our own."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def test_connections_that_were_cut_while_idle_are_replaced(closed: Chancy, dsn: str):
    closed.sync_get_all_queues()
    terminate(dsn, closed)
    assert closed.sync_get_all_queues()
    terminate(dsn, closed)
    closed.sync_push(a_job())
    assert len(closed.sync_list_jobs().jobs) == 1


def test_a_push_whose_commit_was_cut_is_not_begun_twice(
    closed: Chancy, dsn: str, monkeypatch: pytest.MonkeyPatch
):
    """The first try arrives, and its job has come and gone before the push is repeated."""
    run, pushes = closed._run_sync, []

    def cut(statement: Any) -> Any:
        answer = run(statement)
        if b"INSERT INTO" in statement.text and not pushes:
            pushes.append(answer)
            with psycopg.connect(dsn, autocommit=True) as conn:
                worker = uuid4()
                for made in (
                    statements.announce(
                        closed.names, worker, name="w", hostname="h", pid=1, tags=["*"], lease=60.0
                    ),
                    statements.claim(closed.names, worker, {"q": 1}),
                ):
                    conn.execute(made.text, made.params)
                settle = statements.complete(closed.names, closed.sync_list_jobs().jobs[0], "1")
                conn.execute(settle.text, settle.params)
            raise psycopg.OperationalError("the connection was cut")
        return answer

    monkeypatch.setattr(closed, "_run_sync", cut)
    reference = closed.sync_push(a_job())
    assert reference.new
    (job,) = closed.sync_list_jobs().jobs
    assert (job.id, job.state, job.claims) == (reference.id, State.SUCCEEDED, 1)


FORK = """
import os, sys, threading
from chancy import Chancy, Job

chancy = Chancy(sys.argv[1])
chancy.sync_push(Job("parent", queue="q"))
door = chancy._door
door._lock.acquire()  # as a thread would have it that is not there in the child
pool = door._opened[0]
pool._lock.acquire()
read, write = os.pipe()
child = os.fork()
if child == 0:
    status = 1
    try:
        for _ in range(3):
            chancy.sync_push(Job("child", queue="q"))
        sys.path.insert(0, sys.argv[2])
        from tests.acceptance.test_sync import act

        act(chancy)  # each twin
        chancy.sync_close()
        status = 0
    finally:
        os._exit(status)
door._lock.release()
pool._lock.release()
assert os.waitpid(child, 0)[1] == 0
for _ in range(3):
    chancy.sync_push(Job("parent", queue="q"))
chancy.sync_close()
"""


def test_after_a_fork_both_push_on_and_each_twin_works(closed: Chancy, dsn: str):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORK, dsn, str(Path(__file__).parents[2])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": ""},
    )
    assert (done.returncode, done.stderr) == (0, "")
    funcs = [job.func for job in closed.sync_list_jobs().jobs]
    assert (funcs.count("parent"), funcs.count("child")) == (4, 3)


def test_threads_share_few_connections(closed: Chancy, dsn: str):
    def produce(number: int) -> None:
        for _ in range(20):
            closed.sync_push(a_job(number))

    threads = [threading.Thread(target=produce, args=[n]) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(closed.sync_list_jobs(limit=1000).jobs) == 400
    assert len(closed._open()[0]._idle) <= 10


def test_the_pool_is_bounded_and_closes_what_comes_back_late(dsn: str):
    pool = ThreadedPool(dsn, most=1, timeout=0.05)
    with pool.connection() as conn:
        with pytest.raises(PoolExhausted, match=r"0.05 s"):
            pool.connection().__enter__()
        pool.close()
        assert not conn.closed
    assert conn.closed
    with pytest.raises(PoolClosed):
        pool.connection().__enter__()


def test_a_connection_that_comes_back_in_a_transaction_is_thrown_away(dsn: str):
    pool = ThreadedPool(dsn)
    with pool.connection() as conn:
        conn.execute("BEGIN")
    assert conn.closed
    with pool.connection() as other:
        assert other.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with pool.connection() as again:
        assert again is other
    pool.close()


def test_a_connection_that_was_idle_for_long_is_tried_first(
    dsn: str, monkeypatch: pytest.MonkeyPatch
):
    from chancy_core.postgres import threaded

    pool = ThreadedPool(dsn)
    with pool.connection() as conn:
        pass
    monkeypatch.setattr(threaded, "IDLE", -1.0)
    tried = []
    monkeypatch.setattr(conn, "execute", lambda *a: tried.append(a))
    with pool.connection() as again:
        assert again is conn
    assert len(tried) == 1
    pool.close()


def test_two_loops_one_after_the_other(dsn: str):
    """A Chancy may be used with and without a loop, in turn."""
    chancy = Chancy(dsn)

    async def use() -> None:
        async with chancy:
            await chancy.push(a_job())

    chancy.sync_push(a_job())
    for backend in ("asyncio", "trio"):
        anyio.run(use, backend=backend)
    chancy.sync_push(a_job())
    assert len(chancy.sync_list_jobs().jobs) == 4
    chancy.sync_close()
