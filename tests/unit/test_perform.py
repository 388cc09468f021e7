"""The bytes of a call to the bytes of its reply."""

import json
import math
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from chancy import Limit, QueuedJob, RetryAfter, Snooze, State
from chancy_core import codec, perform, registry
from chancy_core.beside import Beside
from chancy_core.errors import InvalidValue, MemoryLimitExceeded, UnknownFunction, Unsupported
from chancy_core.executor import Call, Capability
from chancy_core.hooks import Plugin
from chancy_core.hookspecs import hookimpl
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


@pytest.mark.parametrize("func", ["put_off", "put_off_async"])
def test_what_an_exception_is_and_asks_for_crosses_with_it(func: str) -> None:
    asked = call(func, how="attribute", seconds=2.5)
    with pytest.raises(perform.Raised) as caught:
        performed(asked)
    named = ("tests.jobs.Throttled", "tests.jobs.Refusal", "Exception", "BaseException")
    assert (caught.value.classes, caught.value.retry_after) == (named, 2.5)
    assert perform.Raised.of(caught.value) is caught.value
    with pytest.raises(perform.Raised, match="Snooze: it asks to be begun again in 7 s") as caught:
        performed(call(func, how="snooze", seconds=7))
    assert caught.value.classes[:2] == ("Snooze", "ChancyError")
    assert caught.value.retry_after == 7


YEAR = 366 * 86_400


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        *((5, 5), (0, 0), (0.25, 0.25), (timedelta(minutes=1), 60)),
        *((math.inf, YEAR), (10**400, YEAR), (timedelta.max, YEAR)),
        *((given, None) for given in (-1, math.nan, timedelta(-1), "5", None, True, [], print)),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_time_asks_for_nothing(given: Any, asked: float | None) -> None:
    assert perform.Raised.of(jobs.Throttled(given)).retry_after == asked


def test_an_exception_may_refuse_to_be_asked() -> None:
    class Mute(Exception):
        @property
        def retry_after(self) -> float:
            raise RuntimeError("ask me not")

    raised = perform.Raised.of(Mute())
    assert raised.retry_after is None
    assert raised.classes[0].endswith("test_an_exception_may_refuse_to_be_asked.<locals>.Mute")


def test_a_class_has_one_name_wherever_it_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(Exception):
        __module__ = "__main__"

    monkeypatch.setattr(registry, "main_name", lambda: "app")
    kinds = (TimeoutError, RetryAfter, jobs.Refusal, json.JSONDecodeError, Own)
    assert [perform.class_name(kind).rpartition("<locals>")[2] for kind in kinds] == [
        *("TimeoutError", "RetryAfter", "tests.jobs.Refusal", "json.decoder.JSONDecodeError"),
        ".Own",
    ]
    assert perform.class_name(Own).startswith("app.")
    Own.__module__ = "acme.__main__"
    assert perform.class_name(Own).startswith("acme.test_")


@pytest.mark.parametrize("seconds", ["5", None, True, [], math.nan, math.inf, 10**400, YEAR + 1])
@pytest.mark.parametrize("made", [RetryAfter, Snooze])
def test_what_is_no_time_is_refused_where_it_is_raised(made: Any, seconds: Any) -> None:
    with pytest.raises(InvalidValue, match=rf"^{made.__name__}\(…\) takes a number of seconds"):
        made(seconds)


def test_errors_that_ask_for_time_say_so() -> None:
    assert (RetryAfter(-3).retry_after, RetryAfter(5).retry_after) == (0, 5)
    for nothing in (0, -3):
        with pytest.raises(InvalidValue, match=r"0\.001 to 31,622,400, and not"):
            Snooze(nothing)
    assert str(RetryAfter(1.5)) == "it asks to be tried again in 1.5 s"
    assert str(RetryAfter(5, "busy")) == "busy"
    for error in (RetryAfter(5, "busy"), Snooze(7)):
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), again.retry_after) == (str(error), error.retry_after)


def test_what_plugins_carry_crosses_and_is_not_stored() -> None:
    asked = call("add", a=1, b=2)
    asked.job.carry("acme", {"span": "7"})
    asked.job.carry("other", 1)
    there, *_ = perform._call(perform.request(asked))
    assert there.job.carried == {"acme": {"span": "7"}, "other": 1}
    assert there.job == asked.job
    assert "carried" not in asked.job.pack()


def test_a_worker_of_the_release_before_is_understood() -> None:
    head, _, body = perform.request(call("add", a=1, b=2)).decode().partition("\n")
    message = f"{json.dumps(json.loads(head)[:-2])}\n{body}".encode()
    there, refused, tells = perform._call(message)
    assert (there.job.carried, refused, tells) == (None, None, False)
    kind, _, result = perform.perform(message, ALL, "asyncio", hooks=_broken()).split(b"\n")
    assert (kind, result) == (b"ok", b"3")


def _broken() -> Beside:
    def raising(job: QueuedJob) -> Any:
        raise ValueError("\0 no")

    hooks = Beside()
    made = SimpleNamespace(chancy_call_context=hookimpl(raising))
    hooks.register(Plugin("acme", "acme 1.0", made))
    return hooks


def test_faults_of_plugins_elsewhere_are_counted_here_once() -> None:
    there, here = _broken(), _broken()
    for times in (1, 2, 3):
        asked = call("add", a=1, b=2)
        asked.hooks = here
        answer = perform.perform(perform.request(asked), ALL, "asyncio", hooks=there)
        assert perform.reply(asked, answer) == "3"
        assert here.plugins[0].faults == {"chancy_call_context": times}
    assert here.plugins[0].last["chancy_call_context"][0] == "ValueError: \\x00 no"
    asked = call("fail", text="no")
    asked.hooks = here
    with pytest.raises(perform.Raised):
        perform.reply(asked, perform.perform(perform.request(asked), ALL, "asyncio", hooks=there))
    assert here.plugins[0].faults == {"chancy_call_context": 4}
    here.hear([("nobody", "chancy_call_context", 1, "no")])
