"""The parts of the exam about many calls, more slots or fewer, and the executor's own end."""

import time
from collections.abc import Iterator

import anyio

from chancy_core import codec
from chancy_core.executor import Executor
from chancy_core.outcome import Kind, Outcome
from chancy_core.testing.exam import jobs
from chancy_core.testing.exam.bench import CONCURRENCY, Bench, told
from chancy_core.testing.exam.mistake import Mistake, expect

#: How many calls a flood has, unless they take longer than `FLOOD_TIME` seconds.
FLOOD, FLOOD_TIME = 300, 1.0


async def floods(bench: Bench) -> None:
    """As many calls as it may have run at once, hundreds in all, and each has its own result."""
    async with bench.opened() as executor:
        for kind in bench.kinds:
            async with anyio.create_task_group() as tasks, bench.stage() as stage:
                calls = [bench.held(stage, kind, f"call {n}") for n in range(CONCURRENCY)]
                for call in calls:
                    tasks.start_soon(call.run, executor)
                should = (
                    f"all {CONCURRENCY} calls should run at once, where that is its concurrency"
                )
                for function in await stage.begun(CONCURRENCY, should):
                    await function.let_go()
                for call in calls:
                    await bench.finished(call, "each of several calls at once should end")
            numbers = iter(range(FLOOD))
            until = time.monotonic() + FLOOD_TIME
            async with anyio.create_task_group() as tasks:
                for _ in range(CONCURRENCY):
                    tasks.start_soon(_flood, bench, executor, kind, numbers, until)


async def _flood(
    bench: Bench, executor: Executor, kind: str, numbers: Iterator[int], until: float
) -> None:
    for number in numbers:
        outcome = await bench.outcome(executor, f"echo{kind}", value=number)
        expect(
            outcome == Outcome(Kind.SUCCESS, codec.as_text(number)),
            f"one of many calls should return {number}",
            told(outcome),
        )
        if time.monotonic() > until:
            return


async def resizes(bench: Bench) -> None:
    """It runs more calls at once, or fewer, as soon as it is told to; what runs is not touched."""
    kind = next(bench.kinds)
    async with (
        bench.opened(1) as executor,
        anyio.create_task_group() as tasks,
        bench.stage() as stage,
    ):
        calls = [bench.held(stage, kind, f"call {n}") for n in range(3)]
        tasks.start_soon(calls[0].run, executor)
        held = await stage.begun(1, "a call should begin")
        _told(executor, 3)
        for call in calls[1:]:
            tasks.start_soon(call.run, executor)
            held += await stage.begun(
                1, "after resize(3) 2 more calls should begin beside the first"
            )
        _told(executor, 1)
        ended = [call.how for call in calls if call.ended.is_set()]
        expect(not ended, "after resize(1) what runs should go on", " and ".join(ended))
        for function in held:
            await function.let_go()
        for call in calls:
            await bench.finished(call, "a call should not mind a resize")
        await bench.still_works(executor, "a resize")


def _told(executor: Executor, concurrency: int) -> None:
    executor.resize(concurrency)
    expect(
        executor.concurrency == concurrency,
        f"after resize({concurrency}) that should be its concurrency",
        f"it is {executor.concurrency}",
    )


async def stops(bench: Bench) -> None:
    """It lets go at the end of its block: unused, used, cancelled, or left by an error."""
    async with bench.opened():
        pass
    for kind in bench.kinds:
        async with bench.opened() as executor:
            await _cancel_all(bench, executor, kind)
    raised = jobs.Refusal("out of the block")
    with anyio.CancelScope() as scope:
        try:
            async with bench.opened() as executor:
                await bench.still_works(executor, "nothing")
                raise raised
        except jobs.Refusal as exc:
            expect(exc is raised, "an error should leave its block as it is", f"it is {exc!r}")
        else:
            raise Mistake("an error should leave its block; it was swallowed")
        async with bench.opened() as executor:
            await bench.still_works(executor, "nothing")
            scope.cancel()
    # What it has left is counted when this part is over.


async def _cancel_all(bench: Bench, executor: Executor, kind: str) -> None:
    async with anyio.create_task_group() as tasks, bench.stage() as stage:
        calls = [bench.held(stage, kind, f"call {n}") for n in range(CONCURRENCY)]
        for call in calls:
            tasks.start_soon(call.run, executor)
        await stage.begun(CONCURRENCY, "calls at once should all begin")
        for call in calls:
            call.scope.cancel()
        for call in calls:
            await bench.freed(call)
