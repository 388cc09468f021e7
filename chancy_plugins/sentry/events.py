"""Failures to events: of the exception itself where it was raised here, else of what is known."""

import re
from typing import Any

import sentry_sdk
from attrs import frozen
from sentry_sdk.scope import use_isolation_scope
from sentry_sdk.utils import event_from_exception

from chancy_core.job import Failure
from chancy_core.outcome import Settlement
from chancy_core.perform import class_name
from chancy_plugins.sentry import tracing

_MECHANISM = {"type": "chancy", "handled": False}
#: How a traceback begins, and each of its calls, as Python writes them.
_BEGINS = "Traceback (most recent call last):"
_CALL = re.compile(r'^  File "(.+)", line (\d+), in (.+)\n(?:    (.*)\n)?', re.MULTILINE)


@frozen
class Ended:
    """What is kept of an attempt that went wrong, until it is known what becomes of the job."""

    #: What it raised here; None if that was elsewhere, or it was ended.
    exc: BaseException | None
    #: What its function told Sentry meanwhile.
    scope: Any
    #: Where it stands in a trace, as events say it.
    trace: dict[str, Any] | None


def capture(one: Settlement, ended: Ended | None, worker: str, *, send_arguments: bool) -> None:
    """Send an event about a failed attempt."""
    job, failure = one.job, one.outcome.failure
    assert failure is not None, "only failures are told of"
    event, hint = _made(failure, ended, send_arguments=send_arguments)
    event["transaction"] = job.func
    event["tags"] = tracing.tags(job, worker=worker, outcome=one.outcome.kind.value)
    told: dict[str, Any] = {
        "job_id": str(job.id),
        "state": one.verdict.state.value,
        "max_attempts": job.max_attempts,
        "claims": job.claims,
    }
    if not one.verdict.state.finished:
        told["next_attempt_in"] = one.verdict.delay
    if send_arguments:
        event["extra"] = dict(job.kwargs)  # by their names, which Sentry's own scrubber looks at
    event["contexts"] = {"chancy": told}
    if ended is None:
        with sentry_sdk.isolation_scope():
            sentry_sdk.capture_event(event, hint=hint)
        return
    if ended.trace is not None:
        event["contexts"]["trace"] = ended.trace
    with use_isolation_scope(ended.scope):
        sentry_sdk.capture_event(event, hint=hint)


def _made(failure: Failure, ended: Ended | None, *, send_arguments: bool) -> tuple[Any, Any]:
    exc = None if ended is None else ended.exc
    if exc is None or class_name(type(exc)) != failure.type:
        return of_failure(failure), {}
    options = dict(sentry_sdk.get_client().options)
    if not send_arguments:  # they are local variables of the function, and of what it calls
        options["include_local_variables"] = False
    return event_from_exception(exc, client_options=options, mechanism=_MECHANISM)


def of_failure(failure: Failure) -> dict[str, Any]:
    """Return an event for what was raised elsewhere: its traceback is read as Python writes it."""
    module, _, kind = failure.type.rpartition(".")
    value: dict[str, Any] = {
        "type": kind,
        "module": module or None,
        "value": failure.message,
        "mechanism": _MECHANISM,
    }
    last = failure.traceback.rpartition(_BEGINS)[2]
    frames = [
        {
            "filename": path,
            "abs_path": path,
            "lineno": int(line),
            "function": function,
            "context_line": text or None,
            "in_app": "site-packages" not in path,
        }
        for path, line, function, text in _CALL.findall(last)
    ]
    if frames:
        value["stacktrace"] = {"frames": frames}
    return {"level": "error", "exception": {"values": [value]}}
