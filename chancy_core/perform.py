"""The bytes of a call to the bytes of its reply, wherever a function runs.

A process, an interpreter or a machine that is to run jobs needs this one function, and the
modules that register them. What crosses is JSON; nothing is pickled.
"""

import inspect
import json
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import Any

import attrs

from chancy_core import codec, errors, registry
from chancy_core.beside import NOBODY, Beside
from chancy_core.executor import Call, Capability
from chancy_core.job import Failure, Limit, LimitKind, QueuedJob, State
from chancy_core.progress import Progress


class Raised(errors.ExecutionError):
    """The function raised, in another process or interpreter; *failure* says what.

    *classes* are the names of its class and of those that this one is derived from, the nearest
    first; *retry_after* the seconds that it asks to be waited for, if it does.
    """

    def __init__(
        self, failure: Failure, classes: Iterable[str] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(f"{failure.type}: {failure.message}")
        self.failure = failure
        self.classes = tuple(classes) or (failure.type,)
        self.retry_after = retry_after

    @classmethod
    def of(cls, exc: BaseException) -> "Raised":
        """Return what is to be known of an exception; never raises, whatever the exception is."""
        if isinstance(exc, Raised):
            return exc
        classes = (class_name(kind) for kind in type(exc).__mro__ if kind is not object)
        return cls(describe(exc), classes, _asked(exc))


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
    *("keep_result", "version", "attempts", "claims", "crashes", "cancelling"),
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
        job.carried,
        True,  # faults of plugins may be told of with the reply
    ]
    return f"{json.dumps(head)}\n{call.arguments}".encode()


def reply(call: Call, answer: bytes) -> codec.Encoded:
    """Read the reply to *call*: the result as JSON. What became of the job's meta is kept in it.

    Raises `Raised`, or the error of ours that ended the call.
    """
    kind, meta, body = answer.split(b"\n", 2)
    kind, _, faults = kind.partition(b"\t")
    if faults:
        call.hooks.hear(json.loads(faults))
    call.new_meta = meta.decode() or None
    if kind == b"ok":
        return codec.Encoded(body, "utf-8")
    told = json.loads(body)
    failure = Failure(**told["failure"])
    if kind == b"own":
        raise _OWN[failure.type](failure.message)
    raise Raised(failure, told["classes"], told["retry_after"])


def describe(exc: BaseException, attempt: int = 0, kind: str = "error") -> Failure:
    """Return what is kept of an exception; never raises, whatever the exception is."""
    try:
        trace = codec.clean("".join(traceback.format_exception(exc)))
    except Exception:  # noqa: BLE001 - the same
        trace = ""
    name, said = class_name(type(exc)), codec.said(exc)
    return Failure(attempt=attempt, kind=kind, type=name, message=said, traceback=trace)


def class_name(kind: type[BaseException]) -> str:
    """Return how the class of an exception is called, in whichever process it is raised.

    By its module and its name; those that are built in, and ours, by their name alone, and those
    of a script by the name of its file.
    """
    name, module = kind.__qualname__, str(kind.__module__)
    if module in {"builtins", errors.__name__}:
        return name
    module = registry.main_name() if module == "__main__" else module
    return codec.clean(f"{module.removesuffix('.__main__')}.{name}")


def _asked(exc: BaseException) -> float | None:
    """Return the seconds for which an exception asks to be waited, if it does."""
    try:
        given = getattr(exc, "retry_after", None)
        seconds = given.total_seconds() if isinstance(given, timedelta) else given
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not seconds >= 0:
            return None
        return float(min(seconds, errors.LONGEST_WAIT))
    except Exception:  # noqa: BLE001 - it is the code of who knows whom
        return None


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
    hooks: Beside = NOBODY,
    *,
    hears: Callable[[Progress], None] | None = None,
    calling: Callable[[Call, Callable[..., Any], Mapping[str, Any]], Any] | None = None,
) -> bytes:
    """Run the call in *message* here and now, and write what came of it.

    A coroutine function gets an event loop of the kind *backend*; *limited* gives a context that
    holds the call to its memory limit, in bytes; *hooks* are the plugins of this process; *hears*
    is told of the function's progress, in its thread; *calling* calls the function in place of
    `call_here`, where somebody may tell it to end.
    Whatever the function raises, `SystemExit` included, is an outcome: it never ends the process
    that performs it.
    """
    call, refused, tells = _call(message)
    call.hooks, call.hears = hooks, hears
    hooks.rouse()
    job = call.job
    try:
        if refused is not None:
            raise refused  # noqa: TRY301 - the job's outcome, like what its function raises
        func, arguments = call.resolve(capabilities)
        with limited(job.limit(LimitKind.MEMORY)):
            if calling is None:
                value = call_here(func, arguments, backend)
            else:
                value = calling(call, func, arguments)
        kind, body = "ok", codec.salvage(value) if job.keep_result else "null"
    except MemoryError as exc:
        kind, body = _written(errors.MemoryLimitExceeded(f"{job.func}: out of memory: {exc}"))
    except BaseException as exc:  # noqa: BLE001 - whatever it raises is the job's outcome
        kind, body = _written(exc)
    call.hears = None  # what a thread of its says later is not that of the next
    if tells and (faults := hooks.news()):
        kind = f"{kind}\t{json.dumps(faults)}"
    return f"{kind}\n{call.changed_meta() or ''}\n{body}".encode()


def _written(exc: BaseException) -> tuple[str, str]:
    raised = Raised.of(exc)
    told = {
        "failure": attrs.asdict(raised.failure),
        "classes": raised.classes,
        "retry_after": raised.retry_after,
    }
    return "own" if raised.failure.type in _OWN else "error", json.dumps(told)


def _call(message: bytes) -> tuple[Call, Exception | None, bool]:
    """Rebuild the call, and say why its arguments could not be read: the job is to blame.

    The last says whether the other end hears of faults of plugins.
    """
    from datetime import datetime
    from uuid import UUID

    head, _, body = message.decode().partition("\n")
    plain, ids, instants, limits, failed, meta, left, *more = json.loads(head)
    carried, tells = more or (None, False)  # of a worker of the release before
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
        carried=carried,
    )
    return Call(job, body, time_left=left), refused, tells
