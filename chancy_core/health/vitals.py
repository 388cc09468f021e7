"""What a worker consists of, and whether all of it works."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chancy_core.health.health import Health

if TYPE_CHECKING:
    from chancy_core.claim import Claimer
    from chancy_core.heartbeat import Heartbeat
    from chancy_core.settle import Settler
    from chancy_core.watchdog import Watchdog
    from chancy_core.worker import Worker

#: Seconds after which a renewal of the lease is no longer a recent one: two are missing.
RENEWED = 6.0
#: Seconds that a claim may wait for its answer.
CLAIMING = 5.0


class Vitals:
    """Looks at one worker's parts. May be asked from any thread, and never waits."""

    def __init__(
        self,
        worker: "Worker",
        heartbeat: "Heartbeat",
        claimer: "Claimer",
        settler: "Settler",
        watchdog: "Watchdog",
    ) -> None:
        self._worker = worker
        self._heartbeat = heartbeat
        self._claimer = claimer
        self._settler = settler
        self._watchdog = watchdog
        #: What of it has ended, and should not have.
        self.ended: list[str] = []

    @property
    def stale(self) -> int:
        """How many outcomes came too late to count."""
        return self._settler.stale

    def look(self) -> Health:
        """Return how the worker is."""
        dead, idle = tuple(self._dead()), tuple(self._idle())
        return Health(live=not dead, ready=not dead and not idle, reasons=dead + idle)

    def _dead(self) -> Iterator[str]:
        if self._watchdog.late:
            yield f"its event loop has been blocked for {self._watchdog.late:.1f} s"
        for name in self.ended:
            yield f"its task {name!r} has ended"
        if not self._heartbeat.beats and not self._worker.stopping.is_set():
            yield "its heartbeat has ended"

    def _idle(self) -> Iterator[str]:
        if self._worker.stopping.is_set():
            yield "it is stopping"
        ago = time.monotonic() - self._heartbeat.renewed_at
        if self._heartbeat.trouble is not None:
            yield f"its heartbeat failed: {self._heartbeat.trouble}"
        elif ago > RENEWED:
            yield f"its lease was last renewed {ago:.0f} s ago"
        asked = self._claimer.asked
        if asked.trouble is not None and self._claimer.lanes.hungry():
            yield f"its last claim failed: {asked.trouble}"
        elif asked.waits > CLAIMING:
            yield f"its claim has waited for an answer for {asked.waits:.0f} s"
        if self._settler.full:
            yield "too many of its outcomes wait to be written"
