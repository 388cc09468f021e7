"""Logs whatever happens to a worker and its plugins, and counts it: to find out, not for every day.

    debug = Debug()
    Chancy(plugins=[debug])
    ...
    debug.count("job.settled"), debug.count("chancy_job_meta")

It logs on `chancy.debug`, at the level DEBUG: each event of the workers' hubs, and each call of a
hook. `CHANCY_DEBUG=1` in the environment does the same without a line of code; without either
there is nothing of it.
"""

import functools
import inspect
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from chancy_core import hookspecs
from chancy_core.beside import HOOKS
from chancy_core.codec import shown
from chancy_core.events import Event
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Application, WorkerHost

log = logging.getLogger("chancy.debug")

VARIABLE = "CHANCY_DEBUG"


class Debug:
    """The plugin `debug`: implements each hook there is, answers none, and counts the calls."""

    replaces: ClassVar = "debug"
    elsewhere: ClassVar = "chancy_plugins.debug:beside"

    def __init__(self) -> None:
        self._counted: Counter[str] = Counter()
        self._lock = threading.Lock()  # jobs are pushed from threads, too
        for name, spec in _specs().items():
            setattr(self, name, hookimpl(self._implemented(name, spec)))

    @property
    def counts(self) -> dict[str, int]:
        """How often each event has happened, and each hook was called, by its name."""
        with self._lock:
            return dict(self._counted)

    def count(self, name: str) -> int:
        """Return how often an event has happened, or a hook was called."""
        return self._counted[name]

    def _implemented(self, name: str, spec: Callable[..., Any]) -> Callable[..., Any]:
        names = tuple(inspect.signature(spec).parameters)

        async def told(*given: Any) -> None:
            self._note(name, zip(names, given, strict=True))

        def tell(*given: Any) -> None:
            self._note(name, zip(names, given, strict=True))
            if name == "chancy_worker_services":
                self._listen(*given)

        made: Callable[..., Any] = told if inspect.iscoroutinefunction(spec) else tell
        # So that it takes what the hook has: pluggy looks behind what is wrapped.
        return functools.update_wrapper(made, spec, updated=())

    def _listen(self, worker: WorkerHost) -> None:
        """Hear all that happens in a worker, to its very end: the hub is that worker's own."""
        worker.events.on("*", self._happened)

    def _happened(self, event: Event) -> None:
        self._note(event.name, (("subject", event.subject), ("value", event.value)))

    def _note(self, name: str, given: Iterable[tuple[str, Any]]) -> None:
        with self._lock:
            self._counted[name] += 1
            times = self._counted[name]
        if log.isEnabledFor(logging.DEBUG):
            told = ", ".join(f"{what}={shown(value)}" for what, value in given)
            log.debug("%s (%d): %s", name, times, told)


def _specs() -> dict[str, Callable[..., Any]]:
    return {name: spec for name, spec in vars(hookspecs).items() if hasattr(spec, "chancy_spec")}


class _Beside(Debug):
    """What of it there is beside the functions that run in other processes."""

    def __init__(self) -> None:
        super().__init__()
        for name in _specs().keys() - set(HOOKS):
            delattr(self, name)


class _Nothing:
    """The plugin while nobody has asked for it."""

    @hookimpl
    def chancy_configure(self, app: Application) -> None:
        """Do nothing: a plugin has to implement a hook."""


#: For child processes of workers that were given a `Debug`.
beside = _Beside()
#: What is found by the entry point.
installed = Debug() if os.environ.get(VARIABLE) == "1" else _Nothing()
