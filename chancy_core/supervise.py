"""What keeps the services of plugins running."""

import logging

import anyio

from chancy_core.hooks import FAULTS, Plugin
from chancy_core.host import Service

log = logging.getLogger("chancy.plugins")

#: Seconds before a service that failed begins again: the first, and the most.
FIRST, MOST = 0.5, 60.0


async def supervise(plugin: Plugin, service: Service) -> None:
    """Run a service until it returns, or is cancelled; one that raises is named, and begins again.

    The pauses between double, and begin anew once it has lasted for longer than the longest.
    """
    pause = FIRST
    while True:
        began = anyio.current_time()
        try:
            await service.run()
        except FAULTS as exc:
            plugin.blame(f"its service {service.name!r}", exc)
        else:
            log.info("%s: its service %r is done", plugin, service.name)
            return
        if anyio.current_time() - began > MOST:
            pause = FIRST
        await anyio.sleep(pause)
        pause = min(MOST, 2 * pause)
