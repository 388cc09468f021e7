"""Writes outcomes in batches: each as soon as the last is committed, never by a timer."""

import logging
from collections import deque
from collections.abc import Callable, Sequence

import anyio

from chancy_core.store.statements import Settlement
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.settle")

#: How many outcomes one transaction writes at most.
BATCH = 500
#: How many unwritten outcomes a worker keeps before it stops claiming.
BACKLOG = 5_000


class Settler:
    """The unwritten outcomes of one worker, and the task that writes them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        #: Called with those jobs that have just gone back into their queues.
        self.requeued: Callable[[Sequence[Settlement]], None] = lambda _: None
        self._waiting: deque[Settlement] = deque()
        self._writing: list[Settlement] = []
        self._more = anyio.Event()
        self._drained = anyio.Event()
        #: Outcomes that came too late: their lease was no longer current.
        self.stale = 0

    @property
    def full(self) -> bool:
        """Whether so much is unwritten that nothing more should be claimed."""
        return len(self._waiting) >= BACKLOG

    def put(self, settlement: Settlement) -> None:
        """Hand over an outcome; it is written soon."""
        self._waiting.append(settlement)
        self._more.set()

    async def run(self) -> None:
        """Write what is handed over, until cancelled. An unreachable database is waited for."""
        while True:
            if not self._waiting:
                self._drained.set()
                await self._more.wait()
            self._more = anyio.Event()
            self._drained = anyio.Event()
            count = min(BATCH, len(self._waiting))
            self._writing = [self._waiting.popleft() for _ in range(count)]
            await self._write(self._writing)
            self._writing = []

    async def flush(self) -> None:
        """Return when all that was handed over has been written."""
        while self._waiting or self._writing:
            await self._drained.wait()

    async def _write(self, batch: list[Settlement]) -> None:
        tries = 0
        while True:
            try:
                counted = await self._store.settle(batch, again=tries > 0)
            except TRANSIENT as exc:
                tries += 1
                log.warning("%d outcomes wait for the database: %s", len(batch), exc)
                await anyio.sleep(backoff(tries))
            else:
                break
        self.requeued([s for s in batch if not s.verdict.state.finished])
        for settlement in batch:
            if settlement.job.id not in counted:
                self.stale += 1
                log.warning("job %s: outcome discarded, its lease was lost", settlement.job.id)
