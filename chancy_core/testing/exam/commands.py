"""The part of the exam for executors that run command lines.

A job names a command that the options of its queue allow. Its arguments are `args`, a list of
strings that are added to the command's own, and `stdin`, a text, both of which it may leave out.
The result has `status`, `stdout` and `stderr`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import anyio

from chancy_core import codec
from chancy_core.executor import Call, Capability, Executor
from chancy_core.job import Limit
from chancy_core.outcome import Kind, Outcome
from chancy_core.run import Attempt
from chancy_core.store.rows import Claimed
from chancy_core.testing.exam.bench import CONCURRENCY, Bench, Beside, asked, told
from chancy_core.testing.exam.endings import killed
from chancy_core.testing.exam.mistake import expect
from chancy_core.testing.exam.stage import Stage

#: The command that the options have to allow, with up to four arguments of a job's own.
NAME = "exam"
LINE = (sys.executable, "-I", "-S", "-X", "utf8", str(Path(__file__).with_name("line.py")))

#: Arguments and a text that anything but a program itself would understand otherwise.
_ARGS = ("a b", "$HOME `id` *", "'\"; exit 1")
_TEXT = "ü\n$(id)\n"


async def commands(bench: Bench) -> None:
    """It runs the commands that its queue allows, as they stand, and ends them."""
    async with bench.opened() as executor:
        await _answers(executor)
        await _refuses(bench, executor)
        await _cancels(bench, executor)
        await _times_out(bench, executor)
        await _answers(executor)


async def _outcome(executor: Executor, name: str, *limits: Limit, **kwargs: Any) -> Outcome:
    job, text = asked(name, kwargs, limits)
    return await Attempt(Claimed(job, text, 1)).run(executor)


async def _answers(executor: Executor) -> None:
    outcome = await _outcome(executor, NAME, args=["echo", *_ARGS], stdin=_TEXT)
    expect(
        outcome.kind is Kind.SUCCESS
        and codec.decode(outcome.result or "null") == _said(json.dumps([_ARGS, _TEXT])),
        "a command should have its arguments and its text as they are, by no shell, and its result "
        "the status and what it wrote",
        told(outcome),
    )
    outcome = await _outcome(executor, NAME, args=["leave", "3"])
    text = outcome.failure.message if outcome.failure else ""
    expect(
        outcome.kind is Kind.ERROR and "3" in text and "no way" in text,
        "a command that leaves with status 3 should end in an error with that and what it said",
        told(outcome),
    )


def _said(stdout: str) -> dict[str, Any]:
    return {"status": 0, "stdout": stdout, "stderr": ""}


async def _refuses(bench: Bench, executor: Executor) -> None:
    outcome = await _outcome(executor, LINE[0], args=["-V"])
    expect(
        outcome.kind is Kind.UNKNOWN_FUNCTION,
        "a program that the queue does not allow by that name should be an UnknownFunction",
        told(outcome),
    )
    for wrong in ({"args": "echo"}, {"args": ["echo"] * 5}, {"shell": "echo"}):
        outcome = await _outcome(executor, NAME, **wrong)
        expect(
            outcome.failure is not None and outcome.failure.type == "InvalidValue",
            f"a job with {wrong} should end in InvalidValue",
            told(outcome),
        )
    if not bench.able(Capability.MEMORY_LIMIT):
        outcome = await _outcome(executor, NAME, Limit(Limit.Type.MEMORY, 1e9), args=["echo"])
        expect(
            outcome.kind is Kind.UNSUPPORTED,
            "a memory limit that it does not keep should be refused by Unsupported",
            told(outcome),
        )


def _held(stage: Stage, name: str) -> Beside:
    """Make a call whose command reports to the stage."""
    job, text = asked(NAME, {"args": ["hold", *map(str, stage.call(name).values())]})
    return Beside(Call(job, text), name)


async def _cancels(bench: Bench, executor: Executor) -> None:
    async with anyio.create_task_group() as tasks, bench.stage() as stage:
        victim = _held(stage, "victim")
        tasks.start_soon(victim.run, executor)
        (command,) = await stage.begun(1, "a command should begin")
        others = [_held(stage, f"other {n}") for n in range(CONCURRENCY - 1)]
        for other in others:
            tasks.start_soon(other.run, executor)
        held = await stage.begun(len(others), "other commands should begin beside the first")
        victim.scope.cancel()
        await bench.freed(victim)
        if bench.able(Capability.HARD_KILL):
            await killed(bench, command)
        for one in held:
            await one.let_go()
        for other in others:
            with anyio.move_on_after(bench.patience):
                await other.ended.wait()
            should = f"a command should write {other.name!r}, although another is cancelled"
            expect(other.returned == _said(other.name), should, other.how)


async def _times_out(bench: Bench, executor: Executor) -> None:
    async with bench.stage() as stage:
        late = _held(stage, "late").call.job
        outcome = await _outcome(executor, NAME, Limit(Limit.Type.TIME, 0.2), **late.kwargs)
    expect(
        outcome.kind is Kind.TIMEOUT,
        "a command that takes longer than its time limit should end as a timeout",
        told(outcome),
    )
