"""Which plugins an application has: those that are installed, and those that it was given."""

import logging
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from chancy_core import discovery
from chancy_core.beside import imported
from chancy_core.codec import shown
from chancy_core.errors import InvalidPlugin, MissingExtra, OfferError
from chancy_core.hooks import FAULTS, Plugin, log
from chancy_core.host import Application
from chancy_core.plugins.application import Plugins

GROUP = "chancy.plugins"


def load(app: Application, given: Iterable[Any] = ()) -> Plugins:
    """Register what is installed, by name, and then what was *given* to the application.

    What was given may stand in the place of an installed one, by its name. An installed one that
    cannot be used is named in the log, and hides no other. Raises `InvalidPlugin` for one of those
    that were given.
    """
    plugins = Plugins(app)
    beside = [_given(made) for made in given]
    replaced = {plugin.replaces for plugin in beside}
    for name in sorted(discovery.offers(GROUP).keys() - replaced, reverse=True):
        try:
            plugins.register(_installed(name))
        except (OfferError, InvalidPlugin) as exc:
            # Who never asked for an extra finds in `chancy plugins --load` what it would need.
            extra = isinstance(exc.__cause__, MissingExtra)
            level = logging.INFO if extra else logging.ERROR
            log.log(level, "plugin %s is left out: %s", name, exc)
            plugins.broken[name] = str(exc)
    for plugin in beside:
        plugins.register(plugin)
        if plugin.path is None and any(plugin is one.plugin for one in plugins.called_beside):
            log.warning(
                "%s cannot be imported by child processes, where its hooks around the function "
                "are missing: give it to Chancy as 'module:attribute'",
                plugin,
            )
    return plugins


def _installed(name: str) -> Plugin:
    made = discovery.load(GROUP, name)
    entry = discovery.find(GROUP, name)
    return Plugin(name, discovery.distribution(entry), made, entry.value)


def _given(made: Any) -> Plugin:
    origin = "given to Chancy"
    if isinstance(made, str):
        try:
            return Plugin(made, origin, imported(made), made)
        except FAULTS as exc:
            raise InvalidPlugin(
                f"plugins: {shown(made)} cannot be imported as module or module:attribute: "
                f"{type(exc).__name__}: {exc}"
            ) from exc
    if isinstance(made, ModuleType):
        return Plugin(made.__name__, origin, made, made.__name__)
    name = made.__qualname__ if isinstance(made, type) else type(made).__qualname__
    return Plugin(name, origin, made, _path(made))


def _path(made: Any) -> str | None:
    """Return how another process finds an object: as it says, or by its name beside its class."""
    elsewhere = getattr(made, "elsewhere", None)
    if isinstance(elsewhere, str):
        return elsewhere
    module = sys.modules.get(type(made).__module__)
    if module is None or module.__name__ == "__main__":
        return None
    names = (name for name, value in vars(module).items() if value is made)
    return next((f"{module.__name__}:{name}" for name in names), None)
