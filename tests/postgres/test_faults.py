# ruff: noqa: PT012 - what is tested is how blocks are left
"""Servers and networks that fail in the middle: a clean error, in time, and a closed connection."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import anyio
import psycopg
import pytest
from psycopg.pq import TransactionStatus

from chancy_core.postgres import CallTimeout, Connection, ConnectTimeout, Pool, recovery, threaded

from . import operations
from .operations import Conn
from .proxy import proxied


async def endless_copy_in(conn: Conn) -> None:
    await conn.execute("CREATE TEMP TABLE IF NOT EXISTS endless (a text)")
    async with conn.cursor().copy("COPY endless FROM STDIN") as copy:
        while True:
            await copy.write(b"x" * 100_000 + b"\n")
            await anyio.sleep(0.001)


async def endless_copy_out(conn: Conn) -> None:
    query = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000000)) TO STDOUT"
    async with conn.cursor().copy(query) as copy:
        async for _ in copy:
            pass


async def endless_pipeline(conn: Conn) -> None:
    async with conn.pipeline() as pipeline:
        while True:
            await conn.execute("SELECT pg_sleep(0.001)")
            await pipeline.sync()


async def endless_transactions(conn: Conn) -> None:
    while True:
        async with conn.transaction():
            await conn.execute("SELECT pg_sleep(0.001)")


async def endless_stream(conn: Conn) -> None:
    async for _ in conn.cursor().stream("SELECT g FROM generate_series(1, 1000000000) g"):
        pass


async def listen(conn: Conn) -> None:
    await conn.execute("LISTEN nothing")
    async for _ in conn.notifies():
        pass


ENDLESS: dict[str, operations.Operation] = {
    "query": operations.long_query,
    "pipeline": endless_pipeline,
    "copy_in": endless_copy_in,
    "copy_out": endless_copy_out,
    "stream": endless_stream,
    "transaction": endless_transactions,
    "listen": listen,
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_terminated_by_the_server(
    driver_dsn: str,
    app: str,
    outside: psycopg.Connection,
    sessions: Callable[[], list[int]],
    kind: str,
) -> None:
    async with Pool(driver_dsn, application_name=app, max_size=1) as pool:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:

                async def victim() -> None:
                    with pytest.raises(psycopg.Error):
                        async with pool.connection() as conn:
                            try:
                                await ENDLESS[kind](conn)
                            finally:
                                assert conn.closed

                tasks.start_soon(victim)
                await anyio.sleep(0.1)  # well into it
                for pid in sessions():
                    outside.execute("SELECT pg_terminate_backend(%s)", [pid])
            async with pool.connection() as conn:
                assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


@pytest.mark.slow  # and it is about time, of which four processes on two cores have little
@pytest.mark.parametrize("kind", [name for name in ENDLESS if name != "listen"])
async def test_a_black_hole_ends_within_the_deadline(driver_dsn: str, kind: str) -> None:
    limit = 0.4
    async with proxied(driver_dsn) as proxy:
        conn = await Connection.connect(proxy.dsn, autocommit=True, call_timeout=limit)
        async with anyio.create_task_group() as tasks:

            async def victim() -> None:
                with pytest.raises(psycopg.OperationalError):
                    await ENDLESS[kind](conn)

            tasks.start_soon(victim)
            await anyio.sleep(0.1)
            proxy.freeze()
            began = anyio.current_time()
        # The call, then a second for what might be saved, and again at the block's end.
        assert anyio.current_time() - began < limit + 2.5
        assert conn.closed


async def test_after_a_black_hole_no_idle_connection_is_trusted(driver_dsn: str) -> None:
    async with proxied(driver_dsn) as proxy, Pool(proxy.dsn, min_size=2, max_size=2) as pool:
        async with pool.connection() as one, pool.connection() as two:
            await one.execute("SELECT 1")
            await two.execute("SELECT 1")
        proxy.freeze()
        with pytest.raises(CallTimeout):
            async with pool.connection() as conn:
                with conn.deadline(0.2):
                    await conn.execute("SELECT 1")
        assert one.closed
        assert two.closed
        proxy.thaw()
        async with pool.connection() as conn:
            assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


async def test_a_black_hole_ends_the_call_of_a_thread(driver_dsn: str) -> None:
    async with proxied(driver_dsn) as proxy:
        conn = await anyio.to_thread.run_sync(threaded.Conn.connect, proxy.dsn)
        conn.call_timeout = 0.3
        proxy.freeze()
        began = anyio.current_time()
        with pytest.raises(CallTimeout, match=r"0\.3 s"), anyio.fail_after(5):
            await anyio.to_thread.run_sync(conn.execute, "SELECT 1", abandon_on_cancel=True)
        assert anyio.current_time() - began < 1.5
        assert conn.closed


async def test_a_black_hole_while_connecting(driver_dsn: str) -> None:
    async with proxied(driver_dsn) as proxy:
        proxy.freeze()
        with pytest.raises(ConnectTimeout, match=r"0\.2 s"), anyio.fail_after(2):
            await Connection.connect(proxy.dsn, connect_timeout=0.2)


async def test_a_slow_answer_leaves_the_connection_usable(driver_dsn: str) -> None:
    async with await Connection.connect(driver_dsn, autocommit=True) as conn:
        with pytest.raises(CallTimeout, match=r"0\.1 s.*usable"), conn.deadline(0.1):
            await operations.long_query(conn)
        assert conn.call_timeout == 30
        assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


async def test_a_server_that_stalls_during_the_cancel_request(
    driver_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with proxied(driver_dsn) as proxy:
        conn = await Connection.connect(proxy.dsn, autocommit=True)
        monkeypatch.setattr(recovery, "LIMIT", 1.0)
        proxy.refusing_after = proxy.accepted  # the request needs a connection of its own
        began = anyio.current_time()
        with anyio.move_on_after(0.05):
            await operations.long_query(conn)
        assert 0.9 < anyio.current_time() - began < 3
        assert conn.closed


async def test_a_commit_into_a_black_hole_closes_the_connection(driver_dsn: str) -> None:
    async with proxied(driver_dsn) as proxy:
        conn = await Connection.connect(proxy.dsn, autocommit=True, call_timeout=0.3)
        with pytest.raises(CallTimeout, match="closed"):
            async with conn.transaction():
                await conn.execute("SELECT 1")
                proxy.freeze()
        assert conn.closed


async def test_the_next_host_is_used_if_one_is_dead(driver_dsn: str) -> None:
    async with proxied(driver_dsn) as proxy, AsyncExitStack() as stack:
        dsn = psycopg.conninfo.make_conninfo(
            proxy.dsn, host="127.0.0.1,127.0.0.1", port=f"1,{proxy.port}"
        )
        conn = await Connection.connect(dsn, target_session_attrs="read-write")
        await stack.enter_async_context(conn)
        assert (await (await conn.execute("SELECT 1")).fetchone()) == (1,)
        with pytest.raises(psycopg.OperationalError, match=r"(?s)port 1.*not in hot standby|read"):
            await Connection.connect(dsn, target_session_attrs="standby")


async def test_prefer_standby_takes_a_primary_at_last(driver_dsn: str) -> None:
    async with await Connection.connect(driver_dsn, target_session_attrs="prefer-standby") as conn:
        await conn.execute("SELECT 1")
        assert conn.info.transaction_status == TransactionStatus.INTRANS
        await conn.commit()


async def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(psycopg.OperationalError, match=r"resolve|looked up"):
        await Connection.connect("host=nowhere.invalid", connect_timeout=5)
