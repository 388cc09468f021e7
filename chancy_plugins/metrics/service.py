"""What each worker does for metrics: it writes down what it has recorded, again and again."""

import logging
import random
from collections.abc import Callable

import anyio

from chancy_core.host import WorkerHost
from chancy_plugins.metrics import process, settings
from chancy_plugins.metrics.leading import MOST
from chancy_plugins.trouble import Trouble

log = logging.getLogger("chancy.metrics")

#: Seconds after which a worker that has nothing to write says that it is there.
BEAT = 60.0
#: Seconds that the last writing may take when the worker stops.
LAST = 3.0
#: Seconds, beyond some of the pauses between two writings, after which one is taken to hang.
PATIENCE = 120.0


class Writing:
    """Writes down what one worker records, until it stops."""

    def __init__(self, worker: WorkerHost) -> None:
        self._worker = worker
        #: Says that it goes on, and what keeps it from that, to whoever supervises it.
        self.beat: Callable[[str | None], None] = lambda _: None
        self._recorder = process.of_worker(worker)
        self._trouble = Trouble(log, "metrics: writing them down", MOST)
        self._written_at = -BEAT

    async def run(self) -> None:
        """Write until cancelled, and then once more."""
        try:
            while True:
                self.beat(self._trouble.lasting)
                pause = await self._turn()
                await anyio.sleep(pause)
        finally:
            with anyio.move_on_after(LAST, shield=True) as scope:
                await self._end()
            if scope.cancelled_caught:
                log.warning("metrics: the last of worker %s were not written", self._worker.name)

    async def _turn(self) -> float:
        """Write what there is; answers after how many seconds there is more."""
        recorder, now = self._recorder, anyio.current_time()
        recorder.look(self._worker)
        said = now - self._written_at < BEAT
        if said and recorder.idle and not process.here:
            recorder.rest()
            return settings.interval()
        try:
            await recorder.flush(self._worker.chancy, process.here)
            await process.flush_left(self._worker.chancy)
        except Exception as exc:  # noqa: BLE001 - what is not the database's is raised again
            return max(settings.interval(), self._trouble.pause_after(exc))
        self._trouble.over()
        self._written_at = now
        return settings.interval() * random.uniform(0.9, 1.0)

    async def _end(self) -> None:
        self._recorder.look(self._worker)
        try:
            await self._recorder.flush(self._worker.chancy, process.here, ended=True)
            await process.flush_left(self._worker.chancy)
        except Exception as exc:  # noqa: BLE001 - what is not the database's is raised again
            self._trouble.pause_after(exc)
            process.leave(self._worker)
            log.warning(
                "metrics: the last of worker %s are kept in this process: a worker that starts in "
                "it writes them, and so does Metrics.flush (%s)",
                *(self._worker.name, exc),
            )
