"""The parts of the exam about calls that do not come to an end of their own."""

import os
import sys

import anyio

from chancy_core.executor import Capability, Executor
from chancy_core.job import Limit
from chancy_core.outcome import Kind
from chancy_core.testing.exam.bench import CONCURRENCY, Bench, told
from chancy_core.testing.exam.mistake import expect
from chancy_core.testing.exam.stage import Held


async def cancels(bench: Bench) -> None:
    """A call that is cancelled ends at once, lets the cancellation through, and ends no other.

    What claims HARD_KILL ends the function with it, which does not listen.
    """
    async with bench.opened() as executor:
        for kind in bench.kinds:
            async with anyio.create_task_group() as tasks, bench.stage() as stage:
                victim, other = (bench.held(stage, kind, name) for name in ("victim", "other"))
                tasks.start_soon(victim.run, executor)
                (function,) = await stage.begun(1, "a call should begin")
                tasks.start_soon(other.run, executor)
                (others,) = await stage.begun(1, "a second call should begin beside the first")
                victim.scope.cancel()
                await bench.freed(victim)
                if bench.able(Capability.HARD_KILL):
                    await killed(bench, function)
                await others.let_go()
                await bench.finished(other, "a call should not mind that another is cancelled")
        await bench.still_works(executor, "a cancelled call", CONCURRENCY)


async def killed(bench: Bench, function: Held) -> None:
    """See that a function, or a command, that does not listen was ended with its call."""
    with anyio.move_on_after(bench.patience) as waited:
        await function.ended()
    expect(
        not waited.cancelled_caught,
        "HARD_KILL should end a function that does not listen",
        "it went on after its call was cancelled",
    )


async def frees(bench: Bench) -> None:
    """Calls that were cancelled hold up no others, whatever their functions go on doing."""
    should = f"{CONCURRENCY} calls should begin beside what as many cancelled ones have left"
    async with bench.opened() as executor:
        for kind in bench.kinds:
            async with anyio.create_task_group() as tasks, bench.stage() as stage:
                left = [bench.held(stage, kind, f"left {n}") for n in range(CONCURRENCY)]
                for call in left:
                    tasks.start_soon(call.run, executor)
                await stage.begun(CONCURRENCY, "calls at once should all begin")
                for call in left:
                    call.scope.cancel()
                    await bench.freed(call)
                others = [bench.held(stage, kind, f"other {n}") for n in range(CONCURRENCY)]
                held: list[Held] = []
                for call in others:
                    tasks.start_soon(call.run, executor)
                    held += await stage.begun(1, should)
                for function in held:
                    await function.let_go()
                for call in others:
                    await bench.finished(call, "a call should not mind what cancelled ones left")


async def times_out(bench: Bench) -> None:
    """A call whose time is over ends by the worker's cancelling it, as a timeout, and at once."""
    limit = 0.2
    async with bench.opened() as executor:
        for kind in bench.kinds:
            await bench.still_works(executor, "nothing")  # so that starting takes none of its time
            async with bench.stage() as stage:
                began = anyio.current_time()
                outcome = await bench.outcome(
                    executor, f"hold{kind}", Limit(Limit.Type.TIME, limit), **stage.call("late")
                )
                took = anyio.current_time() - began
            expect(
                outcome.kind is Kind.TIMEOUT,
                "a call that takes longer than its time limit should end as a timeout",
                told(outcome),
            )
            expect(
                took < limit + bench.patience,
                f"a call with a time limit of {limit} s should end then, and wait for nothing",
                f"it took {took:.1f} s",
            )
        await bench.still_works(executor, "a timeout")


async def crashes(bench: Bench) -> None:
    """A function that ends its process costs its own call, by `ChildDied`, and no other."""
    async with bench.opened() as executor:
        for kind in bench.kinds:
            async with anyio.create_task_group() as tasks, bench.stage() as stage:
                others = [bench.held(stage, kind, f"other {n}") for n in range(CONCURRENCY - 1)]
                for other in others:
                    tasks.start_soon(other.run, executor)
                held = await stage.begun(len(others), "calls at once should all begin")
                await _dies(bench, executor, kind)
                for function in held:
                    await function.let_go()
                for other in others:
                    await bench.finished(other, "a call should not mind that another's child dies")
        await bench.still_works(executor, "a crash", CONCURRENCY)


async def _dies(bench: Bench, executor: Executor, kind: str) -> None:
    outcome = await bench.outcome(executor, f"vanish{kind}", examiner=os.getpid())
    expect(
        outcome.kind is Kind.CHILD_DIED,
        "a function that ends its process should end as ChildDied",
        told(outcome),
    )


async def bounds_memory(bench: Bench) -> None:
    """A call that takes more memory than its limit ends by `MemoryLimitExceeded`, others do not."""
    if sys.platform != "linux":
        return  # nothing else holds a process to an address space
    limit = Limit(Limit.Type.MEMORY, 200_000_000)
    async with bench.opened() as executor:
        for kind in bench.kinds:
            outcome = await bench.outcome(executor, f"grow{kind}", limit, size=400_000_000)
            expect(
                outcome.kind is Kind.MEMORY,
                "a call that takes 400 MB, where its limit is 200, should end for that",
                told(outcome),
            )
            within = await bench.outcome(executor, f"grow{kind}", limit, size=50_000_000)
            expect(
                within.kind is Kind.SUCCESS,
                "a call that takes 50 MB, where its limit is 200, should not mind it",
                told(within),
            )
        await bench.still_works(executor, "a memory limit")
