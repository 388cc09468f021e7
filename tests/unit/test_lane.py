"""The slots of one queue: what was handed over but has not begun can be handed back."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import anyio
import pytest
from anyio.lowlevel import checkpoint
from attrs import evolve

from chancy import Limit, Queue, State
from chancy_core.events import Events
from chancy_core.executor import Call, Capability, Executor, ExecutorHost, NoOptions
from chancy_core.installed import backend_name
from chancy_core.job import LimitKind
from chancy_core.lane import Lane
from chancy_core.outcome import Kind, Settlement
from tests.attempts import attempt, unplugged

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def serving(executor: Executor, settled: list[Settlement]) -> AsyncIterator[Lane]:
    """A lane that is open, and is ended behind the block."""
    opened = anyio.Event()
    lane = Lane(
        Queue("q"),
        executor,
        holds=lambda _: True,
        settled=settled.append,
        wake=opened.set,
        events=Events(),
        plugins=unplugged(),
    )
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            await opened.wait()
            yield lane
            tasks.cancel_scope.cancel()


def made(kind: type[Executor], slots: int) -> Any:
    return kind(NoOptions(), slots, ExecutorHost((), backend_name()))


class Recorder(Executor):
    """Runs nothing, and notes what it was to run."""

    capabilities = Capability.SYNC | Capability.ASYNC
    calls: list[Call]

    async def run(self, call: Call) -> None:
        self.calls.append(call)


async def test_what_has_not_begun_is_handed_back_uncounted():
    settled: list[Settlement] = []
    executor = made(Recorder, 2)
    executor.calls = []
    given = [attempt("add", a=n, b=n).claimed for n in range(2)]
    async with serving(executor, settled) as lane:
        lane.give(given)
        assert lane.free == 0
        lane.hand_back()  # before any slot had a turn
        assert lane.free == 2
        await lane.drained()
    assert executor.calls == []
    assert [s.job.id for s in settled] == [claimed.job.id for claimed in given]
    assert {s.outcome.kind for s in settled} == {Kind.SHUTDOWN}
    assert {(s.verdict.state, s.verdict.counted) for s in settled} == {(State.PENDING, False)}


class Held(Executor):
    """Runs each call until it is let go."""

    capabilities = Capability.SYNC | Capability.ASYNC
    go: anyio.Event
    begun: anyio.Event

    async def run(self, call: Call) -> None:
        self.begun.set()
        await self.go.wait()


async def test_a_retired_lane_is_drained_for_all_who_wait():
    executor = Held(NoOptions(), 1, ExecutorHost((), backend_name()))
    executor.go, executor.begun = anyio.Event(), anyio.Event()
    opened = anyio.Event()
    lane = Lane(
        Queue("q"),
        executor,
        holds=lambda _: True,
        settled=lambda _: None,
        wake=opened.set,
        events=Events(),
        plugins=unplugged(),
    )
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lane.run)
            await opened.wait()
            lane.give([attempt("add", a=1, b=1).claimed])
            await executor.begun.wait()
            lane.retire()  # `run` waits for the rest, and so does a worker that stops
            tasks.start_soon(lane.drained)
            await anyio.wait_all_tasks_blocked()
            executor.go.set()
    assert not lane.running


class Scripted(Executor):
    """Does what it is told to by the first argument of each job; all others return at once."""

    capabilities = Capability.SYNC | Capability.ASYNC
    tasks: Counter[int]
    script: dict[int, Callable[[], Any]]

    async def run(self, call: Call) -> None:
        self.tasks[anyio.get_current_task().id] += 1
        step = self.script.get(call.job.kwargs["a"])
        if step is not None:
            await step()


def scripted(slots: int, script: dict[int, Callable[[], Any]]) -> Scripted:
    executor: Scripted = made(Scripted, slots)
    executor.tasks, executor.script = Counter(), script
    return executor


def kinds(settled: list[Settlement]) -> dict[int, Kind]:
    return {s.job.kwargs["a"]: s.outcome.kind for s in settled}


async def test_jobs_that_wait_for_nothing_need_few_slots_and_those_that_wait_get_one_each():
    settled: list[Settlement] = []
    go, begun = anyio.Event(), []

    async def wait() -> None:
        begun.append(1)
        await go.wait()

    executor = scripted(20, dict.fromkeys(range(100, 120), wait))
    async with serving(executor, settled) as lane:
        lane.give([attempt("add", a=n, b=0).claimed for n in range(20)])
        await lane.drained()
        assert len(executor.tasks) < 20
        lane.give([attempt("add", a=100 + n, b=0).claimed for n in range(20)])
        await anyio.wait_all_tasks_blocked()
        assert len(begun) == 20
        go.set()
        await lane.drained()
    assert set(kinds(settled).values()) == {Kind.SUCCESS}
    assert len(settled) == 40


async def test_jobs_that_wait_for_nothing_let_others_have_the_loop():
    settled: list[Settlement] = []
    beats = 0

    async def work() -> None:
        until = time.monotonic() + 0.002
        while time.monotonic() < until:
            pass

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await checkpoint()

    executor = scripted(1, dict.fromkeys(range(50), work))
    async with serving(executor, settled) as lane, anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        await checkpoint()
        beats = 0
        lane.give([attempt("add", a=n, b=0).claimed for n in range(50)])
        await lane.drained()
        tasks.cancel_scope.cancel()
    assert beats > 10  # 100 ms of work, 5 at a time


async def test_the_end_of_one_job_is_none_of_the_next_in_the_same_slot():
    settled: list[Settlement] = []
    begun = anyio.Event()

    async def wait() -> None:
        begun.set()
        await anyio.sleep_forever()

    async def yields() -> None:
        await checkpoint()

    script = {1: wait} | dict.fromkeys(range(2, 6), yields)
    async with serving(scripted(1, script), settled) as lane:
        lane.give([attempt("add", a=n, b=0).claimed for n in range(6)])
        await begun.wait()
        for running in lane.running:
            running.end(Kind.CANCELLED)
        await lane.drained()
    expected = dict.fromkeys((0, 2, 3, 4, 5), Kind.SUCCESS) | {1: Kind.CANCELLED}
    assert kinds(settled) == expected


async def test_a_limit_of_time_is_none_of_the_next_in_the_same_slot():
    settled: list[Settlement] = []

    async def brief() -> None:
        await checkpoint()

    async def long() -> None:
        await anyio.sleep(0.3)

    limited = [
        attempt("add", Limit(LimitKind.TIME, 0.01), a=0, b=0),
        attempt("add", a=1, b=0),
        attempt("add", Limit(LimitKind.TIME, 0.1), a=2, b=0),
        attempt("add", a=3, b=0),
    ]
    async with serving(scripted(1, {0: long, 1: long, 2: brief, 3: long}), settled) as lane:
        lane.give([each.claimed for each in limited])
        await lane.drained()
    assert kinds(settled) == {0: Kind.TIMEOUT, 1: Kind.SUCCESS, 2: Kind.SUCCESS, 3: Kind.SUCCESS}


async def test_a_job_that_ends_although_it_was_told_to_harms_no_other_in_its_slot():
    settled: list[Settlement] = []
    lanes: list[Lane] = []

    async def told() -> None:
        (running,) = lanes[0].running
        running.end(Kind.CANCELLED)

    async def yields() -> None:
        await checkpoint()

    async with serving(scripted(1, {0: told, 1: yields}), settled) as lane:
        lanes.append(lane)
        lane.give([attempt("add", a=n, b=0).claimed for n in range(2)])
        await lane.drained()
    assert kinds(settled) == {0: Kind.SUCCESS, 1: Kind.SUCCESS}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_job_that_cancels_its_task_harms_no_other_in_its_slot():
    import asyncio  # noqa: TID251 - what is tested is a job that uses it

    settled: list[Settlement] = []
    begun = anyio.Event()

    async def cancel_and_return() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    async def cancel_and_swallow() -> None:
        await cancel_and_return()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(1)

    async def wait() -> None:
        begun.set()
        await anyio.sleep_forever()

    async def yields() -> None:
        await checkpoint()

    script = {0: cancel_and_return, 1: yields, 2: cancel_and_swallow, 3: wait, 4: yields}
    async with serving(scripted(1, script), settled) as lane:
        lane.give([attempt("add", a=n, b=0).claimed for n in range(4)])
        await begun.wait()
        (running,) = lane.running
        running.end(Kind.CANCELLED)
        await lane.drained()
        lane.give([attempt("add", a=4, b=0).claimed])
        await lane.drained()
    expected = dict.fromkeys((0, 1, 2, 4), Kind.SUCCESS) | {3: Kind.CANCELLED}
    assert kinds(settled) == expected


async def test_only_quick_jobs_are_claimed_ahead_and_only_behind_full_slots(monkeypatch):
    clock = 100.0
    monkeypatch.setattr("chancy_core.ahead.monotonic", lambda: clock)
    settled: list[Settlement] = []
    async with serving(scripted(4, {}), settled) as lane:
        assert lane.room == 4  # nothing is known of its jobs
        assert lane.ahead.answered(4, 4, 4)
        assert lane.room == 4
        lane.ahead.took(0.001)
        assert lane.room == 8
        lane.change(Queue("q", concurrency=4, rate_limit=5, rate_limit_window=1))
        assert lane.room == 4  # somebody counts
        lane.change(Queue("q", concurrency=4))
        assert lane.room == 8
        assert lane.ahead.answered(4, 8, 5)  # it may be that what is left must not be claimed ahead
        assert lane.room == 4
        assert not lane.ahead.answered(4, 4, 3)  # it is dry
        assert lane.ahead.answered(4, 4, 4)
        assert lane.room == 8
        clock += 1.5  # all the while there was no free slot
        assert lane.room == 4
        for _ in range(100):
            lane.ahead.took(0.2)
        assert lane.ahead.answered(4, 4, 4)
        assert lane.room == 4  # they are not quick any more


async def test_what_waits_for_a_slot_goes_back_late_or_at_a_pause(monkeypatch):
    clock = 100.0
    monkeypatch.setattr("chancy_core.lane.monotonic", lambda: clock)
    settled: list[Settlement] = []
    begun = anyio.Event()

    async def wait() -> None:
        begun.set()
        await anyio.sleep_forever()

    async with serving(scripted(1, {0: wait}), settled) as lane:
        lane.give([attempt("add", a=n, b=0).claimed for n in range(2)])
        await begun.wait()
        clock += 0.9
        lane.give([attempt("add", a=2, b=0).claimed])
        lane.hand_back_late()
        assert settled == []
        clock += 0.2
        lane.hand_back_late()
        assert kinds(settled) == {1: Kind.SHUTDOWN}
        lane.change(Queue("q", state=Queue.State.PAUSED))
        assert kinds(settled) == {1: Kind.SHUTDOWN, 2: Kind.SHUTDOWN}
        assert {(s.verdict.state, s.verdict.counted) for s in settled} == {(State.PENDING, False)}


async def test_what_is_cancelled_before_it_has_a_slot_goes_back_to_be_finished():
    settled: list[Settlement] = []
    begun = anyio.Event()

    async def wait() -> None:
        begun.set()
        await anyio.sleep_forever()

    claims = [attempt("add", a=n, b=0).claimed for n in range(3)]
    claims = [evolve(each, job=evolve(each.job, lease_id=uuid4())) for each in claims]
    async with serving(scripted(1, {0: wait}), settled) as lane:
        lane.give(claims)
        await begun.wait()
        assert claims[1].job.lease_id is not None
        lane.cancel_job(claims[1].job.lease_id)
        assert kinds(settled) == {1: Kind.SHUTDOWN}
        assert [claimed.job.kwargs["a"] for claimed in lane.held] == [0, 2]
