"""The spans of attempts: in the worker, around the function wherever that runs."""

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from contextvars import Token
from types import TracebackType
from typing import Any
from uuid import UUID

from attrs import frozen
from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach

from chancy_core.job import QueuedJob
from chancy_core.outcome import Kind, Settlement
from chancy_plugins.opentelemetry.conventions import (
    KEY,
    SYSTEM,
    consumed,
    duration,
    measures,
    tracer,
    traces,
)

#: Endings that are no errors of anybody's.
_CALM = frozenset({Kind.SUCCESS, Kind.CANCELLED, Kind.SHUTDOWN, Kind.SNOOZED})
#: How many spans wait for what has become of their jobs, and for how many seconds at most: an
#: attempt that lost its lease never hears of it.
_MOST, _LONGEST = 1_000, 60.0
#: Seconds for which it is believed that nobody has set it up: to ask costs as much as all the rest.
_IDLE = 1.0


@frozen
class _Ended:
    """An attempt that went wrong, or was ended: what became of its job will be told soon."""

    job: QueuedJob
    span: trace.Span
    #: When it ended: in nanoseconds for the span, and by `time.monotonic()`.
    at: int
    since: float
    took: float


class Attempts:
    """Makes the spans of attempts, and ends them.

    That of a success ends with the attempt. Any other one waits for what becomes of the job, which
    is decided afterwards, and is given the time at which the attempt ended.
    """

    def __init__(self, *, parent: bool) -> None:
        self.parent = parent
        self._idle_until = 0.0
        self._waiting: OrderedDict[UUID | None, _Ended] = OrderedDict()

    def context(self, job: QueuedJob, worker: str) -> "_Attempt | None":
        """Return the context of an attempt; None if nobody wants to know."""
        now = time.monotonic()
        if now < self._idle_until:
            return None
        if traces() or measures():
            return _Attempt(self, job, worker)
        self._idle_until = now + _IDLE
        return None

    @staticmethod
    def beside(job: QueuedJob) -> AbstractContextManager[None] | None:
        """Return what makes the span of an attempt the current one, where it is not yet.

        That is in another process than its worker's. If the worker traces nothing, it is the trace
        in which the job was pushed.
        """
        carrier = carried((job.carried or {}).get(KEY)) or carried(job.meta.get(KEY))
        if not carrier or trace.get_current_span().get_span_context().is_valid:
            return None
        return _Within(propagate.extract(carrier, context=Context()))

    def begin(self, job: QueuedJob, worker: str) -> tuple[trace.Span, Context]:
        """Start the span of an attempt; answers the context in which the function is called."""
        told = Context()
        if carrier := carried(job.meta.get(KEY)):
            told = propagate.extract(carrier, context=told)
        created = trace.get_current_span(told).get_span_context()
        if not self.parent:
            told = trace.set_span_in_context(trace.INVALID_SPAN, told)
        span = tracer().start_span(
            f"process {job.queue}",
            context=told,
            kind=trace.SpanKind.CONSUMER,
            attributes=_attributes(job, worker),
            links=[trace.Link(created)] if created.is_valid else [],
        )
        within = trace.set_span_in_context(span, told)
        written: dict[str, str] = {}
        propagate.inject(written, context=within)
        if written:
            job.carry(KEY, written)
        return span, within

    def end(self, job: QueuedJob, span: trace.Span, took: float, exc: BaseException | None) -> None:
        """Note that an attempt has ended."""
        now = time.monotonic()
        ended = _Ended(job, span, time.time_ns(), now, took)
        if exc is None:
            _finish(ended, {"messaging.chancy.outcome": Kind.SUCCESS.value}, None)
            return
        self._waiting[job.lease_id] = ended
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if len(self._waiting) <= _MOST and now - oldest.since <= _LONGEST:
                break
            self._waiting.popitem(last=False)
            _finish(oldest, {}, "_OTHER")

    def settle(self, settled: Sequence[Settlement]) -> None:
        """End the spans of attempts whose outcomes are written."""
        if not self._waiting:
            return
        for one in settled:
            ended = self._waiting.pop(one.job.lease_id, None)
            if ended is not None:
                _settle(ended, one)


class _Attempt(AbstractAsyncContextManager[None]):
    """The time of one attempt."""

    __slots__ = ("_attempts", "_began", "_job", "_span", "_token", "_worker")

    def __init__(self, attempts: Attempts, job: QueuedJob, worker: str) -> None:
        self._attempts = attempts
        self._job = job
        self._worker = worker

    async def __aenter__(self) -> None:
        self._span, within = self._attempts.begin(self._job, self._worker)
        self._token = attach(within)
        self._began = time.perf_counter()
        if measures():
            consumed().add(1, _measured(self._job))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        took = time.perf_counter() - self._began
        detach(self._token)
        self._attempts.end(self._job, self._span, took, exc)


def _attributes(job: QueuedJob, worker: str) -> dict[str, Any]:
    due = job.scheduled_at or job.created_at
    waited = ((job.started_at or due) - due).total_seconds()
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": job.queue,
        "messaging.message.id": str(job.id),
        "messaging.client.id": worker,
        "messaging.chancy.func": job.func,
        "messaging.chancy.attempt": job.attempts + 1,
        "messaging.chancy.wait": max(0.0, waited),
    }


def _settle(ended: _Ended, one: Settlement) -> None:
    outcome, verdict = one.outcome, one.verdict
    attributes: dict[str, Any] = {
        "messaging.chancy.outcome": outcome.kind.value,
        "messaging.chancy.state": verdict.state.value,
    }
    if not verdict.state.finished:
        attributes["messaging.chancy.delay"] = float(verdict.delay)
    error = None
    if outcome.kind not in _CALM:
        failure = outcome.failure
        error = failure.type if failure else outcome.kind.value
        ended.span.set_status(trace.StatusCode.ERROR, failure.message if failure else None)
        if failure is not None:
            happened = {
                "exception.type": failure.type,
                "exception.message": failure.message,
                "exception.stacktrace": failure.traceback,
            }
            ended.span.add_event("exception", happened, timestamp=ended.at)
    _finish(ended, attributes, error)


def _finish(ended: _Ended, attributes: Mapping[str, Any], error: str | None) -> None:
    if error is not None:
        ended.span.set_attribute("error.type", error)
    ended.span.set_attributes(attributes)
    ended.span.end(ended.at)
    if measures():
        measured = _measured(ended.job)
        duration().record(ended.took, measured | ({"error.type": error} if error else {}))


def _measured(job: QueuedJob) -> dict[str, str]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": "process",
        "messaging.destination.name": job.queue,
        "messaging.chancy.func": job.func,
    }


def carried(told: Any) -> dict[str, str]:
    """Return what propagators can read of what stands in a row, where anybody may write."""
    if not isinstance(told, Mapping):
        return {}
    return {name: text for name, text in told.items() if isinstance(text, str)}


class _Within(AbstractContextManager[None]):
    """The time in which a function runs in a context."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> None:
        self._token: Token[Context] = attach(self._context)

    def __exit__(self, *exc: object) -> None:
        detach(self._token)
