"""A worker says how it is: by itself, over HTTP, and in a file."""

import json
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import psycopg
import pytest
from anyio import to_thread

from chancy import Chancy, ChancyError, Queue, Worker
from chancy_core import heartbeat
from chancy_core.claim import Claimer
from chancy_core.errors import InvalidValue
from chancy_core.health import Health, http, vitals
from chancy_core.health.http import Probes
from tests.postgres.proxy import proxied
from tests.stage import Stage, push

GOOD = Health(live=True, ready=True)


async def until(worker: Worker, fits: Callable[[Health], bool]) -> Health:
    """Return how the worker is once that fits."""
    with anyio.fail_after(20):
        while not fits(health := worker.health):
            await anyio.sleep(0.02)
    return health


def ask(worker: Worker, request: str = "GET /ready HTTP/1.1\r\n\r\n") -> tuple[int, str, str]:
    """Send a request; answers status, head and body. 0 is the status of who is sent away."""
    return sent(worker, request.encode("latin-1"))


def sent(worker: Worker, request: bytes) -> tuple[int, str, str]:
    assert worker.health_at is not None
    text = ""
    with (
        suppress(OSError),
        socket.create_connection(worker.health_at, timeout=10) as client,
        client.makefile("rb") as answer,
    ):
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        text = answer.read().decode()
    head, _, body = text.partition("\r\n\r\n")
    return int(head.split(" ")[1]) if head else 0, head, body


async def test_it_says_what_it_is_from_beginning_to_end(chancy: Chancy, dsn: str, stage) -> None:
    worker = Worker(chancy, health="0")
    assert worker.health == Health(live=False, ready=False, reasons=("it has not started",))
    async with worker:
        assert worker.health == GOOD
        assert worker.health_at is not None
        assert worker.health_at[0] == "127.0.0.1"
        status, head, body = await to_thread.run_sync(ask, worker)
        assert (status, json.loads(body)) == (200, {"live": True, "ready": True, "reasons": []})
        assert "Content-Type: application/json" in head
        await push(chancy, dsn, 4)  # all slots are taken: it works, and is as ready as can be
        await stage.until_begun(4)
        assert worker.health == GOOD
        worker.stop()
        assert worker.health == Health(live=True, ready=False, reasons=("it is stopping",))
        assert (await to_thread.run_sync(ask, worker))[0] == 503
        live = await to_thread.run_sync(ask, worker, "GET /live HTTP/1.0\r\n\r\n")
        assert live[0] == 200
        stage.go.set()
    assert worker.health == Health(live=False, ready=False, reasons=("it has stopped",))


async def test_without_a_queue_it_is_ready(dsn: str) -> None:
    async with Chancy(dsn) as chancy, Worker(chancy, queues={"none"}) as worker:
        assert worker.health == GOOD


async def test_while_the_database_is_away(dsn: str, monkeypatch: pytest.MonkeyPatch, stage) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.2)
    monkeypatch.setattr(vitals, "RENEWED", 0.8)
    monkeypatch.setattr(vitals, "CLAIMING", 0.8)
    async with proxied(dsn) as way, Chancy(way.dsn) as chancy:
        await chancy.declare(Queue("q", executor="async", polling_interval=0.1))
        async with Worker(chancy) as worker:
            await until(worker, lambda _: bool(worker.queues))
            assert worker.health == GOOD
            way.freeze()
            away = await until(worker, lambda health: len(health.reasons) == 2)
            assert (away.live, away.ready) == (True, False)
            assert any(word in away.reasons[0] for word in ("last renewed", "heartbeat failed"))
            assert "its claim has waited" in away.reasons[1]
            way.thaw()
            await until(worker, lambda health: health == GOOD)


async def test_a_claim_that_fails(chancy: Chancy, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = True
    claim = Claimer._claim

    async def fail(self: Claimer, *asked: Any) -> Any:
        if failing:
            raise psycopg.OperationalError("the disk is full")
        return await claim(self, *asked)

    monkeypatch.setattr(Claimer, "_claim", fail)
    async with Worker(chancy) as worker:
        health = await until(worker, lambda health: not health.ready)
        assert health == Health(
            live=True, ready=False, reasons=("its last claim failed: the disk is full",)
        )
        failing = False
        await until(worker, lambda health: health == GOOD)


async def test_a_claim_that_waits_behind_an_audit(
    chancy: Chancy, dsn: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vitals, "CLAIMING", 0.3)
    stage.go.set()
    async with Worker(chancy) as worker:
        assert worker.vitals is not None
        async with worker.vitals._claimer.holding.claiming:
            (reference,) = await push(chancy, dsn, 1)
            health = await until(worker, lambda health: not health.ready)
            assert "its claim has waited for an answer" in health.reasons[0]
        await chancy.wait_for_job(reference, timeout=20)
        await until(worker, lambda health: health == GOOD)


async def test_a_blocked_loop_is_not_live(chancy: Chancy, tmp_path: Path) -> None:
    """Who asks over HTTP gets no answer, and the file grows old: a thread sees the rest."""
    seen: list[Health] = []

    def watch() -> None:
        deadline = time.monotonic() + 5
        while not seen and time.monotonic() < deadline:
            if not (health := worker.health).live:
                seen.append(health)
            time.sleep(0.02)

    file = tmp_path / "health"
    async with Worker(chancy, health_file=file) as worker:
        await written(file)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(to_thread.run_sync, watch)
            await anyio.sleep(0.1)
            time.sleep(1.6)
            assert time.time() - file.stat().st_mtime > 0.5
        (health,) = seen
        assert not health.ready
        assert "event loop has been blocked" in health.reasons[0]
        await until(worker, lambda health: health == GOOD)


async def test_a_task_of_its_own_that_dies_is_seen(
    chancy: Chancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Health] = []
    worker = Worker(chancy)

    async def die(_: object) -> None:
        raise RuntimeError("a defect")

    def leaving(*_: object) -> None:
        seen.append(worker.health)

    monkeypatch.setattr("chancy_core.wake.Waker.promote", die)
    monkeypatch.setattr("chancy_core.heartbeat.Heartbeat.rescued", leaving)
    with pytest.raises(BaseExceptionGroup) as caught:
        await worker.start()
    assert [str(leaf) for leaf in leaves(caught.value)] == ["a defect"]
    assert seen
    assert not seen[-1].live
    assert "its task 'promote' has ended" in seen[-1].reasons


async def written(file: Path) -> dict[str, object]:
    with anyio.fail_after(10):
        while not file.exists():
            await anyio.sleep(0.01)
    found = json.loads(file.read_text())
    assert isinstance(found, dict)
    return found


async def test_the_file(chancy: Chancy, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "health"
    async with Worker(chancy, health_file=file):
        told = await written(file)
        assert (told["live"], told["ready"], told["reasons"]) == (True, True, [])
        assert told["pid"] == os.getpid()
        assert abs(time.time() - float(str(told["at"]))) < 10
    assert list(tmp_path.iterdir()) == []
    async with Worker(chancy, health_file=tmp_path / "nowhere" / "health") as worker:
        with anyio.fail_after(5):
            while "health file cannot be written" not in caplog.text:
                await anyio.sleep(0.01)
        assert worker.health == GOOD


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"", 400),
        (b"\r\n\r\n", 400),
        (b"GET /live\r\n\r\n", 400),
        (b"GET /live SMTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # as TLS begins
        (b"\xff\xfe \x00 HTTP/1.1\r\n\r\n", 405),
        (b"POST /live HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET http://elsewhere/live HTTP/1.1\r\n\r\n", 404),
        (b"GET /live?x=%00 HTTP/1.1\r\n\r\n", 200),
        (b"GET /live HTTP/1.1\n\n", 200),
    ],
)
def test_whatever_is_asked_gets_an_answer(request_: bytes, status: int) -> None:
    probes = Probes(None, lambda: GOOD)  # type: ignore[arg-type]
    assert probes.response(request_).startswith(b"HTTP/1.1 %d " % status)
    assert probes.response(None).startswith(b"HTTP/1.1 431 ")


async def test_hostile_clients_cost_only_themselves(
    chancy: Chancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "PATIENCE", 0.3)
    async with Worker(chancy, health="127.0.0.1:0") as worker:
        assert worker.health_at is not None
        idle = [socket.create_connection(worker.health_at) for _ in range(http.AT_ONCE + 5)]
        try:
            idle[0].sendall(b"GET /live HT")
            with anyio.fail_after(5):  # who says nothing is sent away
                while (await to_thread.run_sync(ask, worker))[0] != 200:
                    await anyio.sleep(0.02)
        finally:
            for client in idle:
                client.close()
        long = b"GET /live HTTP/1.1\r\nX: " + b"x" * 20_000
        assert (await to_thread.run_sync(sent, worker, long))[0] in {0, 431}
        head = await to_thread.run_sync(ask, worker, "HEAD /live HTTP/1.1\r\n\r\n")
        assert (head[0], head[2]) == (200, "")
        assert worker.health == GOOD


async def test_an_address_that_cannot_be_had(chancy: Chancy) -> None:
    for text in ("", "x:y", "127.0.0.1:99999", ":", "a b:1", 8080):
        with pytest.raises(InvalidValue, match="health is a port, or an address"):
            Worker(chancy, health=text)  # type: ignore[arg-type]
    assert Worker(chancy, health="[::1]:80").health_at == ("::1", 80)
    assert Worker(chancy, health="0.0.0.0:80").health_at == ("0.0.0.0", 80)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        worker = Worker(chancy, health=str(taken.getsockname()[1]))
        with pytest.raises(BaseExceptionGroup) as caught:
            await worker.start()
    (error,) = leaves(caught.value)
    assert isinstance(error, ChancyError)
    assert "cannot listen on 127.0.0.1, port" in str(error)
    assert await chancy.get_all_workers() == []


def leaves(group: BaseException) -> list[BaseException]:
    if isinstance(group, BaseExceptionGroup):
        return [leaf for one in group.exceptions for leaf in leaves(one)]
    return [group]
