"""What a worker consists of, and whether all of it works."""

import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

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
        self._ended: list[str] = []

    async def keep(self, name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a part of the worker, and know if it ends while the worker goes on."""
        try:
            await run()
        finally:
            if not self._worker.stopping.is_set():
                self._ended.append(name)

    def look(self) -> Health:
        """Return how the worker is."""
        dead, idle = tuple(self._dead()), tuple(self._idle())
        return Health(live=not dead, ready=not dead and not idle, reasons=dead + idle)

    def _dead(self) -> Iterator[str]:
        if self._watchdog.late:
            yield f"its event loop has been blocked for {self._watchdog.late:.1f} s"
        for name in self._ended:
            yield f"its {name} has ended"
        if not self._heartbeat.beats and not self._worker.stopping.is_set():
            yield "its heartbeat has ended"

    def _idle(self) -> Iterator[str]:
        if self._worker.stopping.is_set():
            yield "it is stopping"
        ago = time.monotonic() - self._heartbeat.renewed_at
        if self._heartbeat.trouble is not None:
            yield f"its last renewal failed: {self._heartbeat.trouble}"
        elif ago > RENEWED:
            yield f"its lease was last renewed {ago:.0f} s ago"
        if (trouble := self._claimer.trouble) is not None:
            yield f"its last claim failed: {trouble}"
        elif self._claimer.waits > CLAIMING:
            yield f"its claim has waited for an answer for {self._claimer.waits:.0f} s"
        if self._settler.full:
            yield "too many of its outcomes wait to be written"
