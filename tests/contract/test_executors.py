"""What every executor of ours promises, on both event loops."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from chancy import Limit
from chancy_core import codec, discovery
from chancy_core.executor import Call, Capability, Executor, ExecutorHost, NoOptions
from chancy_core.installed import backend_name
from chancy_core.outcome import Kind, Outcome
from tests import jobs
from tests.attempts import attempt, fifo, is_gone, opened, read, unplugged

EVERY = ["async", "thread", "process"]


def suited(executor: str, func: str) -> str:
    """The function's coroutine twin, for the executor that runs nothing else."""
    return f"{func}_async" if executor == "async" else func


@pytest.mark.parametrize("name", EVERY)
async def test_it_returns_what_the_function_returns(name: str, anyio_backend: str) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await attempt(suited(name, "add"), a=2, b=3).run(executor)
        assert outcome == Outcome(Kind.SUCCESS, "5")


def test_how_many_run_at_once_if_the_queue_leaves_it_open() -> None:
    made = {name: discovery.load("chancy.executors", name) for name in EVERY}
    assert {name: executor.default_concurrency for name, executor in made.items()} == {
        "async": 100,
        "thread": 32,
        "process": os.cpu_count(),
    }


@pytest.mark.parametrize("name", ["thread", "process"])
async def test_coroutine_functions_run_off_the_loop_too(name: str, anyio_backend: str) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await attempt("add_async", a=2, b=3).run(executor)
        assert outcome == Outcome(Kind.SUCCESS, "5")


@pytest.mark.parametrize("name", EVERY)
async def test_arguments_arrive_as_annotated(name: str, anyio_backend: str) -> None:
    async with opened(name, anyio_backend) as executor:
        when = datetime(2026, 2, 28, tzinfo=UTC)
        outcome = await attempt(suited(name, "tomorrow"), when=when, who=uuid4()).run(executor)
        assert outcome.kind is Kind.SUCCESS, outcome
        assert codec.decode(outcome.result or "") == ["2026-03-01T00:00:00+00:00", "UUID"]


@pytest.mark.parametrize("name", EVERY)
async def test_an_argument_that_does_not_fit_is_the_jobs_error(
    name: str, anyio_backend: str
) -> None:
    async with opened(name, anyio_backend) as executor:
        func = suited(name, "tomorrow")
        outcome = await attempt(func, when="never", who=str(uuid4())).run(executor)
        assert outcome.kind is Kind.ERROR
        assert outcome.failure is not None
        assert outcome.failure.type == "InvalidValue"
        assert "argument when" in outcome.failure.message


@pytest.mark.parametrize("name", EVERY)
async def test_an_error_keeps_its_class_text_and_traceback(name: str, anyio_backend: str) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await attempt(suited(name, "fail"), text="no way").run(executor)
        assert outcome.kind is Kind.ERROR
        assert outcome.failure is not None
        assert (outcome.failure.attempt, outcome.failure.kind) == (1, "error")
        assert outcome.failure.type == "tests.jobs.Refusal"
        assert outcome.failure.message == "no way"
        assert "raise Refusal(text)" in outcome.failure.traceback


@pytest.mark.parametrize("name", EVERY)
async def test_sys_exit_ends_the_job_and_nothing_else(name: str, anyio_backend: str) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await attempt(suited(name, "leave_by_exit")).run(executor)
        assert outcome.kind is Kind.ERROR
        assert outcome.failure is not None
        assert (outcome.failure.type, outcome.failure.message) == ("SystemExit", "3")
        assert (await attempt(suited(name, "add"), a=1, b=1).run(executor)).result == "2"


class Unheard(BaseException):
    """What is no Exception, and no cancellation either."""


@pytest.mark.parametrize("contexts", [False, True])
async def test_an_exception_of_whatever_kind_is_the_jobs_own(contexts: bool) -> None:
    class Raising(Executor):
        capabilities = Capability.ASYNC

        async def run(self, call: Call) -> Any:
            raise Unheard("of")

    host = ExecutorHost((), backend_name())
    plugins = unplugged()
    outcome = await attempt("add").run(Raising(NoOptions(), 1, host), plugins if contexts else None)
    assert outcome.kind is Kind.ERROR
    assert outcome.failure is not None
    assert outcome.failure.message == "of"


@pytest.mark.parametrize("name", EVERY)
async def test_a_result_without_a_json_form_is_stored_as_its_repr(
    name: str, anyio_backend: str
) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await attempt(suited(name, "opaque")).run(executor)
        assert outcome.kind is Kind.SUCCESS
        assert codec.decode(outcome.result or "")["repr"].startswith("<object object at")


@pytest.mark.parametrize("name", EVERY)
async def test_an_unknown_function_is_not_an_attempt(name: str, anyio_backend: str) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await attempt("nobody").run(executor)
        assert outcome.kind is Kind.UNKNOWN_FUNCTION
        assert outcome.failure is not None
        assert outcome.failure.attempt == 0
        assert "'tests.jobs.nobody'" in outcome.failure.message


@pytest.mark.parametrize(
    ("name", "func", "limits"),
    [
        ("async", "add", ()),
        ("async", "add_async", (Limit(Limit.Type.MEMORY, 1e9),)),
        ("thread", "add", (Limit(Limit.Type.MEMORY, 1e9),)),
    ],
)
async def test_it_refuses_what_it_cannot_do(
    name: str, func: str, limits: tuple[Limit, ...], anyio_backend: str
) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await attempt(func, *limits, a=1, b=1).run(executor)
        assert outcome.kind is Kind.UNSUPPORTED
        assert outcome.failure is not None
        assert outcome.failure.attempt == 0


@pytest.mark.parametrize("ends_as", [Kind.TIMEOUT, Kind.SHUTDOWN])
@pytest.mark.parametrize("name", EVERY)
async def test_cancellation_ends_an_attempt_within_a_second(
    name: str, ends_as: Kind, anyio_backend: str, tmp_path: Path
) -> None:
    begun = fifo(tmp_path)
    jobs.released.clear()
    outcomes = []

    async def run() -> None:
        outcomes.append(await tried.run(executor))

    async with opened(name, anyio_backend) as executor:
        tried = attempt(suited(name, "hold"), fifo=str(begun))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                pid = int(await read(begun))
                tried.ends_as = ends_as
                since = anyio.current_time()
                tried.scope.cancel()
            assert anyio.current_time() - since < 1
        finally:
            jobs.released.set()
    assert [outcome.kind for outcome in outcomes] == [ends_as]
    if name == "process":
        assert is_gone(pid)
    if name == "async":
        assert str(begun) in jobs.ended


@pytest.mark.parametrize("name", EVERY)
async def test_a_time_limit_ends_an_attempt(name: str, anyio_backend: str, tmp_path: Path) -> None:
    begun = fifo(tmp_path)
    jobs.released.clear()
    async with opened(name, anyio_backend) as executor:
        await attempt(suited(name, "add"), a=1, b=1).run(executor)  # so that a child is there
        tried = attempt(suited(name, "hold"), Limit(Limit.Type.TIME, 0.3), fifo=str(begun))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, begun)
                outcome = await tried.run(executor)
        finally:
            jobs.released.set()
    assert outcome.kind is Kind.TIMEOUT
    assert outcome.failure is not None
    assert outcome.failure.type == "TimeLimitExceeded"
    assert "0.3 s" in outcome.failure.message


@pytest.mark.parametrize("name", EVERY)
async def test_closing_leaves_no_file_open(name: str, anyio_backend: str) -> None:
    async def use() -> int:
        async with opened(name, anyio_backend) as executor, anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(attempt(suited(name, "add"), a=1, b=1).run, executor)
        return len(list(Path("/dev/fd").iterdir()))

    first = await use()  # what the event loop opens once, and keeps
    assert await use() <= first
