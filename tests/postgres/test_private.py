import socket
from pathlib import Path

import psycopg
import pytest

import chancy_core.postgres
from chancy_core.postgres import private


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
