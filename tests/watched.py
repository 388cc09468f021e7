"""Jobs that say in which trace they run; child processes import them from here."""

import logging
from typing import Any

import anyio
import structlog
from opentelemetry import baggage, trace

from chancy import INJECTED, QueuedJob, RetryAfter, Snooze, job
from chancy_plugins import log_context


def here() -> dict[str, Any]:
    """Return which span is the current one."""
    span = trace.get_current_span().get_span_context()
    return {
        "trace": trace.format_trace_id(span.trace_id),
        "span": trace.format_span_id(span.span_id),
        "tenant": baggage.get_baggage("tenant"),
    }


@job(queue="q")
def where() -> dict[str, Any]:
    return here()


@job(queue="q")
async def where_async() -> dict[str, Any]:
    await anyio.sleep(0)
    return here()


@job(queue="q", max_attempts=2)
async def fail_once(*, me: QueuedJob = INJECTED) -> str:
    if not me.attempts:
        raise RetryAfter(0.05, "not yet")
    return "done"


@job(queue="q")
async def nap(*, me: QueuedJob = INJECTED) -> str:
    if "snoozed" not in me.meta:
        raise Snooze(0.01)
    return "done"


@job(queue="q")
def fail(secret: str) -> None:
    raise LookupError(f"no such thing, {len(secret)}")


@job(queue="q")
async def fail_async(secret: str) -> None:
    raise LookupError(f"no such thing, {len(secret)}")


@job(queue="q")
async def sleep() -> None:
    await anyio.sleep_forever()


@job(queue="q")
def say() -> list[dict[str, Any]]:
    """Return what structlog makes of an event here."""
    return _said()


@job(queue="q")
async def say_async() -> list[dict[str, Any]]:
    await anyio.sleep(0)
    return _said()


def _said() -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        said.append(dict(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(
        logging.getLogger("acme.watched"),
        processors=[log_context.structlog_processor, keep],
        wrapper_class=structlog.BoundLogger,
    )
    log.warning("hello", tenant=7)
    log.warning("again", queue="theirs")
    return said
