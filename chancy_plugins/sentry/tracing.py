"""Traces, in the form of Sentry's page about queues: where jobs are pushed, and where they run."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

import sentry_sdk
from sentry_sdk.tracing_utils import has_tracing_enabled

from chancy_core import codec
from chancy_core.job import Job, QueuedJob

#: Under which name the meta of a job, and what is carried to its function, has a trace.
KEY = "sentry"
ORIGIN = "auto.queue.chancy"
#: The job whose attempt is told apart from all else here.
_within: ContextVar[UUID | None] = ContextVar("chancy_sentry_within", default=None)


def meta(job: Job) -> dict[str, Any] | None:
    """Return the trace in which a job is pushed; None if that is not in a span."""
    if sentry_sdk.get_current_span() is None or KEY in job.meta:
        return None
    with sentry_sdk.start_span(op="queue.publish", name=job.func, origin=ORIGIN) as span:
        span.set_data("messaging.destination.name", job.queue)
        if (size := _size(job)) is not None:
            span.set_data("messaging.message.body.size", size)
        headers = {"sentry-trace": span.to_traceparent()}
        if baggage := sentry_sdk.get_baggage():
            headers["baggage"] = baggage
    return {KEY: headers}


def _size(job: Job) -> int | None:
    try:
        return len(codec.encode(job.kwargs, f"arguments of {job.func}").encode())
    except ValueError:  # they are refused in a moment, with words
        return None


def tags(job: QueuedJob, **more: str) -> dict[str, str]:
    """Return what events can be searched by."""
    told = {
        "func": job.func,
        "queue": job.queue,
        "attempt": str(job.attempts + 1),
        "job_id": str(job.id),
    }
    return {f"chancy.{name}": value for name, value in (told | more).items()}


@contextmanager
def around(job: QueuedJob) -> Iterator[Any]:
    """Keep what is told to Sentry meanwhile apart from all else; yields the scope."""
    with sentry_sdk.isolation_scope() as scope:
        token = _within.set(job.id)
        try:
            scope.clear_breadcrumbs()
            scope.set_transaction_name(job.func, source="task")
            for name, value in tags(job).items():
                scope.set_tag(name, value)
            yield scope
        finally:
            _within.reset(token)


@contextmanager
def traced(job: QueuedJob) -> Iterator[Any]:
    """Have a transaction, and its span, if the program wants traces; yields it, or None."""
    headers = written(job.carried) or written(job.meta)
    transaction = sentry_sdk.continue_trace(
        headers, op="queue.task.chancy", name=job.func, source="task", origin=ORIGIN
    )
    if not has_tracing_enabled(sentry_sdk.get_client().options):
        yield None
        return
    due = job.scheduled_at or job.created_at
    waited = ((job.started_at or due) - due).total_seconds()
    with (
        sentry_sdk.start_transaction(transaction),
        sentry_sdk.start_span(op="queue.process", name=job.func, origin=ORIGIN) as span,
    ):
        span.set_data("messaging.system", "chancy")
        span.set_data("messaging.message.id", str(job.id))
        span.set_data("messaging.destination.name", job.queue)
        span.set_data("messaging.message.retry.count", job.attempts)
        span.set_data("messaging.message.receive.latency", max(0.0, waited) * 1000)
        if (size := _size(job)) is not None:
            span.set_data("messaging.message.body.size", size)
        headers = {"sentry-trace": span.to_traceparent()}
        if baggage := sentry_sdk.get_baggage():
            headers["baggage"] = baggage
        job.carry(KEY, headers)
        yield transaction


def written(told: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the trace that stands in a meta, where anybody may write."""
    headers = (told or {}).get(KEY)
    if not isinstance(headers, Mapping):
        return {}
    return {name: text for name, text in headers.items() if isinstance(text, str)}


def beside(job: QueuedJob) -> AbstractContextManager[None] | None:
    """Return what keeps an attempt apart where the worker's own context is not: elsewhere."""
    return None if _within.get() == job.id else _elsewhere(job)


@contextmanager
def _elsewhere(job: QueuedJob) -> Iterator[None]:
    with around(job):
        if headers := written(job.carried) or written(job.meta):
            sentry_sdk.continue_trace(headers)
        yield
