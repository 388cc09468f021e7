"""The writer of outcomes, on a store that a test holds up."""

from typing import Any
from uuid import UUID

import anyio
import pytest

from chancy_core import settle
from chancy_core.job import State
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.settle import Settler
from tests.attempts import attempt

pytestmark = pytest.mark.anyio


class Slow:
    """Writes when it is let; all outcomes count."""

    def __init__(self) -> None:
        self.writing, self.go = anyio.Event(), anyio.Event()

    async def settle(self, batch: list[Settlement], *, again: bool, along: Any) -> set[UUID]:
        self.writing.set()
        await self.go.wait()
        return {settlement.job.id for settlement in batch}


def outcome() -> Settlement:
    job = attempt("add", a=1, b=1).job
    return Settlement(job, Outcome(Kind.SUCCESS, "2"), Verdict(State.SUCCEEDED))


async def test_a_flush_sees_the_last_of_several_batches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settle, "BATCH", 1)
    store: Any = Slow()
    settler = Settler(store)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(settler.run)
            settler.put(outcome())
            await store.writing.wait()
            settler.put(outcome())
            async with anyio.create_task_group() as flushes:
                flushes.start_soon(settler.flush)
                await anyio.wait_all_tasks_blocked()
                store.go.set()
            tasks.cancel_scope.cancel()
    assert list(settler.unwritten) == []


async def test_who_waits_is_told_whether_it_ended_before_or_after():
    store: Any = Slow()
    store.go.set()
    settler, told = Settler(store), []
    settler.ended = told.append
    first, second = outcome(), outcome()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(settler.run)
        settler.awaited(first.job.id)
        for settlement in (first, second):
            settler.put(settlement)
        await settler.flush()
        assert told == [first.job.id]
        settler.awaited(second.job.id)
        assert told == [first.job.id, second.job.id]
        tasks.cancel_scope.cancel()


async def test_it_is_full_while_so_much_is_unwritten_and_wakes_for_what_comes_later(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(settle, "BATCH", 1)
    monkeypatch.setattr(settle, "BACKLOG", 2)
    store: Any = Slow()
    settler = Settler(store)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(settler.run)
            settler.put(outcome())
            await store.writing.wait()  # the first is being written, and waits no more
            settler.put(outcome())
            assert not settler.full
            settler.put(outcome())
            assert settler.full
            store.go.set()
            await settler.flush()
            assert not settler.full
            settler.put(outcome())  # after it had gone to sleep
            await settler.flush()
            tasks.cancel_scope.cancel()
    assert list(settler.unwritten) == []
