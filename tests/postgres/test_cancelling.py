# ruff: noqa: PT012 - what is tested is how blocks are left
"""Whoever is cancelled finds a connection that is usable or closed, and nothing is left behind."""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import psycopg
import pytest
from psycopg.pq import TransactionStatus

from chancy_core.postgres import Connection
from chancy_core.postgres.waiting import Mutex

from . import operations
from .operations import Conn

TIMES = 1000
AT_ONCE = 20


def descriptors() -> int:
    return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir())) if Path("/proc").exists() else 0


async def connect(dsn: str, app: str) -> Conn:
    return await Connection.connect(dsn, autocommit=True, application_name=app)


async def is_usable(conn: Conn) -> bool:
    """True if usable, False if closed; anything else fails the test."""
    if conn.closed:
        return False
    assert conn.info.transaction_status == TransactionStatus.IDLE
    assert not conn.lock.locked()
    assert not conn.pgconn.pipeline_status
    number = random.randrange(1 << 30)
    assert await (await conn.execute("SELECT %s::int", [number])).fetchone() == (number,)
    assert conn.info.transaction_status == TransactionStatus.IDLE
    return True


async def gone(sessions: Callable[[], list[int]], left: int = 0) -> None:
    with anyio.fail_after(5):
        while len(sessions()) > left:
            await anyio.sleep(0.01)


class Instants:
    """Random instants that find out by themselves how long the operation takes."""

    def __init__(self) -> None:
        self.longest = 0.003
        self.interrupted = 0

    @contextmanager
    def cancel(self) -> Iterator[None]:
        with anyio.move_on_after(random.uniform(0, self.longest)) as scope:
            yield
        if scope.cancelled_caught:
            self.interrupted += 1
            self.longest = min(0.03, self.longest * 1.03)
        else:
            self.longest *= 0.9


@pytest.mark.slow
@pytest.mark.parametrize("kind", operations.ALL)
async def test_a_thousand_cancellations(
    driver_dsn: str, app: str, sessions: Callable[[], list[int]], kind: str
) -> None:
    operation, instants = operations.ALL[kind], Instants()
    base, closed, before = descriptors(), 0, anyio.get_running_tasks()

    async def one() -> None:
        nonlocal closed
        conn = await connect(driver_dsn, app)
        while instants.interrupted < TIMES:
            with instants.cancel():
                await operation(conn)
            if not await is_usable(conn):
                closed += 1
                conn = await connect(driver_dsn, app)
        await conn.close()

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(one)
    assert closed < TIMES // 50, "connections are thrown away instead of being saved"
    await gone(sessions)
    assert descriptors() <= base + 8  # the loop's own
    assert {task.id for task in anyio.get_running_tasks()} == {task.id for task in before}


@pytest.mark.slow
async def test_a_thousand_cancelled_connects(
    driver_dsn: str, app: str, sessions: Callable[[], list[int]]
) -> None:
    base, instants, before = descriptors(), Instants(), anyio.get_running_tasks()

    async def one() -> None:
        while instants.interrupted < TIMES:
            try:
                with instants.cancel():
                    conn = await connect(driver_dsn, app)
                    await conn.close()
            except psycopg.OperationalError as error:
                # The server's queue of new connections is full of those that were given up.
                assert "temporarily unavailable" in str(error)  # noqa: PT017

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(one)
    await gone(sessions)
    assert descriptors() <= base + 8
    assert {task.id for task in anyio.get_running_tasks()} == {task.id for task in before}


@pytest.mark.parametrize("kind", operations.ALL)
async def test_cancelled_before_it_began(driver_dsn: str, app: str, kind: str) -> None:
    async with await connect(driver_dsn, app) as conn:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await operations.ALL[kind](conn)
        assert scope.cancelled_caught
        assert await is_usable(conn)


async def test_nothing_is_sent_in_a_cancelled_scope(
    driver_dsn: str, app: str, outside: psycopg.Connection
) -> None:
    outside.execute("CREATE TABLE IF NOT EXISTS unsent (a int)")
    async with await connect(driver_dsn, app) as conn:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await conn.execute("INSERT INTO unsent VALUES (1)")
    assert outside.execute("SELECT count(*) FROM unsent").fetchone() == (0,)


async def test_a_long_query_is_cancelled_on_the_server(driver_dsn: str, app: str) -> None:
    async with await connect(driver_dsn, app) as conn:
        with anyio.fail_after(3), anyio.move_on_after(0.05):
            await operations.long_query(conn)
        assert await is_usable(conn)


async def test_a_cancelled_block_is_rolled_back(
    driver_dsn: str, app: str, outside: psycopg.Connection
) -> None:
    outside.execute("CREATE TABLE IF NOT EXISTS undone (a int)")
    async with await connect(driver_dsn, app) as conn:
        with anyio.CancelScope() as scope:
            async with conn.transaction():
                await conn.execute("INSERT INTO undone VALUES (1)")
                scope.cancel()
        assert scope.cancelled_caught
        assert await is_usable(conn)
    assert outside.execute("SELECT count(*) FROM undone").fetchone() == (0,)


async def test_an_error_of_the_block_outlives_the_cancellation(driver_dsn: str, app: str) -> None:
    async with await connect(driver_dsn, app) as conn:
        with anyio.CancelScope() as scope:
            with pytest.raises(LookupError):
                async with conn.transaction():
                    scope.cancel()
                    raise LookupError
        assert await is_usable(conn)


async def test_copy_that_is_cancelled_stores_nothing(driver_dsn: str, app: str) -> None:
    async with await connect(driver_dsn, app) as conn:
        await conn.execute("CREATE TEMP TABLE half (a int)")
        with anyio.CancelScope() as scope:
            async with conn.cursor().copy("COPY half FROM STDIN") as copy:
                await copy.write_row((1,))
                scope.cancel()
                await anyio.sleep(1)
        assert await is_usable(conn)
        assert await (await conn.execute("SELECT count(*) FROM half")).fetchone() == (0,)


async def test_copy_out_left_early(driver_dsn: str, app: str) -> None:
    async with await connect(driver_dsn, app) as conn:
        async with conn.cursor().copy(f"COPY ({operations.ROWS}) TO STDOUT") as copy:
            async for _ in copy:
                break
        assert await is_usable(conn)


async def test_a_pipeline_full_of_long_queries_is_left_at_once(driver_dsn: str, app: str) -> None:
    async with await connect(driver_dsn, app) as conn:
        with anyio.fail_after(4), anyio.move_on_after(0.05):
            async with conn.pipeline() as pipeline:
                for _ in range(3):
                    await conn.execute("SELECT pg_sleep(100)")
                    await pipeline.sync()
        assert await is_usable(conn)
        with pytest.raises(LookupError), anyio.fail_after(4):
            async with conn.pipeline():
                await conn.execute("SELECT pg_sleep(100)")
                raise LookupError
        assert await is_usable(conn)


async def test_executemany_stops_feeding(driver_dsn: str, app: str) -> None:
    fed = 0

    def endless() -> object:
        nonlocal fed
        while True:
            fed += 1
            yield (fed,)

    async with await connect(driver_dsn, app) as conn:
        with anyio.fail_after(5), anyio.move_on_after(0.1):
            await conn.cursor().executemany("SELECT %s::int", endless())
        assert fed
        assert await is_usable(conn)


async def test_prepared_statements_survive_a_failed_pipeline(driver_dsn: str, app: str) -> None:
    async with await connect(driver_dsn, app) as conn:
        await conn.execute("SELECT %s::int", [1])  # psycopg checks no preparation after this
        with pytest.raises(psycopg.Error):
            async with conn.pipeline():
                await conn.execute("SELECT 1/0")
                await conn.execute("SELECT %s::int", [1], prepare=True)
        cursor = await conn.execute("SELECT %s::int", [1], prepare=True)
        assert await cursor.fetchone() == (1,)


async def test_a_turn_that_comes_too_late_is_passed_on() -> None:
    mutex, scope, passed = Mutex(), anyio.CancelScope(), anyio.Event()

    async def give_up() -> None:
        with scope:
            async with mutex:
                pass

    async def wait() -> None:
        async with mutex:
            passed.set()

    async with anyio.create_task_group() as tasks:
        async with mutex:
            tasks.start_soon(give_up)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
        scope.cancel()  # it has been given the lock, and does not know it yet
        with anyio.fail_after(1):
            await passed.wait()
    assert not mutex.locked()


async def test_cancelled_twice(driver_dsn: str, app: str) -> None:
    async with await connect(driver_dsn, app) as conn:
        with anyio.CancelScope() as outer, anyio.CancelScope() as inner:
            async with anyio.create_task_group() as tasks:

                async def again() -> None:
                    with anyio.CancelScope(shield=True):
                        await anyio.sleep(0.05)
                        inner.cancel()
                        await anyio.sleep(0.005)
                        outer.cancel()
                        inner.cancel()

                tasks.start_soon(again)
                await operations.long_query(conn)
        assert await is_usable(conn)


async def test_others_wait_for_their_turn(driver_dsn: str, app: str) -> None:
    order: list[int] = []
    async with await connect(driver_dsn, app) as conn:

        async def use(number: int) -> None:
            await conn.execute("SELECT pg_sleep(0.01)")
            order.append(number)

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(use, number)
                await anyio.wait_all_tasks_blocked()
        assert order == list(range(5))
        with conn.deadline(0.05):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(conn.notified, 0.3)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(psycopg.OperationalError, match="another task"):
                    await conn.execute("SELECT 1")
        assert await is_usable(conn)


async def test_closing_wakes_whoever_waits(driver_dsn: str, app: str) -> None:
    conn = await connect(driver_dsn, app)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                with pytest.raises(psycopg.OperationalError):
                    await conn.notified()

            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            await conn.close()


async def test_notifications_survive_a_cancelled_wait(driver_dsn: str, app: str) -> None:
    async with await connect(driver_dsn, app) as conn:
        await conn.execute("LISTEN kept")
        for number in range(5):
            await conn.execute("SELECT pg_notify('kept', %s)", [str(number)])
        seen = []
        while len(seen) < 5:
            with anyio.CancelScope() as scope:
                async for event in conn.notifies():
                    seen.append(event.payload)
                    scope.cancel()
                    await anyio.lowlevel.checkpoint()
        assert seen == list("01234")
        assert [n async for n in conn.notifies(timeout=0)] == []
