"""How a worker leaves: what it holds is written or given back, and it goes off the list."""

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from chancy_core.heartbeat import Heartbeat
from chancy_core.plugins.observing import Observers
from chancy_core.settle import Settler
from chancy_core.store import statements
from chancy_core.store.store import TRANSIENT

if TYPE_CHECKING:
    from chancy_core.worker import Worker

log = logging.getLogger("chancy.worker")

#: Seconds that the last outcomes may take to be written when a worker stops.
FLUSH = 10.0
#: Seconds that observers may take to hear of them.
OBSERVING = 2.0


class Departure:
    """How a worker leaves, whatever is falling: once, however often it is told to."""

    def __init__(
        self,
        worker: "Worker",
        settler: Settler,
        heartbeat: Heartbeat,
        observers: Observers,
        hear: Callable[[], None],
    ) -> None:
        self._worker = worker
        self._observers = observers
        self._hear = hear
        self._settler = settler
        self._heartbeat = heartbeat
        self.begun = False

    async def leave(self) -> None:
        """Write the last outcomes, give back whatever is still held, and go off the list."""
        if self.begun:
            return
        self.begun = True
        with anyio.CancelScope(shield=True):
            await self._within(FLUSH, self._settler.flush)
            await self._within(FLUSH, self._give_back)
            await self._within(OBSERVING, self._tell)
            await to_thread.run_sync(self._heartbeat.stop)
        log.info("worker %s has stopped", self._worker.name)
        self._worker.stopped.set()
        self._worker.events.emit("worker.stopped", self._worker.name)

    async def _within(self, seconds: float, step: Callable[[], Awaitable[object]]) -> None:
        """Take a step; one that fails keeps nobody from the next."""
        with anyio.move_on_after(seconds):
            try:
                await step()
            except Exception:
                log.exception("worker %s leaves, and a step of that failed", self._worker.name)

    async def _tell(self) -> None:
        self._hear()  # of what was rescued while the jobs came to their end
        await self._observers.finish()

    async def _give_back(self) -> None:
        store = self._worker.chancy.store
        try:
            left = await store.run(statements.give_back(store.names, self._heartbeat.incarnation))
        except TRANSIENT as exc:
            log.error("jobs are left to be rescued: %s", exc)
        else:
            if left:
                log.warning("gave back %d jobs that had not ended", len(left))
