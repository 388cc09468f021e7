"""The slots of one queue: what was handed over but has not begun can be handed back."""

import anyio
import pytest

from chancy import Queue, State
from chancy_core.events import Events
from chancy_core.executor import Call, Capability, Executor, ExecutorHost, NoOptions
from chancy_core.installed import backend_name
from chancy_core.lane import Lane
from chancy_core.outcome import Kind, Settlement
from tests.attempts import attempt, unplugged

pytestmark = pytest.mark.anyio


class Recorder(Executor):
    """Runs nothing, and notes what it was to run."""

    capabilities = Capability.SYNC | Capability.ASYNC
    calls: list[Call]

    async def run(self, call: Call) -> None:
        self.calls.append(call)


async def test_what_has_not_begun_is_handed_back_uncounted():
    settled: list[Settlement] = []
    executor = Recorder(NoOptions(), 2, ExecutorHost((), backend_name()))
    executor.calls = []
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
    given = [attempt("add", a=n, b=n).claimed for n in range(2)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lane.run)
        await opened.wait()
        lane.give(given)
        assert lane.free == 0
        lane.hand_back()  # before any slot had a turn
        assert lane.free == 2
        await lane.drained()
        tasks.cancel_scope.cancel()
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
