"""The bytes of a call to the bytes of its reply, wherever a function runs.

A process, an interpreter or a machine that is to run jobs needs this one function, and the
modules that register them. What crosses is JSON; nothing is pickled.
"""

import inspect
import json
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from operator import attrgetter
from typing import Any

import attrs

from chancy_core import codec, errors
from chancy_core.beside import NOBODY, Beside
from chancy_core.executor import Call, Capability
from chancy_core.job import Failure, Limit, LimitKind, QueuedJob, State


class Raised(errors.ExecutionError):
    """The function raised, in another process or interpreter; *failure* says what."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure


#: Errors that keep their class on the way back, since they mean something to the worker.
_OWN = {
    kind.__name__: kind
    for kind in (
        errors.UnknownFunction,
        errors.Unprepared,
        errors.Unsupported,
        errors.TimeLimitExceeded,
        errors.MemoryLimitExceeded,
    )
}
#: What of a job crosses as it is, besides those fields that need to be written out.
_PLAIN = (
    *("func", "queue", "priority", "max_attempts", "unique_key", "at_most_once", "exclusive"),
    *("keep_result", "attempts", "claims", "crashes", "cancelling"),
)
_IDS = ("id", "worker", "lease_id")
_INSTANTS = ("created_at", "scheduled_at", "started_at")


_plain, _ids, _instants = attrgetter(*_PLAIN), attrgetter(*_IDS), attrgetter(*_INSTANTS)


def request(call: Call) -> bytes:
    """Write a call as bytes."""
    job = call.job
    # No clock is the same elsewhere: what crosses is how long.
    left = None if call.deadline is None else max(0.0, call.deadline - time.monotonic())
    head = [
        _plain(job),
        [value and value.hex for value in _ids(job)],
        [value and value.isoformat() for value in _instants(job)],
        [[limit.kind.value, limit.value] for limit in job.limits],
        [attrs.asdict(failure) for failure in job.errors],
        job.meta,
        left,
    ]
    return f"{json.dumps(head)}\n{call.arguments}".encode()


def reply(call: Call, answer: bytes) -> codec.Encoded:
    """Read the reply to *call*: the result as JSON. What became of the job's meta is kept in it.

    Raises `Raised`, or the error of ours that ended the call.
    """
    kind, meta, body = answer.split(b"\n", 2)
    call.new_meta = meta.decode() or None
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


#: How a function is called: the call, the function, its arguments, and the kind of event loop that
#: a coroutine function gets.
Calling = Callable[[Call, Callable[..., Any], Mapping[str, Any], str], Any]


def perform(
    message: bytes,
    capabilities: Capability,
    backend: str,
    limited: Callable[[float | None], AbstractContextManager[None]] = lambda _: nullcontext(),
    hooks: Beside = NOBODY,
    *,
    calling: Calling = lambda _, func, arguments, backend: call_here(func, arguments, backend),
) -> bytes:
    """Run the call in *message* here and now, and write what came of it.

    A coroutine function gets an event loop of the kind *backend*; *limited* gives a context that
    holds the call to its memory limit, in bytes; *hooks* are the plugins of this process; *calling*
    calls the function, for those who have to tell it something meanwhile.
    Whatever the function raises, `SystemExit` included, is an outcome: it never ends the process
    that performs it.
    """
    call, refused = _call(message)
    call.hooks = hooks
    job = call.job
    try:
        if refused is not None:
            raise refused  # noqa: TRY301 - the job's outcome, like what its function raises
        func, arguments = call.resolve(capabilities)
        with limited(job.limit(LimitKind.MEMORY)):
            value = calling(call, func, arguments, backend)
        kind, body = "ok", codec.salvage(value) if job.keep_result else "null"
    except MemoryError as exc:
        kind, body = _written(errors.MemoryLimitExceeded(f"{job.func}: out of memory: {exc}"))
    except BaseException as exc:  # noqa: BLE001 - whatever it raises is the job's outcome
        kind, body = _written(exc)
    return f"{kind}\n{call.changed_meta() or ''}\n{body}".encode()


def _written(exc: BaseException) -> tuple[str, str]:
    failure = describe(exc)
    return "own" if failure.type in _OWN else "error", json.dumps(attrs.asdict(failure))


def _call(message: bytes) -> tuple[Call, Exception | None]:
    """Rebuild the call, and say why its arguments could not be read: the job is to blame."""
    from datetime import datetime
    from uuid import UUID

    head, _, body = message.decode().partition("\n")
    plain, ids, instants, limits, failed, meta, left = json.loads(head)
    refused = None
    try:
        kwargs = codec.as_object(body)
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is the outcome
        kwargs, refused = {}, exc
    fields: dict[str, Any] = dict(zip(_PLAIN, plain, strict=True))
    for names, values, read in ((_IDS, ids, UUID), (_INSTANTS, instants, datetime.fromisoformat)):
        fields |= {name: value and read(value) for name, value in zip(names, values, strict=True)}
    job = QueuedJob(
        **fields,
        limits=[Limit(kind, value) for kind, value in limits],
        errors=tuple(Failure(**failure) for failure in failed),
        kwargs=kwargs,
        meta=meta,
        state=State.RUNNING,
    )
    return Call(job, body, time_left=left), refused
