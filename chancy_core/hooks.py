"""Plugins as they are registered, and how their hooks are called: each for itself.

pluggy marks, checks and orders the implementations. They are called one by one, by us: what one
raises must not keep the others from being asked, and its author must be named.
"""

import inspect
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pluggy
from attrs import define, field, frozen

from chancy_core import hookspecs, registry
from chancy_core.codec import clean, said, shown
from chancy_core.errors import InvalidPlugin

log = logging.getLogger("chancy.plugins")

#: Hooks around each job, about which a plugin is not asked while it is asleep.
AROUND = ("chancy_job_context", "chancy_call_context")
#: What a plugin's code may raise that is its own fault; cancellation is not.
FAULTS = (Exception, SystemExit)
#: How much is kept of what was said of a fault, in characters.
KEPT = 200


@define(eq=False)
class Plugin:
    """A plugin, and who is to blame for it."""

    name: str
    #: The name and version of the distribution that it is from, or how else it got here.
    origin: str
    #: The module or the object whose functions implement hooks.
    made: Any
    #: How another process imports it, as `module` or `module:attribute`; None if it cannot.
    path: str | None = None
    #: How often each of its hooks has failed.
    faults: Counter[str] = field(factory=Counter, init=False)
    #: What was said of the last fault of each, and when, by `time.monotonic()`.
    last: dict[str, tuple[str, float]] = field(factory=dict, init=False)
    #: How many faults of each the process knows of for which this one runs functions.
    told: Counter[str] = field(factory=Counter, init=False)

    def __str__(self) -> str:
        return f"plugin {self.name} ({self.origin})"

    @property
    def required(self) -> bool:
        """Whether no attempt is to be made without its contexts."""
        return getattr(self.made, "required", False) is True

    @property
    def replaces(self) -> str | None:
        """The name of the installed plugin in whose place it stands."""
        return getattr(self.made, "replaces", None)

    @property
    def awake(self) -> bool:
        """Whether it has anything to do around jobs now: it has, if it has no `awake` to say so."""
        asked = getattr(self.made, "awake", None)
        if asked is None:
            return True
        try:
            return bool(asked())
        except FAULTS as exc:
            self.blame("awake", exc)
            return True

    def heeds(self, settled: Sequence[Any]) -> bool:
        """Whether it is to be told of outcomes: all, if it has no `heeds_settled` to say so."""
        asked = getattr(self.made, "heeds_settled", None)
        if asked is None:
            return True
        try:
            return bool(asked(settled))
        except FAULTS as exc:
            self.blame("heeds_settled", exc)
            return True

    def blame(self, hook: str, exc: BaseException | str) -> None:
        """Say that one of its hooks has failed: the first time, and whenever it was twice as often.

        *exc* is what it raised, or what it did.
        """
        told = exc if isinstance(exc, str) else f"{type(exc).__name__}: {said(exc)}"
        self.last[hook] = clean(told, KEPT), time.monotonic()
        self.faults[hook] += 1
        times = self.faults[hook]
        if times & (times - 1):
            return
        trace = None if isinstance(exc, str) or times > 1 else exc
        often = f" ({times:,} times by now)" if times > 1 else ""
        log.error("%s: %s is left out%s: %s", self, hook, often, told, exc_info=trace)

    @contextmanager
    def blamed(self, hook: str) -> Iterator[None]:
        """Run a block of its own: what that raises is its fault, and goes no further."""
        try:
            yield
        except FAULTS as exc:
            self.blame(hook, exc)

    def within(self, frame: FrameType | None) -> bool:
        """Whether a stack leads through its module."""
        module = (self.path or type(self.made).__module__).partition(":")[0]
        while frame is not None:
            where = str(frame.f_globals.get("__name__"))
            if where == module or where.startswith(f"{module}."):
                return True
            frame = frame.f_back
        return False


@frozen
class Implementation:
    """One plugin's function for one hook."""

    plugin: Plugin
    call: Callable[[Mapping[str, Any]], Any]


class Hooks:
    """Registered plugins, and the implementations of each hook in the order of their calls.

    That order is by name, but for what says `tryfirst` or `trylast`; those registered later, by
    the application itself, come before.
    """

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self._manager = pluggy.PluginManager("chancy")
        self._manager.add_hookspecs(hookspecs)
        self._implementations: dict[str, list[Implementation]] = {}
        self._around: dict[str, list[Implementation]] = {hook: [] for hook in AROUND}
        #: Who may have something to say of jobs that succeed, by `chancy_verdict`.
        self.of_success: list[Implementation] = []

    def register(self, plugin: Plugin) -> None:
        """Add a plugin. Raises `InvalidPlugin` for one that cannot be used."""
        other = next((p for p in self.plugins if p.name == plugin.name), None)
        if other is not None:
            raise InvalidPlugin(f"{plugin}: its name is taken by {other}")
        if isinstance(plugin.made, type):
            raise InvalidPlugin(
                f"{plugin} is a class: offer a module, or an object such as {shown(plugin.made)}()"
            )
        try:
            self._manager.register(plugin.made, plugin.name)
            self._manager.check_pending()
            self._check(plugin)
        except (pluggy.PluginValidationError, ValueError, InvalidPlugin) as exc:
            if self._manager.is_registered(plugin.made):
                self._manager.unregister(plugin.made)
            if isinstance(exc, InvalidPlugin):
                raise
            raise InvalidPlugin(f"{plugin}: {exc}; there are {', '.join(_specs())}") from exc
        self.plugins.append(plugin)
        owners = {id(p.made): p for p in self.plugins}
        for name in _specs():
            hook = getattr(self._manager.hook, name)
            self._implementations[name] = [
                Implementation(owners[id(impl.plugin)], _caller(impl.function, impl.argnames))
                for impl in reversed(hook.get_hookimpls())
            ]

        self.rouse()

    def rouse(self) -> None:
        """See which plugins are awake: the others are not asked around jobs until the next time."""
        for hook in AROUND:
            self._around[hook] = [one for one in self.implemented(hook) if one.plugin.awake]
        self.of_success = [
            one
            for one in self.implemented("chancy_verdict")
            if getattr(one.plugin.made, "heeds_success", True)
        ]

    def around_jobs(self, hook: str) -> list[Implementation]:
        """Return who is to be asked about one of the hooks around jobs."""
        return self._around[hook]

    def _check(self, plugin: Plugin) -> None:
        callers = self._manager.get_hookcallers(plugin.made) or []
        if not callers:
            raise InvalidPlugin(
                f"{plugin} implements no hook: mark its functions with @hookimpl; there are "
                f"{', '.join(_specs())}"
            )
        for caller in callers:
            for impl in caller.get_hookimpls():
                if impl.plugin is plugin.made:
                    _check_kind(plugin, caller.name, impl)

    def implemented(self, hook: str) -> list[Implementation]:
        """Return who implements a hook, in the order of the calls."""
        return self._implementations.get(hook, [])

    def each(self, hook: str, **given: Any) -> Iterator[tuple[Plugin, Any]]:
        """Call a plain hook of each plugin; yields the answers of those that have one."""
        for one in self._implementations.get(hook, ()):
            try:
                answer = one.call(given)
            except FAULTS as exc:
                one.plugin.blame(hook, exc)
                continue
            if answer is not None:
                yield one.plugin, answer

    def news(self) -> list[tuple[str, str, int, str]]:
        """Return what has gone wrong here since this was last asked, for `hear` elsewhere."""
        found = []
        for plugin in self.plugins:
            for hook, times in list(plugin.faults.items()):
                if times > plugin.told[hook]:
                    found.append(
                        (plugin.name, hook, times - plugin.told[hook], plugin.last[hook][0])
                    )
                    plugin.told[hook] = times
        return found

    def hear(self, news: Iterable[Sequence[Any]]) -> None:
        """Count what has gone wrong in another process, which has logged it."""
        plugins = {plugin.name: plugin for plugin in self.plugins}
        for name, hook, times, told in news:
            if name in plugins:
                plugins[name].last[hook] = clean(str(told), KEPT), time.monotonic()
                plugins[name].faults[hook] += int(times)

    def whose(self, frame: FrameType | None) -> str:
        """Return the plugins that a stack leads through, or "": within a job, it is the job's."""
        if registry.within_job(frame):
            return ""
        return ", ".join(str(plugin) for plugin in self.plugins if plugin.within(frame))


def _specs() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("chancy_")]


def _caller(
    function: Callable[..., Any], names: tuple[str, ...]
) -> Callable[[Mapping[str, Any]], Any]:
    if len(names) == 1:  # around every call of a job
        name = names[0]
        return lambda given: function(given[name])
    if len(names) == 2:
        first, second = names
        return lambda given: function(given[first], given[second])
    return lambda given: function(*[given[name] for name in names])


def _check_kind(plugin: Plugin, hook: str, impl: pluggy.HookImpl) -> None:
    wanted = inspect.iscoroutinefunction(getattr(hookspecs, hook))
    if inspect.iscoroutinefunction(impl.function) is not wanted:
        raise InvalidPlugin(f"{plugin}: {hook} is written with `{'async ' * wanted}def`")
    if impl.wrapper or impl.hookwrapper:
        raise InvalidPlugin(
            f"{plugin}: {hook} is no wrapper: to wrap a call or an attempt, return a context from "
            "chancy_call_context or chancy_job_context"
        )


def answered(answer: Any, wanted: str) -> str:
    """Return how an answer that makes no sense is told of."""
    return f"it answered {shown(answer)}, and not {wanted}"
