"""What has gone wrong with the plugins of a worker: told in its row, for `chancy check` to name.

It is written with the renewal of the lease, when it has changed, by whose thread it is asked.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from chancy_core.codec import clean
from chancy_core.hooks import KEPT, Plugin
from chancy_core.host import Service

log = logging.getLogger("chancy.plugins")

#: How many faults a worker tells of: the last ones.
MOST = 10
#: A value that is another one whenever there is something new, and what there is, as JSON.
Told = tuple[object, str]
#: What is told while nothing has gone wrong.
NOTHING: Told = ((), "[]")
_NAME = 100


class Faults:
    """The faults of some plugins, and of their services. Never raises, in whatever thread."""

    def __init__(
        self,
        plugins: Callable[[], Iterable[Plugin]],
        services: Callable[[], Iterable[tuple[Plugin, Service]]],
    ) -> None:
        self._plugins = plugins
        self._services = services

    def told(self) -> Told:
        """Return what there is, as `roster` reads it."""
        try:
            found = sorted(self._all(), key=lambda fault: fault["ago"])[:MOST]
            version = tuple((f["plugin"], f["hook"], f["times"], f["said"]) for f in found)
            return version, json.dumps(found)
        except Exception:  # a look at it must not cost the lease
            log.exception("cannot tell which plugins have failed")
            return NOTHING

    def _all(self) -> Iterator[dict[str, Any]]:
        now = time.monotonic()
        for plugin, service in list(self._services()):
            if trouble := service.trouble:
                yield _fault(plugin, service.called, 0, clean(trouble, KEPT), 0.0)
        for plugin in list(self._plugins()):
            for hook, times in dict(plugin.faults).items():
                said, at = plugin.last[hook]
                yield _fault(plugin, hook, times, said, now - at)


def _fault(plugin: Plugin, hook: str, times: int, said: str, ago: float) -> dict[str, Any]:
    return {
        "plugin": clean(plugin.name, _NAME),
        "origin": clean(plugin.origin, _NAME),
        "hook": clean(hook, _NAME),
        "times": times,
        "said": said,
        "ago": ago,
    }
