"""The bytes of a call to the bytes of its reply, wherever a function runs.

A process, an interpreter or a machine that is to run jobs needs this one function, and the
modules that register them. What crosses is JSON; nothing is pickled.
"""

import inspect
import json
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import attrs

from chancy_core import codec, errors, registry
from chancy_core.executor import Call, Capability, check_support
from chancy_core.job import Failure, Limit, LimitKind, QueuedJob, State


class Raised(errors.ExecutionError):
    """The function raised, in another process or interpreter; *failure* says what."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure


#: Errors that keep their class on the way back, since they mean something to the worker.
_OWN = {
    kind.__name__: kind
    for kind in (errors.UnknownFunction, errors.Unsupported, errors.MemoryLimitExceeded)
}


def request(call: Call) -> bytes:
    """Write a call as bytes."""
    job = call.job
    head = {
        "id": str(job.id),
        "func": job.func,
        "queue": job.queue,
        "attempts": job.attempts,
        "claims": job.claims,
        "created_at": job.created_at.isoformat(),
        "memory": job.limit(LimitKind.MEMORY),
    }
    return json.dumps(head).encode() + b"\n" + call.arguments.encode()


def reply(answer: bytes) -> codec.Encoded:
    """Read a reply: the result as JSON.

    Raises `Raised`, or the error of ours that ended the call.
    """
    kind, _, body = answer.partition(b"\n")
    if kind == b"ok":
        return codec.Encoded(body, "utf-8")
    failure = Failure(**json.loads(body))
    raise _OWN[failure.type](failure.message) if kind == b"own" else Raised(failure)


def describe(exc: BaseException, attempt: int = 0, kind: str = "error") -> Failure:
    """Return what is kept of an exception; never raises, whatever the exception is."""
    try:
        trace = codec.clean("".join(traceback.format_exception(exc)))
    except Exception:  # noqa: BLE001 - the same
        trace = ""
    name, module = type(exc).__qualname__, type(exc).__module__
    full = name if module in {"builtins", errors.__name__} else codec.clean(f"{module}.{name}")
    said = codec.said(exc)
    return Failure(attempt=attempt, kind=kind, type=full, message=said, traceback=trace)


def call_here(func: Callable[..., Any], arguments: Mapping[str, Any], backend: str) -> Any:
    """Call a function in this thread; a coroutine function gets an event loop of its own."""
    if not inspect.iscoroutinefunction(func):
        return func(**arguments)
    import anyio

    return anyio.run(partial(func, **arguments), backend=backend)


def perform(
    message: bytes,
    capabilities: Capability,
    backend: str,
    limited: Callable[[float | None], AbstractContextManager[None]] = lambda _: nullcontext(),
) -> bytes:
    """Run the call in *message* here and now, and write what came of it.

    A coroutine function gets an event loop of the kind *backend*; *limited* gives a context that
    holds the call to its memory limit, in bytes. Whatever the function raises, `SystemExit`
    included, is an outcome: it never ends the process that performs it.
    """
    head_text, _, body = message.partition(b"\n")
    head = json.loads(head_text)
    job = _job(head)
    try:
        made = registry.lookup(job.func)
        check_support(job, made.is_async, capabilities)
        arguments = codec.structure(made.func, codec.as_object(body))
        with limited(head["memory"]):
            value = call_here(made.func, arguments, backend)
        return b"ok\n" + codec.salvage(value).encode()
    except MemoryError as exc:
        failure = describe(errors.MemoryLimitExceeded(f"{job.func}: out of memory: {exc}"))
    except BaseException as exc:  # noqa: BLE001 - whatever it raises is the job's outcome
        failure = describe(exc)
    kind = b"own" if failure.type in _OWN else b"error"
    return kind + b"\n" + json.dumps(attrs.asdict(failure)).encode()


def _job(head: dict[str, Any]) -> QueuedJob:
    """Rebuild as much of the job as its function may look at."""
    from datetime import datetime
    from uuid import UUID

    memory = head["memory"]
    return QueuedJob(
        head["func"],
        limits=() if memory is None else (Limit(LimitKind.MEMORY, memory),),
        id=UUID(head["id"]),
        queue=head["queue"],
        state=State.RUNNING,
        attempts=head["attempts"],
        claims=head["claims"],
        created_at=datetime.fromisoformat(head["created_at"]),
    )
