"""The plugin `leadership`, as workers find it: it hears that a leader has stopped."""

from chancy_core.events import Event
from chancy_core.hookspecs import hookimpl
from chancy_core.host import WorkerHost
from chancy_plugins.leadership.campaign import RELEASED, told


@hookimpl
async def chancy_notified(event: Event, worker: WorkerHost) -> None:
    """Have those who follow campaign at once."""
    if event.name == RELEASED:
        told(worker, event.subject)
