"""The hub of events, by itself."""

import anyio
import pytest

from chancy_core import events
from chancy_core.errors import InvalidValue
from chancy_core.events import Event, Events

pytestmark = pytest.mark.anyio


def test_a_handler_is_told_of_what_matches_until_it_is_ended():
    hub, told = Events(), []
    assert not hub
    end = hub.on("job.*", told.append)
    assert hub
    hub.emit("job.started", "1", 2)
    hub.emit("jobs.started", "1")
    hub.emit("worker.job.started", "1")
    end()
    end()
    hub.emit("job.started", "3")
    assert told == [Event("job.started", "1", 2)]
    assert not hub


def test_a_broken_handler_harms_neither_the_others_nor_the_worker(caplog):
    hub, told = Events(), []
    hub.on("*", lambda event: 1 / 0)
    hub.on("*", told.append)
    hub.emit("a.b", "c")
    assert told == [Event("a.b", "c")]
    assert "was told of a.b, failed" in caplog.text


def test_a_handler_may_end_itself_while_it_is_told():
    hub, told = Events(), []

    def once(event: Event) -> None:
        told.append(event)
        end()

    end = hub.on("*", once)
    hub.on("*", told.append)
    hub.emit("a.b", "1")
    hub.emit("a.b", "2")
    assert [event.subject for event in told] == ["1", "1", "2"]


async def handler(event: Event) -> None: ...


def test_a_coroutine_function_is_no_handler():
    with pytest.raises(InvalidValue, match="subscribe"):
        Events().on("*", handler)


async def test_a_subscription_keeps_what_came_meanwhile_in_order():
    hub = Events()
    hub.emit("a.a", "before")
    with hub.subscribe("a.*", "b.b") as seen:
        for name in ("a.a", "b.a", "b.b", "a.c"):
            hub.emit(name, "x")
        assert [(await seen.next()).name for _ in range(3)] == ["a.a", "b.b", "a.c"]
        with pytest.raises(TimeoutError):
            await seen.next(timeout=0.01)
    hub.emit("a.a", "after")
    assert not hub
    with pytest.raises(TimeoutError):
        await seen.next(timeout=0.01)


async def test_of_too_many_events_the_oldest_are_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(events, "KEPT", 3)
    hub = Events()
    with hub.subscribe() as seen:
        for n in range(5):
            hub.emit("a.b", str(n))
        assert [(await seen.next()).subject for _ in range(3)] == ["2", "3", "4"]
        assert seen.missed == 2


async def test_iterating_and_waiting_for_the_next():
    hub = Events()
    found: list[str] = []

    async def collect() -> None:
        with hub.subscribe("a.*") as seen:
            begun.set()
            async for event in seen:
                found.append(event.subject)
                if event.name == "a.end":
                    return

    begun = anyio.Event()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect)
            await begun.wait()
            hub.emit("a.b", "1")
            await anyio.lowlevel.checkpoint()
            hub.emit("a.end", "2")
    assert found == ["1", "2"]
    with pytest.raises(TimeoutError):
        await hub.wait_for("a.*", timeout=0.01)
