"""What keeps the services of plugins running, and lets no task of a worker's own die quietly."""

import logging
from collections.abc import Awaitable, Callable

import anyio

from chancy_core.errors import ChancyError
from chancy_core.hooks import FAULTS, Plugin
from chancy_core.host import Service

log = logging.getLogger("chancy.plugins")
worker_log = logging.getLogger("chancy.worker")

#: Seconds before a service that failed begins again: the first, and the most.
FIRST, MOST = 0.5, 60.0


async def supervise(plugin: Plugin, service: Service) -> None:
    """Run a service until it returns, or is cancelled; one that raises is named, and begins again.

    So is one that was silent for longer than it may be. The pauses between double, and begin anew
    once it has lasted for longer than the longest.
    """
    pause = FIRST
    while True:
        began = anyio.current_time()
        try:
            with anyio.CancelScope() as scope:
                service.watch(scope)
                await service.run()
        except FAULTS as exc:
            plugin.blame(service.called, exc)
        except anyio.get_cancelled_exc_class() as exc:
            if _wanted():
                raise
            plugin.blame(service.called, exc)
        else:
            if not scope.cancelled_caught:
                log.info("%s: its service %r is done", plugin, service.name)
                return
            plugin.blame(service.called, f"it was not heard of for {service.patience} s")
        if anyio.current_time() - began > MOST:
            pause = FIRST
        await anyio.sleep(pause)
        pause = min(MOST, 2 * pause)


async def vital(
    worker: str, task: str, run: Callable[[], Awaitable[object]], may_end: Callable[[], bool]
) -> None:
    """Run a task that a worker cannot do without; if it dies it is named, and ends the worker.

    It may return only once *may_end* says so. Raises what it died of: `ChancyError` if it just
    returned, or was cancelled although no scope around it is.
    """
    died = "worker %s: its task %r has died, and ends the worker"
    try:
        await run()
    except Exception:
        worker_log.critical(died, worker, task, exc_info=True)
        raise
    except anyio.get_cancelled_exc_class() as exc:
        if _wanted():
            raise
        worker_log.critical(died, worker, task, exc_info=True)
        raise ChancyError(f"worker {worker}: its task {task!r} was cancelled by nobody") from exc
    if not may_end():
        worker_log.critical(died, worker, task)
        raise ChancyError(f"worker {worker}: its task {task!r} returned, and must not")


def _wanted() -> bool:
    """Whether a cancellation comes from a scope around us, and not out of what was awaited."""
    return anyio.current_effective_deadline() == float("-inf")
