"""The plugin `cron`, as workers find it: a service, which is woken when an entry changes."""

from collections.abc import Iterable
from weakref import WeakKeyDictionary

from chancy_core import hint
from chancy_core.events import Event
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service, WorkerHost
from chancy_plugins.cron.calls import CHANGED
from chancy_plugins.cron.schedule import cronsim
from chancy_plugins.cron.service import PATIENCE, Timekeeper

cronsim()  # without it there is no plugin, and it is said here what to install

_keepers: "WeakKeyDictionary[WorkerHost, Timekeeper]" = WeakKeyDictionary()


@hookimpl
def chancy_worker_services(worker: WorkerHost) -> Iterable[Service]:
    """Fire what is due for as long as the worker works."""
    keeper = _keepers[worker] = Timekeeper(worker.chancy)

    async def keep() -> None:  # written here, so that a stack that leads here is the plugin's
        await keeper.run()

    service = Service("cron", keep, patience=PATIENCE)
    keeper.beat = service.beat
    return [service]


@hookimpl
async def chancy_notified(event: Event, worker: WorkerHost) -> None:
    """Look at once when an entry has changed or may have, or a test has moved the clock."""
    moved = event.name == hint.SCHEDULED and not event.subject
    if (event.name in {CHANGED, hint.LISTENING} or moved) and worker in _keepers:
        _keepers[worker].wake()
