"""The hooks around the function of a job, wherever it runs: to find, to fill in, to wrap.

A process that runs functions for another loads the plugins that the other names: those that it
has let in itself, and no others.
"""

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any

from chancy_core import registry
from chancy_core.errors import InvalidJob, UnknownFunction, Unprepared
from chancy_core.function import JobFunction
from chancy_core.hooks import FAULTS, Hooks, Implementation, Plugin, answered, log
from chancy_core.job import QueuedJob

#: The hooks that are called beside the function.
HOOKS = ("chancy_resolve_function", "chancy_job_kwargs", "chancy_call_context")


class Beside(Hooks):
    """The plugins of this process, as the functions of jobs meet them."""

    def __init__(self) -> None:
        #: The variables of plugins whose context is nothing else; None if those are not all.
        self._variables: tuple[ContextVar[Any], ...] | None = ()
        self._cleared: tuple[ContextVar[Any], ...] = ()
        super().__init__()

    @property
    def called_beside(self) -> list[Implementation]:
        """What is to be called beside the function."""
        return [one for hook in HOOKS for one in self.implemented(hook)]

    @property
    def paths(self) -> list[tuple[str, str, str]]:
        """Name, origin and path of the plugins that another process needs, for `loaded`."""
        needed = {one.plugin for one in self.called_beside}
        return [(p.name, p.origin, p.path) for p in self.plugins if p in needed and p.path]

    def function(self, name: str) -> JobFunction[..., Any]:
        """Return the function of that name. Raises `UnknownFunction`."""
        try:
            return registry.lookup(name)
        except UnknownFunction:
            for plugin, found in self.each("chancy_resolve_function", name=name):
                try:
                    return JobFunction(found, name)
                except (InvalidJob, TypeError) as exc:
                    plugin.blame("chancy_resolve_function", exc)
            raise

    def arguments(self, job: QueuedJob, made: JobFunction[..., Any]) -> dict[str, Any]:
        """Return what plugins give to the function of a job, beyond the job's own arguments.

        Raises `Unprepared` if one is missing that nobody gives.
        """
        hook = "chancy_job_kwargs"
        found: dict[str, Any] = {}
        for plugin, answer in self.each(hook, job=job, func=made.func):
            if not isinstance(answer, Mapping):
                plugin.blame(hook, answered(answer, "a mapping of arguments"))
                continue
            found = {name: answer[name] for name in made.wanted if name in answer} | found
        missing = made.wanted - found.keys()
        if missing:
            raise Unprepared(
                f"{made.name}: no plugin here gives it {', '.join(sorted(missing))}, by "
                "chancy_job_kwargs"
            )
        return found

    def rouse(self) -> None:
        """See which plugins are awake, and what their contexts are."""
        super().rouse()
        asked = [_variable(one) for one in self.around_jobs("chancy_call_context")]
        known = tuple(variable for variable in asked if variable is not None)
        self._variables = known if len(known) == len(asked) else None
        self._cleared = tuple({*self._cleared, *known})

    def here(self, job: QueuedJob, made: JobFunction[..., Any]) -> Callable[..., Any]:
        """Return what calls the function, as `around`, where it is awaited at once in this task.

        Contexts of which plugins say that they do nothing but set a variable (`job_variable`) are
        entered by that, and left by `clear`.
        """
        if self._variables is None:
            return self.around(job, made)
        for variable in self._variables:
            variable.set(job)
        return made.func

    def clear(self) -> None:
        """Leave what `here` has entered: no job runs in this task."""
        for variable in self._cleared:
            variable.set(None)

    def around(self, job: QueuedJob, made: JobFunction[..., Any]) -> Callable[..., Any]:
        """Return what calls the function within the contexts of plugins: itself, if there are none.

        Made for each call, so it is kept as cheap as can be.
        """
        func, implementations = made.func, self.around_jobs("chancy_call_context")
        if not implementations:
            return func
        if made.is_async:

            async def awaited(**arguments: Any) -> Any:
                entered = _enter(implementations, job)
                try:
                    result = await func(**arguments)
                except BaseException as exc:
                    _leave(entered, exc)
                    raise
                _leave(entered)
                return result

            return awaited

        def called(**arguments: Any) -> Any:
            entered = _enter(implementations, job)
            try:
                result = func(**arguments)
            except BaseException as exc:
                _leave(entered, exc)
                raise
            _leave(entered)
            return result

        return called


def _variable(one: Implementation) -> ContextVar[Any] | None:
    """Return the variable that a plugin's context sets to the job, if it does nothing else."""
    variable = getattr(one.plugin.made, "job_variable", None)
    return variable if isinstance(variable, ContextVar) else None


#: The contexts of one call, as they were entered. What goes wrong in one changes nothing for a job.
_Entered = list[tuple[Plugin, AbstractContextManager[Any]]]


def _enter(implementations: Iterable[Implementation], job: QueuedJob) -> _Entered:
    """Enter what plugins have around a call. Raises `Unprepared` if one cannot be that must."""
    given = {"job": job}
    entered: _Entered = []
    try:
        for one in implementations:
            try:
                context = one.call(given)
                if context is None:  # as of most plugins
                    continue
                context.__enter__()
            except FAULTS as exc:
                one.plugin.blame("chancy_call_context", exc)
                if one.plugin.required:
                    raise Unprepared(f"{one.plugin}, which is required: {exc!r}") from exc
            else:
                entered.append((one.plugin, context))
    except BaseException as exc:
        _leave(entered, exc)
        raise
    return entered


def _leave(entered: _Entered, exc: BaseException | None = None) -> None:
    """Leave contexts, the last first: each sees what the call raised."""
    seen = (None, None, None) if exc is None else (type(exc), exc, exc.__traceback__)
    while entered:
        plugin, context = entered.pop()
        try:
            context.__exit__(*seen)
        except FAULTS as other:
            if other is not exc:
                plugin.blame("chancy_call_context", other)


#: No plugins at all.
NOBODY = Beside()


def loaded(paths: Iterable[tuple[str, str, str]]) -> Beside:
    """Load plugins in a process that runs functions for another, which names them by `paths`."""
    hooks = Beside()
    for name, origin, path in paths:
        try:
            hooks.register(Plugin(name, origin, imported(path), path))
        except FAULTS:
            log.exception("plugin %s (%s) is left out here", name, origin)
    return hooks


def imported(path: str) -> Any:
    """Import `module` or `module:attribute`. Raises whatever that raises."""
    module, _, attribute = path.partition(":")
    made = importlib.import_module(module)
    return functools.reduce(getattr, filter(None, attribute.split(".")), made)
