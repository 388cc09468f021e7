"""Command lines for tests, and attempts at jobs that run them; made without a database."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from attrs import evolve

from chancy import Limit
from chancy_core import codec
from chancy_core.executor import Executor, ExecutorHost
from chancy_core.outcome import Kind, Outcome
from chancy_core.run import Attempt
from chancy_executors.allowed import CommandOptions
from chancy_executors.command import CommandExecutor
from tests import attempts


def sh(script: str, **settings: Any) -> dict[str, Any]:
    """A command that runs a script; what a job adds is its `$1` and so on."""
    return {"argv": ["sh", "-c", script, "sh"], **settings}


def python(code: str, **settings: Any) -> dict[str, Any]:
    return {"argv": [sys.executable, "-I", "-S", "-X", "utf8", "-c", code], **settings}


@asynccontextmanager
async def allowing(
    backend: str, commands: Mapping[str, Any], **options: Any
) -> AsyncIterator[Executor]:
    """An executor of a queue that allows these commands."""
    made = codec.structured("options", {"commands": commands, **options}, CommandOptions)
    async with CommandExecutor(made, 8, ExecutorHost((), backend)) as executor:
        yield executor


def asked(name: str, *limits: Limit, **kwargs: Any) -> Attempt:
    """An attempt at a job that names a command."""
    tried = attempts.attempt(name, *limits, **kwargs)
    return Attempt(evolve(tried.claimed, job=evolve(tried.job, func=name, queue="lines")))


async def ran(
    backend: str,
    command: Mapping[str, Any],
    *limits: Limit,
    max_output: int = 16_384,
    **kwargs: Any,
) -> Outcome:
    """What came of a job of a queue that allows this one command, as `it`."""
    async with allowing(backend, {"it": command}, max_output=max_output) as executor:
        return await asked("it", *limits, **kwargs).run(executor)


def result(outcome: Outcome) -> Any:
    assert outcome.kind is Kind.SUCCESS, outcome
    return codec.decode(outcome.result or "null")


def failure(outcome: Outcome) -> tuple[Kind, int, str]:
    """How it ended, as which attempt it counts, and what is told of it."""
    assert outcome.failure is not None, outcome
    return outcome.kind, outcome.failure.attempt, outcome.failure.message
