"""A function that runs as a job: `JobFunction`, which `@job` makes."""

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Generic, NoReturn, ParamSpec, Protocol, TypeVar, Unpack

from chancy_core import versions
from chancy_core.capability import needed
from chancy_core.errors import InvalidJob, InvalidValue, UnknownFunction
from chancy_core.job import Job, QueuedJob, Reference
from chancy_core.options import JobOptions, check_options
from chancy_core.versions import Upcaster

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class _Injected:
    """The class of `INJECTED`."""

    def __repr__(self) -> str:
        return "<injected when it runs as a job>"


#: The default of a keyword-only parameter that a worker fills: with the running job, if it is
#: annotated as `QueuedJob` or not at all, else with what a plugin gives (`chancy_job_kwargs`).
INJECTED: Final[Any] = _Injected()


class Pusher(Protocol):
    """What stores jobs: a `Chancy`."""

    async def push(self, job: Job, /) -> Reference:
        """Store a job."""


class SyncPusher(Protocol):
    """What stores jobs for code without an event loop: a `Chancy`."""

    def sync_push(self, job: Job, /) -> Reference:
        """Store a job."""


class JobFunction(Generic[P, R_co]):
    """A registered function: still callable as it was, and a maker of jobs that call it."""

    def __init__(
        self,
        func: Callable[P, R_co],
        name: str,
        options: Mapping[str, Any] = {},
        needs: str | Iterable[str] = (),
        *,
        aliases: str | Iterable[str] = (),
        version: int = 1,
        upcasters: Mapping[int, Upcaster] = {},
    ) -> None:
        functools.update_wrapper(self, func)  # first: what it has of its own must not be ours
        check_options(f"@job of {name!r}", options)
        versions.check(f"@job of {name!r}", version, upcasters)
        self.func = func
        self.name = name
        #: Other names under which jobs find it: those that it had before.
        self.aliases = _other_names(name, aliases)
        #: Which version of its arguments it takes.
        self.version = version
        self._upcasters = dict(upcasters)
        #: Whether calling the function gives a coroutine.
        self.is_async = inspect.iscoroutinefunction(func)
        #: What an executor must be able to do to run it, beyond calling it.
        self.needs = needed(f"@job of {name!r}: needs", needs)
        #: Its job without arguments.
        self.template = Job(name, version=version, **options)
        self._make = _maker(self.template)
        self._signature = inspect.signature(func)
        parameters = self._signature.parameters.values()
        _check_kind(self)
        _check_parameters(name, parameters)
        injected = [p for p in parameters if p.default is INJECTED]
        #: The parameter that is given the running job.
        self.injected = next((p.name for p in injected if _takes_job(p)), None)
        #: The parameters that plugins fill.
        self.wanted = frozenset(p.name for p in injected if not _takes_job(p))
        named = [p for p in parameters if p.kind is not p.VAR_KEYWORD and p not in injected]
        self._usual = tuple(p.name for p in named)
        self._accepted = frozenset(self._usual)
        self._required = frozenset(p.name for p in named if p.default is p.empty)
        #: What the worker fills, and no job may.
        self._filled = frozenset(p.name for p in injected)
        self._open = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function here and now, as if it were no job: nothing is injected."""
        return self.func(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<job {self.name}>"

    def bind(self, /, *args: P.args, **kwargs: P.kwargs) -> Job:
        """Return the job of this call, to be pushed.

        Raises `InvalidJob` when the arguments do not fit the function's signature.
        """
        if not args and self._fits(kwargs):  # the usual way, at a tenth of what comes below
            return self._make(kwargs)
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as exc:
            raise InvalidJob(f"job {self.name!r}: {exc}; it takes {self._signature}") from exc
        arguments = dict(bound.arguments)
        if self._open:
            *_, extra = self._signature.parameters
            arguments |= arguments.pop(extra, {})
        if self._filled & arguments.keys():
            self._refuse(arguments)
        return self.template.with_kwargs(**arguments)

    async def push(self, chancy: Pusher, /, *args: P.args, **kwargs: P.kwargs) -> Reference:
        """Push the job of this call: `await welcome.push(chancy, address="ada@example.org")`.

        Raises what `bind` and `Chancy.push` raise.
        """
        return await chancy.push(self.bind(*args, **kwargs))

    def sync_push(self, chancy: SyncPusher, /, *args: P.args, **kwargs: P.kwargs) -> Reference:
        """Push the job of this call, from code without an event loop.

        Raises what `bind` and `Chancy.sync_push` raise.
        """
        return chancy.sync_push(self.bind(*args, **kwargs))

    def options(self, **changes: Unpack[JobOptions]) -> "JobFunction[P, R_co]":
        """Return the same function with other settings for its jobs, such as `queue="mail"`."""
        twin = copy.copy(self)
        twin.template = self.template.options(**changes)
        twin._make = _maker(twin.template)
        return twin

    def check(self, kwargs: Mapping[str, Any]) -> None:
        """Raise `InvalidJob` if these are not names of arguments that the function can take."""
        if not self._fits(kwargs):
            self._refuse(kwargs)

    def lift(self, kwargs: Mapping[str, Any], version: int) -> Mapping[str, Any]:
        """Return arguments of this *version* as those that the function takes, as plain JSON data.

        Raises `UnknownFunction` for a version that is newer than this code, `InvalidValue` when
        an upcaster raises, or what comes of them are no arguments of the function.
        """
        if version == self.version:
            return kwargs
        if version > self.version:
            raise UnknownFunction(
                f"{self.name} takes arguments up to version {self.version} here, and the job has "
                f"those of version {version}: it is for workers with newer code"
            )
        lifted = versions.lifted(self.name, kwargs, version, self._upcasters)
        try:
            self.check(lifted)
        except InvalidJob as exc:
            problem = f"lifted from version {version} to {self.version}: {exc}"
            raise InvalidValue(problem) from None
        return lifted

    def _fits(self, kwargs: Mapping[str, Any]) -> bool:
        if tuple(kwargs) == self._usual:  # all, and nothing else
            return True
        names = kwargs.keys()
        return (
            self._required <= names
            and (self._open or names <= self._accepted)
            and self._filled.isdisjoint(names)
        )

    def _refuse(self, kwargs: Mapping[str, Any]) -> NoReturn:
        problems = [f"{name!r} is missing" for name in sorted(self._required - kwargs.keys())]
        problems += [
            f"{name!r} is given by the worker that runs it, never here"
            for name in sorted(self._filled & kwargs.keys())
        ]
        if not self._open:
            unknown = kwargs.keys() - self._accepted - self._filled
            problems += [f"it has no argument {name!r}" for name in sorted(unknown, key=str)]
        raise InvalidJob(f"job {self.name!r}: {', '.join(problems)}; it takes {self._signature}")


def _other_names(name: str, given: str | Iterable[str]) -> tuple[str, ...]:
    """Return the aliases of a function, each of which could be a name."""
    aliases = (given,) if isinstance(given, str) else tuple(given)
    for alias in aliases:
        Job(alias)
    if name in aliases:
        raise InvalidJob(f"@job of {name!r}: its aliases are its former names, and not {name!r}")
    return tuple(dict.fromkeys(aliases))


def _maker(template: Job) -> Callable[[Mapping[str, Any]], Job]:
    """Return what makes jobs like *template* with other arguments: in a tenth of the time.

    Nothing else is new in them, and nothing to be checked: it is done for each job of millions.
    """
    alike = vars(template)

    def make(kwargs: Mapping[str, Any]) -> Job:
        made = object.__new__(Job)
        object.__setattr__(made, "__dict__", {**alike, "kwargs": kwargs})
        return made

    return make


def _takes_job(parameter: inspect.Parameter) -> bool:
    """Whether an injected parameter is given the running job, and not what a plugin has."""
    annotation = parameter.annotation
    if isinstance(annotation, str):  # nobody has evaluated it
        return annotation.rpartition(".")[2] in {"QueuedJob", "Any"}
    return annotation in (parameter.empty, Any, QueuedJob)


def _check_kind(made: JobFunction[..., Any]) -> None:
    """Refuse what gives no result when it is called, or has nothing to be called on."""
    func, who = made.func, f"job {made.name!r}"
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise InvalidJob(f"{who} is a generator, which nobody would read: return a list instead")
    home = getattr(func, "__qualname__", "").rpartition(".")[0]
    first = next(iter(inspect.signature(func).parameters), None)
    if home and not home.endswith("<locals>") and first in {"self", "cls"}:
        raise InvalidJob(
            f"{who} is a method, and a worker has no {first!r} to call it on: "
            "make it a function, or a static method with @staticmethod above @job"
        )


def _check_parameters(who: str, parameters: Iterable[inspect.Parameter]) -> None:
    """Refuse parameters that no job can fill."""
    injected = [p for p in parameters if p.default is INJECTED]
    for p in parameters:
        if p.kind in {p.POSITIONAL_ONLY, p.VAR_POSITIONAL}:
            raise InvalidJob(f"job {who!r}: arguments are passed by name, which {p} cannot take")
    for p in injected:
        if p.kind is not p.KEYWORD_ONLY:
            raise InvalidJob(
                f"job {who!r}: what is injected is keyword-only: write `*, {p.name}: QueuedJob = "
                "INJECTED`"
            )
    takers = [p.name for p in injected if _takes_job(p)]
    if len(takers) > 1:
        names = " and ".join(takers)
        raise InvalidJob(f"job {who!r}: one parameter is given the running job, not {names}")
