"""Entries that are declared in code: `@cron`, beside `@job`."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from attrs import field, frozen

from chancy_core import registry
from chancy_core.codec import shown
from chancy_core.errors import InvalidValue
from chancy_core.function import JobFunction
from chancy_core.job import Job
from chancy_plugins.cron.entry import Entry
from chancy_plugins.cron.missed import RUN_ONCE
from chancy_plugins.cron.schedule import Schedule

F = TypeVar("F", bound=Callable[..., Any])

log = logging.getLogger("chancy.cron")

#: The attribute of a function that has what was asked for; `@job` takes it over from what it wraps.
_MARK = "__chancy_cron__"
#: Where `@cron` was used: some of it may be no job.
_marked: dict[str, None] = {}


@frozen
class _Asked:
    """One `@cron`."""

    schedule: Schedule
    key: str | None
    missed: str
    jitter: float
    kwargs: Mapping[str, Any] = field(repr=False)

    def entry(self, job: Job) -> Entry:
        """Return the entry that it means for a job. Raises `InvalidValue`."""
        return Entry(
            key=job.func if self.key is None else self.key,
            job=job,
            schedule=self.schedule,
            missed=self.missed,
            jitter=self.jitter,
        )


def cron(
    expression: str,
    /,
    *,
    tz: str = "UTC",
    key: str | None = None,
    missed: str = RUN_ONCE,
    jitter: float = 0.0,
    kwargs: Mapping[str, Any] | None = None,
) -> Callable[[F], F]:
    """Run a job whenever the clocks of a zone show certain times.

        @cron("0 3 * * *", tz="Europe/Paris")
        @job(queue="reports")
        async def nightly() -> None: ...

    Above or below `@job`; several times, if each but one has a *key*, which is the job's name where
    none is given. *expression* has five fields, or six with seconds in front, or is a name such as
    `@daily`. *missed* says what becomes of runs that no worker could begin in time: `"run_once"`,
    `"skip"` or `catch_up(5)`. Each run is put off by up to *jitter* seconds. *kwargs* are the
    arguments of the job. Every worker that knows the function declares the entry when it starts.

    Raises `InvalidValue` for what makes no sense.
    """
    asked = _Asked(Schedule(expression, tz), key, missed, jitter, dict(kwargs or {}))

    def mark(func: F) -> F:
        if not callable(func) or isinstance(func, type):
            raise InvalidValue(f"@cron stands beside @job, on a function, and not on {shown(func)}")
        _check(asked, func)
        setattr(func, _MARK, (asked, *getattr(func, _MARK, ())))
        _marked[_place(func)] = None
        return func

    return mark


def _check(asked: _Asked, func: Callable[..., Any]) -> None:
    """Refuse what makes no sense, as far as can be known: the function may not be a job yet."""
    others: tuple[_Asked, ...] = getattr(func, _MARK, ())
    if asked.key in {other.key for other in others}:
        raise InvalidValue(
            f"@cron of {_place(func)}: two of them have the key {asked.key or 'of the job'!r}; "
            "give one of them another by key=..."
        )
    asked.entry(func.bind(**asked.kwargs) if isinstance(func, JobFunction) else Job("unnamed"))


def _place(func: Any) -> str:
    return f"{func.__module__}.{getattr(func, '__qualname__', func)}"


def entries() -> dict[str, Entry]:
    """Return the entries that the code of this process declares, by key.

    What cannot be declared is told of in the log, and left out.
    """
    found: dict[str, list[Entry]] = {}
    places = set()
    for name in registry.registered():
        made = registry.find(name)
        asked: tuple[_Asked, ...] = getattr(made, _MARK, ())
        for one in asked:
            assert made is not None
            places.add(_place(made.func))
            try:
                entry = one.entry(made.bind(**one.kwargs))
            except InvalidValue as exc:
                log.error("@cron of %s is left out: %s", name, exc)
            else:
                found.setdefault(entry.key, []).append(entry)
    for place in _marked.keys() - places:
        log.error("@cron of %s is left out: it is no job; decorate it with @job as well", place)
    for key, several in found.items():
        if len(several) > 1:
            jobs = " and ".join(entry.job.func for entry in several)
            log.error("@cron of %s: all want the key %r; give them others by key=...", jobs, key)
    return {key: several[0] for key, several in found.items() if len(several) == 1}
