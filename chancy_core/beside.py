"""The hooks around the function of a job, wherever it runs: to find, to fill in, to wrap.

A process that runs functions for another loads the plugins that the other names: those that it
has let in itself, and no others.
"""

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
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

    def around(self, job: QueuedJob, made: JobFunction[..., Any]) -> Callable[..., Any]:
        """Return what calls the function within the contexts of plugins: itself, if there are none.

        Made for each call, so it is kept as cheap as can be.
        """
        func, implementations = made.func, self.implemented("chancy_call_context")
        if not implementations:
            return func
        if made.is_async:

            async def awaited(**arguments: Any) -> Any:
                with _Contexts(implementations, job):
                    return await func(**arguments)

            return awaited

        def called(**arguments: Any) -> Any:
            with _Contexts(implementations, job):
                return func(**arguments)

        return called


class _Contexts:
    """The contexts of one call. What goes wrong in one of them changes nothing for the job."""

    __slots__ = ("_entered", "_implementations", "_job")

    def __init__(self, implementations: list[Implementation], job: QueuedJob) -> None:
        self._implementations = implementations
        self._job = job
        self._entered: list[tuple[Plugin, AbstractContextManager[Any]]] = []

    def __enter__(self) -> None:
        given = {"job": self._job}
        try:
            for one in self._implementations:
                try:
                    context = one.call(given)
                    if context is not None:
                        context.__enter__()
                except FAULTS as exc:
                    self._fail(one.plugin, exc)
                else:
                    if context is not None:
                        self._entered.append((one.plugin, context))
        except BaseException as exc:
            self.__exit__(type(exc), exc, exc.__traceback__)
            raise

    def _fail(self, plugin: Plugin, exc: BaseException) -> None:
        plugin.blame("chancy_call_context", exc)
        if plugin.required:
            raise Unprepared(f"{plugin}, which is required: {exc!r}") from exc

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
