# ruff: noqa: PT012 - what is tested is how blocks are left
"""The pool: fair, self-healing, bounded, and plain about what is wrong."""

import random
from collections.abc import Callable
from contextlib import closing
from typing import Any

import anyio
import psycopg
import pytest

from chancy_core.errors import DatabaseError, InvalidValue
from chancy_core.postgres import Connection, Pool, PoolClosed, PoolExhausted, preparing
from chancy_core.postgres.keeping import Backoff, is_fatal
from chancy_core.postgres.threaded import ThreadedPool

from .proxy import proxied


async def pid(conn: Connection[Any]) -> int:
    return conn.info.backend_pid


async def test_first_come_first_served(driver_dsn: str) -> None:
    served: list[int] = []
    async with Pool(driver_dsn, max_size=1) as pool, anyio.create_task_group() as tasks:

        async def use(number: int) -> None:
            async with pool.connection():
                served.append(number)
                await anyio.lowlevel.checkpoint()

        async with pool.connection():
            for number in range(10):
                tasks.start_soon(use, number)
                await anyio.wait_all_tasks_blocked()
            assert pool.stats().waiting == 10
    assert served == list(range(10))


async def test_exhausted_says_why(driver_dsn: str) -> None:
    async with Pool(driver_dsn, max_size=1) as pool, pool.connection():
        with pytest.raises(PoolExhausted, match=r"0\.1 s: 1 of at most 1 are in use"):
            async with pool.connection(timeout=0.1):
                pass
        assert pool.stats().waiting == 0
        assert pool.stats().timeouts == 1


async def test_exhausted_tells_of_the_last_attempt_to_connect() -> None:
    async with Pool("host=127.0.0.1 port=1 dbname=x") as pool:
        with pytest.raises(PoolExhausted, match="Connection refused") as caught:
            await pool.ready(timeout=0.2)
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)
    assert isinstance(caught.value, (psycopg.OperationalError, DatabaseError, TimeoutError))


async def test_not_open(driver_dsn: str) -> None:
    pool = Pool(driver_dsn)
    with pytest.raises(PoolClosed):
        await pool.ready()
    async with pool:
        await pool.ready()
    with pytest.raises(PoolClosed):
        await pool.ready()


async def test_users_errors_are_not_wrapped(driver_dsn: str) -> None:
    with pytest.raises(LookupError):
        async with Pool(driver_dsn) as pool, pool.connection():
            raise LookupError
    with anyio.CancelScope() as scope:
        async with Pool(driver_dsn) as pool, pool.connection():
            scope.cancel()
            await anyio.sleep(1)
    assert scope.cancelled_caught


async def test_waiters_that_give_up_take_nothing_with_them(driver_dsn: str) -> None:
    async with Pool(driver_dsn, max_size=2) as pool:

        async def use() -> None:
            for _ in range(50):
                with anyio.move_on_after(random.uniform(0, 0.004)):
                    async with pool.connection() as conn:
                        await conn.execute("SELECT pg_sleep(0.001)")

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(use)
        stats = pool.stats()
        assert (stats.in_use, stats.waiting) == (0, 0)
        assert stats.size <= 2
        async with pool.connection(1) as one, pool.connection(1) as two:
            assert await pid(one) != await pid(two)


async def test_open_transactions_are_rolled_back(driver_dsn: str) -> None:
    async with Pool(driver_dsn, max_size=1) as pool:
        async with pool.connection() as conn:
            first = await pid(conn)
            await conn.execute("CREATE TEMP TABLE open_ends (a int)")
            await conn.execute("BEGIN")
            await conn.execute("INSERT INTO open_ends VALUES (1)")
        async with pool.connection() as conn:
            assert await pid(conn) == first
            cursor = await conn.execute("SELECT count(*) FROM open_ends")
            assert await cursor.fetchone() == (0,)


@pytest.mark.parametrize("state", ["57P01", "25006", "53300", "08006"])
async def test_errors_of_the_session_replace_the_connection(driver_dsn: str, state: str) -> None:
    async with Pool(driver_dsn, max_size=1) as pool:
        async with pool.connection() as conn:
            first = await pid(conn)
        with pytest.raises(psycopg.Error):
            async with pool.connection() as conn:
                await conn.execute(
                    f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{state}'; END $$"
                )
        async with pool.connection() as conn:
            assert await pid(conn) != first
    group = ExceptionGroup("several", [ValueError(), psycopg.errors.lookup(state)("x")])
    assert is_fatal(group)
    assert not is_fatal(psycopg.errors.UniqueViolation("x"))


async def test_a_restart_spoils_idle_connections(
    driver_dsn: str, app: str, outside: psycopg.Connection, sessions: Callable[[], list[int]]
) -> None:
    async with Pool(driver_dsn, min_size=3, max_size=3, application_name=app) as pool:
        with anyio.fail_after(5):
            while pool.stats().idle < 3:
                await anyio.sleep(0.005)
        before = sessions()
        for number in before:
            outside.execute("SELECT pg_terminate_backend(%s, 2000)", [number])
        for _ in range(4):
            async with pool.connection() as conn:
                await conn.execute("SELECT 1")
                assert await pid(conn) not in before
        assert pool.stats().discarded >= 1


async def test_an_idle_connection_is_asked_before_it_is_lent(driver_dsn: str) -> None:
    async with (
        proxied(driver_dsn) as proxy,
        Pool(proxy.dsn, max_size=1, check_after=0.0, connect_timeout=2) as pool,
    ):
        async with pool.connection() as conn:
            first = await pid(conn)
        async with pool.connection() as conn:
            assert await pid(conn) == first
        await proxy.cut()
        async with pool.connection() as conn:
            assert await pid(conn) != first
            await conn.execute("SELECT 1")


async def test_old_connections_are_replaced(driver_dsn: str) -> None:
    async with Pool(driver_dsn, max_size=1, max_lifetime=0.1) as pool:
        async with pool.connection() as conn:
            first = await pid(conn)
        await anyio.sleep(0.15)
        async with pool.connection() as conn:
            assert await pid(conn) != first


async def test_spare_connections_are_closed(driver_dsn: str) -> None:
    async with Pool(driver_dsn, min_size=1, max_size=3, max_idle=0.2) as pool:
        async with pool.connection(), pool.connection(), pool.connection():
            pass
        assert pool.stats().size == 3
        with anyio.fail_after(3):
            while pool.stats().size > 1:
                await anyio.sleep(0.01)


async def test_resize(driver_dsn: str) -> None:
    async with Pool(driver_dsn, max_size=1) as pool:
        await pool.resize(2, 3)
        async with pool.connection(5), pool.connection(5), pool.connection(5):
            await pool.resize(0, 1)
        assert pool.stats().size == 1
        with pytest.raises(InvalidValue):
            await pool.resize(3, 2)


async def test_reconnecting_backs_off_and_recovers(driver_dsn: str) -> None:
    async with (
        proxied(driver_dsn) as proxy,
        Pool(proxy.dsn, max_size=4, backoff=Backoff(0.01, 0.05), connect_timeout=0.1) as pool,
    ):
        proxy.freeze()
        async with anyio.create_task_group() as tasks:

            async def use() -> None:
                async with pool.connection(10) as conn:
                    await conn.execute("SELECT 1")

            for _ in range(4):
                tasks.start_soon(use)
            with anyio.fail_after(5):
                while pool.stats().connect_errors < 5:
                    await anyio.sleep(0.01)
            assert pool.stats().opening == 1  # one asks for all
            proxy.thaw()
        assert pool.stats().last_error is None


def test_full_jitter() -> None:
    backoff = Backoff(0.1, 10)
    assert all(0 <= backoff.pause(n) <= min(10, 0.1 * 2 ** (n - 1)) for n in range(1, 60))
    assert len({backoff.pause(5) for _ in range(20)}) > 10


async def test_configure(driver_dsn: str) -> None:
    async def configure(conn: Connection[Any]) -> None:
        await conn.execute("SET application_name = 'configured'")

    async with Pool(driver_dsn, configure=configure) as pool, pool.connection() as conn:
        assert await (await conn.execute("SHOW application_name")).fetchone() == ("configured",)


@pytest.mark.parametrize(
    ("told", "pooler", "prepares"),
    [(None, False, True), (None, True, False), (True, True, True), (False, False, False)],
)
async def test_statements_are_prepared_as_told_else_unless_a_pooler_stands_between(
    driver_dsn: str,
    monkeypatch: pytest.MonkeyPatch,
    told: bool | None,
    pooler: bool,
    prepares: bool,
) -> None:
    """What makes a pooler known is that another process answers than the one that was named."""
    if pooler:
        monkeypatch.setattr(preparing, "_BACKEND", "SELECT 0")
    async with Pool(driver_dsn, prepared_statements=told) as pool, pool.connection() as conn:
        for n in range(10):
            await conn.execute("SELECT %s::int", [n])
        found = await conn.execute("SELECT FROM pg_prepared_statements", prepare=False)
        assert (found.rowcount > 0) is prepares
    threads = ThreadedPool(driver_dsn, prepared_statements=told)
    with closing(threads), threads.connection() as of_thread:
        assert (of_thread.prepare_threshold is not None) is prepares


async def test_a_configure_that_fails_is_told(driver_dsn: str) -> None:
    async def configure(conn: Connection[Any]) -> None:
        raise LookupError("no such role")

    async with Pool(driver_dsn, configure=configure) as pool:
        with pytest.raises(PoolExhausted, match="no such role"):
            await pool.ready(timeout=0.3)


async def test_closing_ends_what_was_not_given_back(
    driver_dsn: str, app: str, sessions: Callable[[], list[int]]
) -> None:
    async with anyio.create_task_group() as tasks:

        async def hold(pool: Pool, *, task_status: Any) -> None:
            with pytest.raises(psycopg.Error):
                async with pool.connection() as conn:
                    task_status.started()
                    await conn.execute("SELECT pg_sleep(100)")

        with anyio.fail_after(4):
            async with Pool(driver_dsn, close_timeout=0.1, application_name=app) as pool:
                await tasks.start(hold, pool)
                await anyio.sleep(0.02)
