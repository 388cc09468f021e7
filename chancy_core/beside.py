"""The hooks around the function of a job, wherever it runs: to find, to fill in, to wrap.

A process that runs functions for another loads the plugins that the other names: those that it
has let in itself, and no others.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from chancy_core import registry
from chancy_core.errors import InvalidJob, UnknownFunction, Unprepared
from chancy_core.function import JobFunction
from chancy_core.hooks import FAULTS, Hooks, Implementation, Plugin, answered, log
from chancy_core.job import QueuedJob

#: The hooks that are called beside the function.
HOOKS = ("chancy_resolve_function", "chancy_job_kwargs", "chancy_call_context")


class Beside(Hooks):
    """The plugins of this process, as the functions of jobs meet them."""

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

    def around(self, job: QueuedJob, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, to be called within the contexts of plugins."""
        if not self.implemented("chancy_call_context"):
            return func
        if inspect.iscoroutinefunction(func):

            @functools.wraps(func)
            async def called(**arguments: Any) -> Any:
                with _Contexts(self, job):
                    return await func(**arguments)
        else:

            @functools.wraps(func)
            def called(**arguments: Any) -> Any:
                with _Contexts(self, job):
                    return func(**arguments)

        return called


class _Contexts:
    """The contexts of one call. What goes wrong in one of them changes nothing for the job."""

    def __init__(self, hooks: Beside, job: QueuedJob) -> None:
        self._hooks = hooks
        self._job = job
        self._entered: list[tuple[Plugin, AbstractContextManager[Any]]] = []

    def __enter__(self) -> Self:
        try:
            for one in self._hooks.implemented("chancy_call_context"):
                self._enter(one)
        except BaseException as exc:
            self.__exit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    def _enter(self, one: Implementation) -> None:
        try:
            context = one.call({"job": self._job})
            if context is None:
                return
            context.__enter__()
        except FAULTS as exc:
            one.plugin.blame("chancy_call_context", exc)
            if one.plugin.required:
                raise Unprepared(f"{one.plugin}, which is required: {exc!r}") from exc
        else:
            self._entered.append((one.plugin, context))

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._entered:
            plugin, context = self._entered.pop()
            try:
                context.__exit__(exc_type, exc, traceback)
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
