"""Jobs that say in which trace they run; child processes import them from here."""

from typing import Any, ClassVar

import anyio
import sentry_sdk
from opentelemetry import baggage, trace
from sentry_sdk.transport import Transport

from chancy import INJECTED, QueuedJob, RetryAfter, Snooze, job


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


class Kept(Transport):
    """Sends nothing, and keeps it."""

    sent: ClassVar[list[Any]] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.sent.extend(item.payload.json for item in envelope.items)


def start_sentry() -> None:
    """Set Sentry up in a child process: what an `initializer` does."""
    sentry_sdk.init(
        "https://key@localhost/1", transport=Kept(), default_integrations=False, max_breadcrumbs=5
    )


@job(queue="q")
def tell() -> Any:
    """Tell Sentry something; answers what it was told."""
    sentry_sdk.capture_message("hello")
    sentry_sdk.add_breadcrumb(message="it stays in the scope of its job")
    return Kept.sent[-1]
