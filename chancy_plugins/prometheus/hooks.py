"""The plugin `prometheus`, as it is installed: on if the environment says where.

CHANCY_PROMETHEUS=127.0.0.1:9464
"""

import logging
import os
from collections.abc import Iterable, Sequence

from chancy_core.errors import InvalidPlugin
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service, WorkerHost
from chancy_core.outcome import Settlement
from chancy_plugins.prometheus.endpoint import Address
from chancy_plugins.prometheus.families import library
from chancy_plugins.prometheus.plugin import Prometheus

log = logging.getLogger("chancy.prometheus")

library()  # without it there is no plugin, and it is said here what to install

#: What says where.
VARIABLE = "CHANCY_PROMETHEUS"
_made: dict[Address, Prometheus] = {}


def _asked() -> Prometheus | None:
    """Return the endpoint that the environment asks for; None if it asks for none."""
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    address = Address.of(given)
    if address not in _made:
        _made[address] = Prometheus(address.port, address.host)
    return _made[address]


@hookimpl
def chancy_worker_services(worker: WorkerHost) -> Iterable[Service] | None:
    """Answer for as long as the worker lives, if the environment says where."""
    try:
        plugin = _asked()
    except InvalidPlugin as exc:
        log.error("%s: %s", VARIABLE, exc)
        return None
    return None if plugin is None else plugin.chancy_worker_services(worker)


if os.environ.get(VARIABLE):  # else it would be told of all outcomes, and have no use for them

    @hookimpl
    async def chancy_jobs_settled(settled: Sequence[Settlement], worker: WorkerHost) -> None:
        """Count what became of jobs, if nobody else does."""
        for plugin in _made.values():
            await plugin.chancy_jobs_settled(settled, worker)
