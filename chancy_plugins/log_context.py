"""Says in every log record which job it was made for: `job_id`, `queue`, `func`, `attempt`.

    logging.basicConfig(format="%(levelname)s %(job_id)s %(func)s: %(message)s")

Whatever is logged while the function of a job runs has them, on every executor and by whichever
library. Records that belong to no job have them too: empty, and the attempt is 0.
"""

import functools
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import ContextVar, Token
from typing import Any

from chancy_core.hookspecs import hookimpl
from chancy_core.host import Application
from chancy_core.job import QueuedJob

#: The job that runs here. Setting it is all that the context below does: where a function is
#: awaited in the worker's own task, the core sets it itself.
job_variable: ContextVar[QueuedJob | None] = ContextVar("chancy_running", default=None)
_NO_JOB = {"job_id": "", "queue": "", "func": "", "attempt": 0}


def fields() -> dict[str, Any]:
    """Return `job_id`, `queue`, `func` and `attempt` of the job that runs here, or nothing.

    For logging libraries that make no records of the standard library's, such as loguru.
    """
    job = job_variable.get()
    if job is None:
        return {}
    return {
        "job_id": str(job.id),
        "queue": job.queue,
        "func": job.func,
        "attempt": job.attempts + 1,
    }


def structlog_processor(logger: Any, method: str, event: Any) -> Any:  # noqa: ARG001
    """Add them to what structlog logs: a processor, before the one that renders.

        structlog.configure(processors=[log_context.structlog_processor, ...])

    What an event says itself takes the place of ours. What is logged where no job runs stays as it
    is.
    """
    return fields() | event


@functools.cache
def install() -> None:
    """Have all records that are made from now on in this process bear the attributes.

    Done for you when a `Chancy` is used, and in a child process before its first job; a module
    whose format has the attributes, and that logs earlier, calls it itself. Once is enough.
    """
    logging.setLogRecordFactory(functools.partial(_record, logging.getLogRecordFactory()))


def _record(
    before: Callable[..., logging.LogRecord], *args: Any, **kwargs: Any
) -> logging.LogRecord:
    record = before(*args, **kwargs)
    record.__dict__ = _Attributes(_NO_JOB | fields() | record.__dict__)
    return record


class _Attributes(dict[str, Any]):
    """The attributes of a record, of which `in` does not find ours.

    A logger refuses `extra={"queue": "mail"}` for a record that has such an attribute. Who logs so
    knows nothing of us, and must not fail: what he says takes the place of ours.
    """

    def __contains__(self, name: object) -> bool:
        return name not in _NO_JOB and super().__contains__(name)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # whoever unpickles a record need not have us


class _Within(AbstractContextManager[None]):
    """The time in which a job's function runs."""

    __slots__ = ("_before", "_job")

    def __init__(self, job: QueuedJob) -> None:
        self._job = job

    def __enter__(self) -> None:
        self._before: Token[QueuedJob | None] = job_variable.set(self._job)

    def __exit__(self, *exc: object) -> None:
        job_variable.reset(self._before)


@hookimpl
def chancy_configure(app: Application) -> None:  # noqa: ARG001 - all applications log alike
    """Begin with the records of this process."""
    install()


@hookimpl
def chancy_call_context(job: QueuedJob) -> AbstractContextManager[None]:
    """Call the function of a job so that what it logs is known to be the job's."""
    install()
    return _Within(job)
