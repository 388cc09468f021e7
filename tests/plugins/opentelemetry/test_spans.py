"""Spans of attempts and of pushes, as they come out of a program that has set OpenTelemetry up."""

import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import pytest
from attrs import evolve
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.trace import SpanKind, StatusCode

from chancy import Chancy, Job, Limit, Queue, State, Worker
from chancy_core.errors import InvalidPlugin
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_plugins import opentelemetry
from chancy_plugins.opentelemetry import OpenTelemetry, attempts
from tests import watched
from tests.attempts import running

pytestmark = pytest.mark.anyio

Finished = Callable[[str], list[Any]]


def spans() -> trace.Tracer:
    """Return the tracer of the program, of the provider that there is now."""
    return trace.get_tracer("the tests")


@asynccontextmanager
async def working(dsn: str, executor: str = "async", **settings: Any) -> AsyncIterator[Chancy]:
    plugins = [OpenTelemetry(**settings)] if settings else []
    async with Chancy(dsn, plugins=plugins) as chancy:
        await chancy.declare(Queue("q", executor=executor, concurrency=2))
        async with Worker(chancy, name="alpha", signals=False):
            yield chancy


async def pushed(chancy: Chancy, asked: Any) -> Any:
    """Push a job within a span; answers it once it has ended."""
    with spans().start_as_current_span("the push"):
        reference = await chancy.push(asked)
    return await chancy.wait_for_job(reference, timeout=30)


def only(found: list[Any]) -> Any:
    (span,) = found
    return span


@pytest.mark.parametrize("executor", ["async", "thread", "process"])
async def test_an_attempt_is_linked_with_its_push_and_the_function_runs_in_it(
    dsn: str, finished: Finished, executor: str
) -> None:
    func = watched.where_async if executor == "async" else watched.where
    async with working(dsn, executor) as chancy:
        done = await pushed(chancy, func.bind())
        push, create, process = (only(finished(name)) for name in ("the", "create q", "process q"))
    assert (create.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert create.parent.span_id == push.context.span_id
    assert process.parent is None
    assert process.context.trace_id != create.context.trace_id
    assert [link.context.span_id for link in process.links] == [create.context.span_id]
    assert done.result() == {
        "trace": trace.format_trace_id(process.context.trace_id),
        "span": trace.format_span_id(process.context.span_id),
        "tenant": None,
    }
    assert done.meta["otel"].keys() == {"traceparent"}
    told = dict(process.attributes)
    assert 0 <= told.pop("messaging.chancy.wait") < 30
    assert told == {
        "messaging.system": "chancy",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "q",
        "messaging.message.id": str(done.id),
        "messaging.client.id": "alpha",
        "messaging.chancy.func": func.name,
        "messaging.chancy.attempt": 1,
        "messaging.chancy.outcome": "success",
    }
    assert process.status.status_code is StatusCode.UNSET
    assert create.attributes["messaging.operation.type"] == "create"


@pytest.mark.parametrize("executor", ["async", "process"])
async def test_it_may_be_a_part_of_the_trace_of_the_push(
    dsn: str, finished: Finished, executor: str
) -> None:
    func = watched.where_async if executor == "async" else watched.where
    async with working(dsn, executor, parent=True, create=False) as chancy:
        done = await pushed(chancy, func.bind())
        push, process = only(finished("the")), only(finished("process q"))
    assert finished("create") == []
    assert process.parent.span_id == push.context.span_id
    assert process.context.trace_id == push.context.trace_id
    assert [link.context.span_id for link in process.links] == [push.context.span_id]
    assert done.result()["span"] == trace.format_span_id(process.context.span_id)


@pytest.mark.parametrize("executor", ["async", "process"])
async def test_baggage_goes_along(dsn: str, finished: Finished, executor: str) -> None:
    func = watched.where_async if executor == "async" else watched.where
    async with working(dsn, executor) as chancy:
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        try:
            done = await pushed(chancy, func.bind())
        finally:
            context.detach(token)
    assert done.result()["tenant"] == "acme"


async def test_attempts_that_fail_say_what_became_of_the_job(dsn: str, finished: Finished) -> None:
    async with working(dsn) as chancy:
        await pushed(chancy, watched.fail_once.bind())
        await pushed(chancy, watched.fail_async.bind(secret="s"))
        with anyio.fail_after(10):
            while len(finished("process")) < 3:  # they are told of after the commit
                await anyio.sleep(0.01)
    first, again, failed = sorted(finished("process"), key=lambda span: span.start_time)
    assert first.status.status_code is failed.status.status_code is StatusCode.ERROR
    assert again.status.status_code is StatusCode.UNSET
    assert first.attributes["messaging.chancy.outcome"] == "error"
    assert first.attributes["messaging.chancy.state"] == "scheduled"
    assert first.attributes["messaging.chancy.delay"] == 0.05
    assert again.attributes["messaging.chancy.attempt"] == 2
    assert failed.attributes["messaging.chancy.state"] == "failed"
    assert "messaging.chancy.delay" not in failed.attributes
    assert failed.attributes["error.type"] == "LookupError"
    assert failed.status.description == "no such thing, 1"
    (happened,) = failed.events
    assert happened.name == "exception"
    assert happened.attributes["exception.type"] == "LookupError"
    assert "in fail_async" in happened.attributes["exception.stacktrace"]
    assert failed.end_time - failed.start_time < 1e9


async def test_a_child_that_fails_and_a_time_limit(dsn: str, finished: Finished) -> None:
    late = watched.sleep.options(limits=[Limit(Limit.Type.TIME, 0.05)])
    async with working(dsn) as chancy:
        await chancy.declare(Queue("p", executor="process", concurrency=1))
        await pushed(chancy, watched.fail.options(queue="p").bind(secret="s"))
        await pushed(chancy, late.bind())
        with anyio.fail_after(10):
            while len(finished("process")) < 2:
                await anyio.sleep(0.01)
    kinds = {span.name: span.attributes for span in finished("process")}
    assert kinds["process p"]["error.type"] == "LookupError"
    assert kinds["process q"]["error.type"] == "TimeLimitExceeded"
    assert kinds["process q"]["messaging.chancy.outcome"] == "timeout"


async def test_what_is_cancelled_or_snoozes_is_no_error(dsn: str, finished: Finished) -> None:
    async with working(dsn) as chancy:
        await pushed(chancy, watched.nap.bind())
        reference = await chancy.push(watched.sleep.bind())
        await chancy.wait_for_job(reference, timeout=10, states=[State.RUNNING])
        await chancy.cancel_job(reference)
        await chancy.wait_for_job(reference, timeout=10)
        with anyio.fail_after(10):
            while len(finished("process")) < 3:
                await anyio.sleep(0.01)
    told = [(s.attributes["messaging.chancy.outcome"], s.status.status_code) for s in finished("p")]
    assert sorted(kind for kind, _ in told) == ["cancelled", "snoozed", "success"]
    assert {status for _, status in told} == {StatusCode.UNSET}


async def test_outside_of_spans_nothing_is_added(dsn: str, finished: Finished) -> None:
    async with working(dsn) as chancy:
        reference = await chancy.push(watched.where_async.bind())
        done = await chancy.wait_for_job(reference, timeout=10)
    assert done.meta == {}
    process = only(finished("process"))
    assert (process.links, process.parent) == ((), None)


@pytest.mark.parametrize("nonsense", [7, [1], {"traceparent": "x"}, {"traceparent": 1}, "00-x"])
async def test_nonsense_in_a_row_costs_no_more_than_the_link(
    dsn: str, finished: Finished, nonsense: Any
) -> None:
    async with working(dsn) as chancy:
        done = await pushed(chancy, watched.where_async.options(meta={"otel": nonsense}))
        assert done.state is State.SUCCEEDED
    assert done.meta["otel"] == nonsense
    assert only(finished("process")).links == ()
    assert finished("create") == []


async def test_who_brings_a_trace_keeps_it(dsn: str, finished: Finished) -> None:
    carrier: dict[str, str] = {}
    with spans().start_as_current_span("another"):
        propagate.inject(carrier)
    async with working(dsn) as chancy:
        await pushed(chancy, watched.where_async.options(meta={"otel": carrier}))
    another, process = only(finished("another")), only(finished("process"))
    assert [link.context.span_id for link in process.links] == [another.context.span_id]


async def test_the_one_that_is_given_stands_in_the_place_of_the_one_that_is_installed(
    dsn: str, finished: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    async with working(dsn, parent=False) as chancy:
        await pushed(chancy, watched.where_async.bind())
        names = [plugin.name for plugin in chancy.plugins.plugins]
    assert "OpenTelemetry" in names
    assert "opentelemetry" not in names
    assert (len(finished("create")), len(finished("process"))) == (1, 1)
    assert "cannot be imported by child processes" not in caplog.text


async def test_pushes_and_attempts_are_counted_and_measured(
    dsn: str, measured: Callable[[], Any]
) -> None:
    async with working(dsn) as chancy:
        references = [await chancy.push(watched.where_async.bind()) for _ in range(3)]
        references.append(await chancy.push(watched.fail_async.bind(secret="s")))
        await chancy.wait_for_jobs(references, timeout=20)

        def ended() -> int:
            return sum(p.count for p in measured().get("messaging.process.duration", ()))

        with anyio.fail_after(10):
            while ended() < 4:
                await anyio.sleep(0.01)
        found = measured()
    assert [p.value for p in found["messaging.client.sent.messages"]] == [4]
    assert sum(p.value for p in found["messaging.client.consumed.messages"]) == 4
    durations = {
        p.attributes.get("error.type"): p.count for p in found["messaging.process.duration"]
    }
    assert durations == {None: 3, "LookupError": 1}


async def test_without_a_provider_there_is_nothing(dsn: str) -> None:
    job = running("add")
    assert opentelemetry.chancy_job_context(job, Worker(Chancy("host=nowhere"))) is None
    assert opentelemetry.chancy_call_context(job) is None
    assert opentelemetry.chancy_job_meta(Job("f")) is None
    async with working(dsn) as chancy:
        done = await chancy.wait_for_job(await chancy.push(watched.where_async.bind()), timeout=10)
    assert (done.meta, done.result()["span"]) == ({}, "0" * 16)


def test_without_a_provider_it_costs_next_to_nothing() -> None:
    job, worker = running("add"), Worker(Chancy("host=nowhere"))
    gc.disable()
    began = time.process_time()
    for _ in range(10_000):
        opentelemetry.chancy_job_meta(job)
        opentelemetry.chancy_job_context(job, worker)
        opentelemetry.chancy_call_context(job)
    took = (time.process_time() - began) / 10_000
    gc.enable()
    assert took < 60e-6  # 4 µs where nothing else runs


def _ended(kind: Kind = Kind.ERROR) -> tuple[Any, Any]:
    job = running("add")
    return evolve(job, lease_id=job.id), Settlement(job, Outcome(kind), Verdict(State.FAILED))


async def test_what_is_never_settled_is_ended_all_the_same(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that was lost, or an observer that could not keep up."""
    kept = attempts.Attempts(parent=False)
    lost = RuntimeError("it was cut")
    monkeypatch.setattr(attempts, "_MOST", 2)
    for _ in range(3):
        job, _ = _ended()
        span, _ = kept.begin(job, "alpha")
        kept.end(job, span, 0.1, lost)
    assert len(finished("process")) == 1
    monkeypatch.setattr(attempts, "_LONGEST", -1.0)
    job, settled = _ended()
    span, _ = kept.begin(job, "alpha")
    kept.end(job, span, 0.1, lost)
    assert len(finished("process")) == 4
    assert {span.attributes["error.type"] for span in finished("process")} == {"_OTHER"}
    kept.settle([settled])


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(TypeError, match="parent"):
        OpenTelemetry(parent="yes")  # type: ignore[arg-type]
    with pytest.raises(InvalidPlugin):
        Chancy("host=nowhere", plugins=[OpenTelemetry(), OpenTelemetry()])


async def test_the_wait_is_since_the_job_was_due(finished: Finished) -> None:
    job = running("add")
    job = evolve(job, started_at=job.created_at + timedelta(seconds=5))
    kept = attempts.Attempts(parent=False)
    span, _ = kept.begin(job, "alpha")
    assert span.attributes["messaging.chancy.wait"] == 5
    due = evolve(job, scheduled_at=job.created_at + timedelta(seconds=3))
    span, _ = kept.begin(due, "alpha")
    assert span.attributes["messaging.chancy.wait"] == 2
