"""What Sentry is told of jobs: by a transport that keeps it, and no network."""

import gc
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
import sentry_sdk

from chancy import Chancy, Job, Limit, Queue, State, Worker, job
from chancy_core.errors import InvalidPlugin
from chancy_core.job import Failure
from chancy_core.perform import describe
from chancy_plugins import sentry
from chancy_plugins.cron import Cron
from chancy_plugins.sentry import Sentry, events, monitors
from tests import watched
from tests.attempts import running
from tests.plugins.sentry.conftest import Sent

pytestmark = pytest.mark.anyio

SECRET = "a-secret-argument"


@job(name="sentried.crumbs", queue="q")
async def crumbs() -> None:
    sentry_sdk.add_breadcrumb(message="it went there")
    sentry_sdk.set_tag("tenant", "acme")
    raise LookupError("no such thing")


@job(name="sentried.once", queue="q", max_attempts=2)
async def once(*, fails: int) -> None:
    raise LookupError("no such thing")


@asynccontextmanager
async def working(dsn: str, executor: str = "async", **settings: Any) -> AsyncIterator[Chancy]:
    plugins = [Sentry(**settings)] if settings else []
    async with Chancy(dsn, plugins=plugins) as chancy:
        await chancy.declare(Queue("q", executor=executor, concurrency=2))
        async with Worker(chancy, name="alpha", signals=False, grace_period=0.5):
            yield chancy


async def ended(chancy: Chancy, asked: Any) -> Any:
    return await chancy.wait_for_job(await chancy.push(asked), timeout=30)


async def until(count: int, found: Callable[[], list[Any]]) -> list[Any]:
    """Return what is found, once it is so many: it is told of after the commit."""
    with anyio.fail_after(10):
        while len(found()) < count:
            await anyio.sleep(0.01)
    return found()


@pytest.mark.parametrize("executor", ["async", "thread", "process"])
async def test_a_job_that_has_failed_is_an_event(
    dsn: str, start: Callable[..., Sent], executor: str
) -> None:
    sent = start()
    func = watched.fail_async if executor == "async" else watched.fail
    async with working(dsn, executor) as chancy:
        failed = await ended(chancy, func.bind(secret=SECRET))
        (event,) = await until(1, lambda: sent("event"))
    (value,) = event["exception"]["values"]
    assert (value["type"], value["value"]) == ("LookupError", "no such thing, 17")
    assert value["mechanism"]["handled"] is False
    last = value["stacktrace"]["frames"][-1]
    assert last["function"] in {"fail", "fail_async"}
    assert last["context_line"].strip().startswith("raise LookupError")
    assert last["in_app"] is True
    assert event["transaction"] == func.name
    assert "fingerprint" not in event
    assert event["tags"] == {
        "chancy.func": func.name,
        "chancy.queue": "q",
        "chancy.attempt": "1",
        "chancy.job_id": str(failed.id),
        "chancy.worker": "alpha",
        "chancy.outcome": "error",
    }
    assert event["contexts"]["chancy"]["state"] == "failed"
    assert SECRET not in json.dumps(sent.items)


async def test_arguments_are_sent_if_that_is_asked_for(
    dsn: str, start: Callable[..., Sent]
) -> None:
    sent = start()
    async with working(dsn, send_arguments=True) as chancy:
        await ended(chancy, once.options(max_attempts=1).bind(fails=1234))
        await ended(chancy, watched.fail_async.bind(secret=SECRET))
        event, scrubbed = await until(2, lambda: sent("event"))
    assert event["extra"] == {"fails": 1234}
    assert event["exception"]["values"][0]["stacktrace"]["frames"][-1]["vars"]["fails"] == "1234"
    assert scrubbed["extra"] == {"secret": "[Filtered]"}  # as the SDK does with such names


@pytest.mark.parametrize(("when", "told"), [("failed", ["2"]), ("each", ["1", "2"])])
async def test_each_attempt_or_the_last(
    dsn: str, start: Callable[..., Sent], when: str, told: list[str]
) -> None:
    sent = start()
    async with working(dsn, when=when) as chancy:
        await ended(chancy, once.bind(fails=2))
        await until(len(told), lambda: sent("event"))
    assert [event["tags"]["chancy.attempt"] for event in sent("event")] == told
    assert [event["contexts"]["chancy"]["state"] for event in sent("event")][-1] == "failed"


async def test_what_is_no_failure_is_not_told(dsn: str, start: Callable[..., Sent]) -> None:
    """W: the existing system's plugin reports cancellations, and attempts that are repeated."""
    sent = start()
    async with working(dsn, when="each") as chancy:
        await ended(chancy, watched.nap.bind())
        await ended(chancy, watched.where_async.bind())
        for _ in range(2):
            reference = await chancy.push(watched.sleep.bind())
            await chancy.wait_for_job(reference, timeout=10, states=[State.RUNNING])
        await chancy.cancel_job(reference)
        await chancy.wait_for_job(reference, timeout=10)
    # The other one was given back when the worker stopped.
    async with working(dsn) as chancy:
        await ended(chancy, watched.fail_async.bind(secret="s"))
        (event,) = await until(1, lambda: sent("event"))
    assert event["transaction"] == watched.fail_async.name


async def test_a_time_limit_is_told_with_what_the_function_has_told(
    dsn: str, start: Callable[..., Sent]
) -> None:
    sent = start()
    async with working(dsn) as chancy:
        await ended(chancy, watched.sleep.options(limits=[Limit(Limit.Type.TIME, 0.05)]))
        (event,) = await until(1, lambda: sent("event"))
    (value,) = event["exception"]["values"]
    assert value["type"] == "TimeLimitExceeded"
    assert event["tags"]["chancy.outcome"] == "timeout"


async def test_scopes_of_jobs_are_their_own(dsn: str, start: Callable[..., Sent]) -> None:
    sent = start()
    sentry_sdk.add_breadcrumb(message="before")
    async with working(dsn) as chancy:
        await ended(chancy, crumbs.bind())
        await ended(chancy, watched.fail_async.bind(secret="s"))
        first, second = await until(2, lambda: sent("event"))
    assert [c["message"] for c in first["breadcrumbs"]["values"]] == ["it went there"]
    assert first["tags"]["tenant"] == "acme"
    assert not second.get("breadcrumbs", {}).get("values")
    assert "tenant" not in second["tags"]


@pytest.mark.parametrize("executor", ["async", "process"])
async def test_traces_as_the_page_about_queues_has_them(
    dsn: str, start: Callable[..., Sent], executor: str
) -> None:
    sent = start(traces_sample_rate=1.0)
    func = watched.fail_async if executor == "async" else watched.fail
    async with working(dsn, executor) as chancy:
        with sentry_sdk.start_transaction(name="the push") as pushing:
            failed = await ended(chancy, func.bind(secret=SECRET))
        (event,) = await until(1, lambda: sent("event"))
    made = {t["transaction"]: t for t in sent("transaction")}
    (publish,) = [s for s in made["the push"]["spans"] if s["op"] == "queue.publish"]
    assert publish["data"]["messaging.destination.name"] == "q"
    assert publish["data"]["messaging.message.body.size"] == len(json.dumps({"secret": SECRET})) - 1
    consumed = made[func.name]
    trace = consumed["contexts"]["trace"]
    assert (trace["op"], trace["status"]) == ("queue.task.chancy", "internal_error")
    assert trace["trace_id"] == pushing.trace_id
    assert trace["parent_span_id"] == publish["span_id"]
    (process,) = [s for s in consumed["spans"] if s["op"] == "queue.process"]
    data = process["data"]
    assert data["messaging.message.id"] == str(failed.id)
    assert data["messaging.destination.name"] == "q"
    assert data["messaging.message.retry.count"] == 0
    assert 0 <= data["messaging.message.receive.latency"] < 30_000
    assert event["contexts"]["trace"]["trace_id"] == pushing.trace_id
    assert SECRET not in json.dumps(sent.items)


async def test_a_child_that_has_set_it_up_tells_whose_it_is(
    dsn: str, start: Callable[..., Sent]
) -> None:
    sent = start(traces_sample_rate=1.0)
    async with working(dsn) as chancy:
        options = {"initializer": "tests.watched:start_sentry"}
        await chancy.declare(
            Queue("p", executor="process", concurrency=1, executor_options=options)
        )
        told = [await ended(chancy, watched.tell.options(queue="p")) for _ in range(2)]
        await ended(chancy, watched.fail.options(queue="p").bind(secret="s"))
        await until(1, lambda: sent("event"))
    processes = [t["contexts"]["trace"] for t in sent("transaction")]
    for one, trace in zip(told, processes, strict=False):
        event = one.result()
        assert event["message"] == "hello"
        assert event["tags"]["chancy.job_id"] == str(one.id)
        assert event["tags"]["chancy.queue"] == "p"
        assert not event.get("breadcrumbs", {}).get("values")
        assert event["contexts"]["trace"]["trace_id"] == trace["trace_id"]
    assert len(sent("event")) == 1


async def test_without_traces_nothing_is_added_to_jobs(
    dsn: str, start: Callable[..., Sent]
) -> None:
    sent = start()
    async with working(dsn) as chancy:
        done = await ended(chancy, watched.where_async.bind())
    assert done.meta == {}
    assert sent.items == []


@pytest.mark.parametrize("nonsense", [7, {"sentry-trace": 1}, {"sentry-trace": "x"}, [1]])
async def test_nonsense_in_a_row_costs_no_more_than_the_trace(
    dsn: str, start: Callable[..., Sent], nonsense: Any
) -> None:
    sent = start(traces_sample_rate=1.0)
    async with working(dsn) as chancy:
        done = await ended(chancy, watched.where_async.options(meta={"sentry": nonsense}))
    assert done.state is State.SUCCEEDED
    assert len(sent("transaction")) == 1


async def test_runs_of_cron_are_checked_in(dsn: str, start: Callable[..., Sent]) -> None:
    sent = start()
    async with working(dsn, monitors=True) as chancy:
        cron = Cron(chancy)
        good = {"key": "Nightly Report", "tick": "2026-01-01T00:00:00+00:00"}
        await cron.declare(
            "30 3 * * *", watched.where_async.bind(), key=good["key"], tz="Asia/Tokyo"
        )
        await cron.declare("@daily", once.bind(fails=2), key="bad")
        await cron.declare("*/5 * * * * *", watched.where_async.bind(), key="often")
        await ended(chancy, watched.where_async.options(meta={"cron": good}))
        await ended(chancy, once.options(meta={"cron": good | {"key": "bad"}}).bind(fails=2))
        await ended(chancy, watched.where_async.options(meta={"cron": good | {"key": "often"}}))
        await ended(chancy, watched.where_async.options(meta={"cron": good | {"triggered": True}}))
        await ended(chancy, watched.where_async.options(meta={"cron": 7}))
        found = await until(5, lambda: sent("check_in"))
    told = [(one["monitor_slug"], one["status"]) for one in found]
    slug = monitors.slug("Nightly Report")
    assert slug.startswith("nightly-report-")
    assert told[:2] == [(slug, "in_progress"), (slug, "ok")]
    assert told[2:] == [("bad", "in_progress"), ("bad", "in_progress"), ("bad", "error")]
    assert found[0]["check_in_id"] == found[1]["check_in_id"]
    assert len({one["check_in_id"] for one in found[2:]}) == 1
    assert found[0]["monitor_config"] == {
        "schedule": {"type": "crontab", "value": "30 3 * * *"},
        "timezone": "Asia/Tokyo",
    }
    assert found[1]["duration"] >= 0


async def test_monitors_are_not_made_unasked(dsn: str, start: Callable[..., Sent]) -> None:
    sent = start()
    async with working(dsn) as chancy:
        await ended(chancy, watched.where_async.options(meta={"cron": {"key": "k", "tick": ""}}))
    assert sent("check_in") == []


async def test_the_one_that_is_given_stands_in_the_place_of_the_one_that_is_installed(
    dsn: str, start: Callable[..., Sent], caplog: pytest.LogCaptureFixture
) -> None:
    sent = start(traces_sample_rate=1.0)
    async with working(dsn, when="each") as chancy:
        await ended(chancy, watched.fail_async.bind(secret="s"))
        await until(1, lambda: sent("event"))
        names = [plugin.name for plugin in chancy.plugins.plugins]
    assert "Sentry" in names
    assert "sentry" not in names
    assert (len(sent("event")), len(sent("transaction"))) == (1, 1)
    assert "cannot be imported by child processes" not in caplog.text


async def test_before_it_is_set_up_there_is_nothing(dsn: str) -> None:
    worker = Worker(Chancy("host=nowhere"))
    assert sentry.chancy_job_context(running("add"), worker) is None
    assert sentry.chancy_call_context(running("add")) is None
    assert sentry.chancy_job_meta(Job("f")) is None
    async with working(dsn) as chancy:
        failed = await ended(chancy, watched.fail_async.bind(secret="s"))
    assert (failed.state, failed.meta) == (State.FAILED, {})


def test_before_it_is_set_up_it_costs_next_to_nothing() -> None:
    job, worker = running("add"), Worker(Chancy("host=nowhere"))
    gc.disable()
    began = time.process_time()
    for _ in range(10_000):
        sentry.chancy_job_meta(job)
        sentry.chancy_job_context(job, worker)
        sentry.chancy_call_context(job)
    took = (time.process_time() - began) / 10_000
    gc.enable()
    assert took < 60e-6


def _read() -> None:
    try:
        json.loads("[")
    except ValueError:
        json.loads("{")


def _raised() -> Failure:
    with pytest.raises(ValueError, match="Expecting") as raised:
        _read()
    return describe(raised.value)


def test_a_traceback_is_read_as_it_was_written() -> None:
    event = events.of_failure(_raised())
    (value,) = event["exception"]["values"]
    assert (value["module"], value["type"]) == ("json.decoder", "JSONDecodeError")
    frames = value["stacktrace"]["frames"]
    assert [frame["function"] for frame in frames[:2]] == ["_raised", "_read"]
    assert frames[1]["context_line"] == 'json.loads("{")'
    assert frames[1]["filename"] == __file__


@pytest.mark.parametrize("text", ["", "nonsense", "Traceback (most recent call last):\n  File"])
def test_one_that_makes_no_sense_costs_no_more_than_the_frames(text: str) -> None:
    failure = Failure(attempt=1, kind="error", type="acme.Refused", message="no", traceback=text)
    (value,) = events.of_failure(failure)["exception"]["values"]
    assert value["type"] == "Refused"
    assert "stacktrace" not in value


@pytest.mark.parametrize(
    ("key", "slug"), [("nightly", "nightly"), ("a_b-9", "a_b-9"), ("A", "a-"), ("é" * 90, "")]
)
def test_slugs_are_such_that_are_taken_and_no_two_are_the_same(key: str, slug: str) -> None:
    made = monitors.slug(key)
    assert made.startswith(slug)
    assert 1 <= len(made) <= 50
    assert monitors.slug(key) == made
    assert made != monitors.slug(f"{key}!")


@pytest.mark.parametrize(
    ("expression", "value"),
    [("@daily", "0 0 * * *"), ("0 30 3 * * *", "30 3 * * *"), ("*/5 * * * * *", None), ("x", None)],
)
def test_schedules_as_sentry_has_them(expression: str, value: str | None) -> None:
    found = monitors.schedule(expression, "UTC")
    assert (found and found["schedule"]["value"]) == value


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidPlugin, match="failed or each"):
        Sentry(when="never")


def test_it_is_told_of_by_many_without_end(start: Callable[..., Sent]) -> None:
    """What is kept of attempts until they are settled is bounded."""
    start()
    kept = Sentry()._attempts()
    for _ in range(1_010):
        one = running("add")
        object.__setattr__(one, "lease_id", one.id)
        kept.end(one, events.Ended(None, None, None))
    assert len(kept._ended) == 1_000
