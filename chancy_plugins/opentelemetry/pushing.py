"""Where jobs are pushed: the trace in which that is done goes along with them."""

from collections.abc import Sequence
from typing import Any

from opentelemetry import context, propagate, trace

from chancy_core.job import Job, Reference
from chancy_plugins.opentelemetry.conventions import KEY, SYSTEM, measures, sent, tracer


def meta(job: Job, *, create: bool) -> dict[str, Any] | None:
    """Return the trace in which a job is pushed, as the program's propagators write it, if any.

    Within a span that is recorded, *create* makes one for the job. A job that brings a trace keeps
    it.
    """
    current = context.get_current()
    if not current or KEY in job.meta:
        return None
    if create and trace.get_current_span(current).is_recording():
        span = tracer().start_span(
            f"create {job.queue}",
            context=current,
            kind=trace.SpanKind.PRODUCER,
            attributes={
                "messaging.system": SYSTEM,
                "messaging.operation.name": "create",
                "messaging.operation.type": "create",
                "messaging.destination.name": job.queue,
                "messaging.chancy.func": job.func,
            },
        )
        current = trace.set_span_in_context(span, current)
        span.end()
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context=current)
    return {KEY: carrier} if carrier else None


def count(references: Sequence[Reference]) -> None:
    """Count jobs that were stored."""
    if measures():
        stored = sum(1 for reference in references if reference.new)
        sent().add(stored, {"messaging.system": SYSTEM, "messaging.operation.name": "push"})
