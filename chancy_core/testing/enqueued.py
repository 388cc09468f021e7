"""What has been pushed and is not finished, for assertions that say what is there instead."""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.filter import JobFilter
from chancy_core.function import JobFunction
from chancy_core.job import QueuedJob, State
from chancy_core.statement import Names

if TYPE_CHECKING:
    from chancy_core.app import Chancy
    from chancy_core.store.carrying import Request

_Function = JobFunction[..., Any] | str | None

_LIVE = tuple(state.value for state in State if not state.finished)
_ENDED = tuple(state.value for state in State if state.finished)
#: How many jobs a message shows.
_SHOWN = 5
_PAGE = 1000
#: How long an argument is shown.
_WIDTH = 80


class Enqueued:
    """The live jobs of an application: scheduled, pending and running.

        chancy_enqueued.assert_one(welcome, address="ada@example.org")

    Each call takes a job function, its name, or nothing for any function; and values of arguments,
    which a job must have among others. They are compared as they are stored. Each is short, blocks,
    and is the same in coroutines and in plain tests; none need be awaited, so that none can be
    forgotten. Raises `InvalidValue` for an argument that the function does not take.
    """

    def __init__(self, chancy: "Chancy", queue: str | None = None) -> None:
        self._chancy = chancy
        self._queue = queue

    def on(self, queue: str) -> "Enqueued":
        """Return the same for one queue alone: `chancy_enqueued.on("mail").assert_none()`."""
        return Enqueued(self._chancy, queue)

    def all(self, func: _Function = None, /, **subset: Any) -> list[QueuedJob]:
        """Return the jobs that fit, the first pushed first."""
        name, stored = _name(func, subset), _stored(subset)
        return [job for job in self._live() if not _misfits(job, name, stored)]

    def assert_one(self, func: _Function = None, /, **subset: Any) -> QueuedJob:
        """Return the one job that fits. Raises `AssertionError` if there is none, or several."""
        __tracebackhide__ = True  # the failure is at the caller's line
        return self.assert_count(1, func, **subset)[0]

    def assert_none(self, func: _Function = None, /, **subset: Any) -> None:
        """Raise `AssertionError` if any job fits."""
        __tracebackhide__ = True  # the failure is at the caller's line
        self.assert_count(0, func, **subset)

    def assert_count(self, count: int, func: _Function = None, /, **subset: Any) -> list[QueuedJob]:
        """Return the jobs that fit. Raises `AssertionError` if they are not so many."""
        __tracebackhide__ = True  # the failure is at the caller's line
        name, stored = _name(func, subset), _stored(subset)
        live = self._live()
        found = [job for job in live if not _misfits(job, name, stored)]
        if len(found) != count:
            raise AssertionError(self._message(count, found, live, name, stored))
        return found

    def _live(self) -> list[QueuedJob]:
        return self._jobs(JobFilter(state=_LIVE, queue=self._queue))

    def _jobs(self, which: JobFilter) -> list[QueuedJob]:
        return self._chancy.ask_sync(every(self._chancy.names, which))[::-1]

    def _message(
        self,
        count: int,
        found: list[QueuedJob],
        live: list[QueuedJob],
        name: str | None,
        stored: Mapping[str, Any],
    ) -> str:
        given = ", ".join(f"{key}={_short(value)}" for key, value in stored.items())
        what = f"{name or 'any function'}({given}{', ' if given else ''}...)"
        where = "" if self._queue is None else f" in queue {self._queue!r}"
        jobs = f"{count or 'no'} live job{'' if count == 1 else 's'}"
        lines = [f"expected {jobs} of {what}{where}, found {len(found) or 'none'}"]
        if found:
            lines += _listed("these", found, name, stored)
        elif live:
            live = sorted(live, key=lambda job: len(_misfits(job, name, stored)))
            live.sort(key=lambda job: name not in (None, job.func))
            lines += _listed("the nearest that there are", live, name, stored)
        else:
            lines.append(f"there is no live job{where} at all")
        ended = self._jobs(JobFilter(state=_ENDED, queue=self._queue, func=name))
        ended = [job for job in ended if not _misfits(job, name, stored)]
        if ended and len(found) < count:
            lines += _listed("finished already", ended, name, stored)
        return "\n".join(lines)


def every(names: Names, which: JobFilter) -> "Request[list[QueuedJob]]":
    """List all jobs that fit, page by page: the last pushed first."""
    from chancy_core.store import requests

    jobs, before = list[QueuedJob](), None
    while True:
        page = yield from requests.list_jobs(names, which, _PAGE, before)
        jobs += page.jobs
        if page.next is None:
            return jobs
        before = page.next


def _name(func: _Function, subset: Mapping[str, Any]) -> str | None:
    """Return the name of the function, which must have these arguments."""
    from chancy_core import registry
    from chancy_core.errors import UnknownFunction

    if func is None:
        return None
    if isinstance(func, str):
        try:
            made = registry.lookup(func)
        except UnknownFunction:  # it may be another program's
            return func
    elif isinstance(func, JobFunction):
        made = func
    else:
        raise InvalidValue(f"name a function that is decorated with @job, not {func!r}")
    parameters = inspect.signature(made.func).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        for key in subset.keys() - parameters.keys():
            raise InvalidValue(
                f"job {made.name!r} has no argument {key!r}: it takes "
                f"{inspect.signature(made.func)}"
            )
    return func if isinstance(func, str) else made.name


def _stored(subset: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as they come back from the database."""
    stored: dict[str, Any] = codec.decode(codec.encode(subset, "what is looked for"))
    return stored


def _misfits(job: QueuedJob, name: str | None, stored: Mapping[str, Any]) -> list[str]:
    """Say why this is not the job that is looked for; nothing if it is."""
    misfits = [] if name in (None, job.func) else [f"it is {job.func}"]
    for key, value in stored.items():
        if key not in job.kwargs:
            misfits.append(f"{key} was not given")
        elif job.kwargs[key] != value:
            misfits.append(f"{key} is {_short(job.kwargs[key])}")
    return misfits


def _listed(
    title: str, jobs: list[QueuedJob], name: str | None, stored: Mapping[str, Any]
) -> list[str]:
    lines = [f"{title}:"]
    for job in jobs[:_SHOWN]:
        given = ", ".join(f"{key}={_short(value)}" for key, value in job.kwargs.items())
        due = f" until {job.scheduled_at}" if job.state is State.SCHEDULED else ""
        lines.append(f"  {job.func}({given}): {job.state}{due} in queue {job.queue!r}")
        misfits = _misfits(job, name, stored)
        if misfits:
            lines.append(f"    but {', '.join(misfits)}")
    if len(jobs) > _SHOWN:
        lines.append(f"  and {len(jobs) - _SHOWN} more")
    return lines


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."
