import socket
from pathlib import Path

import anyio
import psycopg
import pytest

import chancy_core.postgres
from chancy_core.postgres import Connection, private, waiting
from tests.postgres.proxy import Proxy, proxied


def test_psycopg_still_has_what_we_use() -> None:
    assert private.missing() == []


def test_a_change_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psycopg._connection_base.BaseConnection, "_cancel_gen")
    assert private.missing() == ["BaseConnection._cancel_gen"]


def test_ready_now() -> None:
    """Both ways to ask a socket say the same."""
    one, two = socket.socketpair()
    with one, two:
        both = private.READ | private.WRITE
        assert private.ready_now(one.fileno(), both) == private._poll(one.fileno(), both) == 2
        two.send(b"x")
        assert private.ready_now(one.fileno(), both) == private._poll(one.fileno(), both) == 3


def test_no_event_loop_is_named() -> None:
    for path in Path(chancy_core.postgres.__path__[0]).glob("*.py"):
        text = path.read_text()
        assert "import asyncio" not in text
        assert "import trio" not in text


async def test_a_statement_that_is_sent_in_parts_while_the_loop_wants_its_turn(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BUSY", -1.0)  # always
    text = "x" * 8_000_000  # more than a socket takes at once
    async with await Connection.connect(dsn, autocommit=True) as conn:
        cursor = await conn.execute("SELECT length(%s)", [text])
        assert await cursor.fetchone() == (len(text),)


async def test_a_statement_that_was_interrupted_while_it_was_sent(dsn: str) -> None:
    async with (
        proxied(dsn) as proxy,
        await Connection.connect(proxy.dsn, autocommit=True) as conn,
    ):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(thaw, proxy)
            proxy.freeze()
            with anyio.move_on_after(0.1) as scope:
                await conn.execute("SELECT length(%s)", ["x" * 20_000_000])
        assert scope.cancelled_caught
        assert not conn.closed
        assert await (await conn.execute("SELECT 1")).fetchone() == (1,)


async def thaw(proxy: Proxy) -> None:
    """Let the network work again while the interrupted statement is being cleared away."""
    await anyio.sleep(0.3)
    proxy.thaw()
