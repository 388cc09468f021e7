"""The bytes of a call to the bytes of its reply."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from chancy import Limit, QueuedJob, State
from chancy_core import codec, perform
from chancy_core.errors import InvalidValue, MemoryLimitExceeded, UnknownFunction, Unsupported
from chancy_core.executor import Call, Capability
from tests import jobs

ALL = Capability.SYNC | Capability.ASYNC | Capability.MEMORY_LIMIT


def call(func: str, *limits: Limit, **kwargs: Any) -> Call:
    job = QueuedJob(
        f"{jobs.__name__}.{func}",
        id=uuid4(),
        state=State.RUNNING,
        created_at=datetime.now(UTC),
        limits=limits,
        kwargs=kwargs,
    )
    return Call(job, json.dumps(kwargs))


def performed(asked: Call, capabilities: Capability = ALL, backend: str = "asyncio") -> str:
    return perform.reply(asked, perform.perform(perform.request(asked), capabilities, backend))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("func", ["add", "add_async"])
def test_a_call_becomes_its_result(func: str, backend: str) -> None:
    assert performed(call(func, a=2, b=3), backend=backend) == "5"


def test_a_result_is_json_already() -> None:
    answer = performed(call("opaque"))
    assert type(answer) is codec.Encoded
    assert "repr" in codec.decode(answer)


def test_an_error_crosses_as_what_is_kept_of_it() -> None:
    with pytest.raises(perform.Raised, match=r"tests\.jobs\.Refusal: \\x00 \\ud800\n") as caught:
        performed(call("fail", text="\0 \ud800\n\u2028"))
    failure = caught.value.failure
    assert (failure.type, failure.message) == ("tests.jobs.Refusal", "\\x00 \\ud800\n\u2028")
    assert "in fail" in failure.traceback


@pytest.mark.parametrize("func", ["leave_by_exit", "leave_by_exit_async"])
def test_leaving_is_an_error_like_others(func: str) -> None:
    with pytest.raises(perform.Raised, match="SystemExit: 3"):
        performed(call(func))


def test_errors_of_ours_keep_their_class() -> None:
    with pytest.raises(UnknownFunction, match="nobody"):
        performed(call("nobody"))
    with pytest.raises(Unsupported, match="coroutine"):
        performed(call("add_async", a=1, b=1), Capability.SYNC)
    with pytest.raises(Unsupported, match="memory"):
        performed(call("add", Limit(Limit.Type.MEMORY, 9), a=1, b=1), Capability.SYNC)


def test_arguments_that_do_not_fit_are_the_jobs_error() -> None:
    with pytest.raises(perform.Raised, match=r"InvalidValue: .*argument who"):
        performed(call("tomorrow", when="2026-01-01", who="me"))
    with pytest.raises(perform.Raised, match="TypeError"):
        performed(call("add", a=1))
    broken = Call(call("add").job, "[1]")
    with pytest.raises(perform.Raised, match="InvalidValue: expected a JSON object, not list"):
        performed(broken)


def test_the_limit_holds_while_the_function_runs() -> None:
    limits: list[float | None] = []

    @contextmanager
    def limited(limit: float | None) -> Iterator[None]:
        limits.append(limit)
        raise MemoryError("that was all")
        yield

    asked = call("add", Limit(Limit.Type.MEMORY, 5e8), a=1, b=1)
    answer = perform.perform(perform.request(asked), ALL, "asyncio", limited)
    with pytest.raises(MemoryLimitExceeded, match=r"tests\.jobs\.add: out of memory: that was all"):
        perform.reply(asked, answer)
    assert limits == [5e8]


def test_a_call_is_resolved_where_it_runs() -> None:
    func, arguments = call("tomorrow", when="2026-01-01", who=str(uuid4())).resolve(ALL)
    assert func is jobs.tomorrow.func
    assert isinstance(arguments["when"], datetime)
    with pytest.raises(InvalidValue, match="argument when"):
        call("tomorrow", when="x").resolve(ALL)
    with pytest.raises(UnknownFunction):
        call("nobody").resolve(ALL)
