"""Writes outcomes in batches: each as soon as the last is committed, never by a timer."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import anyio

from chancy_core.outcome import Settlement
from chancy_core.plugins import WorkerPlugins
from chancy_core.store import statements
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.settle")

#: How many outcomes one transaction writes at most.
BATCH = 500
#: How many unwritten outcomes a worker keeps before it stops claiming: they take memory (8 MB for
#: 5,000), and if it dies their jobs are run again.
BACKLOG = 1_000
#: How many jobs a worker remembers that somebody waits for, and that have ended.
REMEMBERED = 10_000


class Settler:
    """The unwritten outcomes of one worker, and the task that writes them."""

    def __init__(self, store: Store, plugins: WorkerPlugins | None = None) -> None:
        self._store = store
        self._along = plugins.settling if plugins is not None and plugins.settles else None
        #: Called with what has just been written, and counted.
        self.written: Callable[[Sequence[Settlement]], None] = lambda _: None
        #: Called with what is not unwritten any more, whether it counted or came too late.
        self.let_go: Callable[[Sequence[Settlement]], None] = lambda _: None
        #: Called with jobs that somebody waits for, once they have ended.
        self.ended: Callable[[UUID], None] = lambda _: None
        #: The jobs of the last batches that have ended, by the numbers that their ids are.
        self._ended: deque[set[int]] = deque()
        self._remembered = 0
        self._awaited: dict[UUID, None] = {}
        self._waiting: deque[Settlement] = deque()
        self._writing: list[Settlement] = []
        self._more = anyio.Event()
        self._drained = anyio.Event()
        self._runs = False
        #: Outcomes that came too late: their lease was no longer current.
        self.stale = 0

    @property
    def full(self) -> bool:
        """Whether so much is unwritten that nothing more should be claimed."""
        return len(self._waiting) >= BACKLOG

    @property
    def unwritten(self) -> Iterable[Settlement]:
        """What was handed over and is not known to be written yet."""
        return (*self._waiting, *self._writing)

    def awaited(self, job: UUID) -> None:
        """Note that somebody waits for a job; if it has just ended here, say so again."""
        if any(job.int in batch for batch in self._ended):
            self.ended(job)
        else:
            self._awaited[job] = None
            if len(self._awaited) > REMEMBERED:
                del self._awaited[next(iter(self._awaited))]

    def put(self, settlement: Settlement) -> None:
        """Hand over an outcome; it is written soon."""
        if not self._waiting:
            self._more.set()
        self._waiting.append(settlement)

    async def run(self) -> None:
        """Write what is handed over, until cancelled. An unreachable database is waited for."""
        self._runs = True
        try:
            while True:
                if not self._waiting:
                    self._drained.set()
                    await self._more.wait()
                self._more = anyio.Event()
                if self._drained.is_set():  # who waits already waits for this one
                    self._drained = anyio.Event()
                await self._write_some()
        finally:
            self._runs = False
            self._drained.set()

    async def flush(self) -> None:
        """Return when all that was handed over has been written; by us, if `run` has ended."""
        while self._waiting or self._writing:
            await (self._drained.wait() if self._runs else self._write_some())

    async def _write_some(self) -> None:
        """Write what was left in doubt, or the next that wait."""
        again = bool(self._writing)
        if not again:
            count = min(BATCH, len(self._waiting))
            self._writing = [self._waiting.popleft() for _ in range(count)]
        await self._write(self._writing, again)
        gone, self._writing = self._writing, []
        self.let_go(gone)

    async def _write(self, batch: list[Settlement], again: bool) -> None:
        tries = 0
        while True:
            try:
                counted = await self._store.settle(
                    batch, again=again or tries > 0, along=self._along
                )
            except TRANSIENT as exc:
                tries += 1
                log.warning("%d outcomes wait for the database: %s", len(batch), exc)
                await anyio.sleep(backoff(tries))
            else:
                break
        if len(counted) < len(batch):
            await self._discard([s for s in batch if s.job.id not in counted])
            batch = [s for s in batch if s.job.id in counted]
        self.written(batch)
        self._end([s.job.id for s in batch if s.verdict.state.finished])

    def _end(self, jobs: Sequence[UUID]) -> None:
        """Remember jobs that have ended, and tell who waits for one of them."""
        self._ended.append({job.int for job in jobs})
        self._remembered += len(jobs)
        while self._remembered > REMEMBERED + BATCH:
            self._remembered -= len(self._ended.popleft())
        if self._awaited:
            for job in jobs:
                if self._awaited.pop(job, self) is None:
                    self.ended(job)

    async def _discard(self, stale: Sequence[Settlement]) -> None:
        """Count outcomes that came too late; not those that the job itself has written."""
        try:
            own = await self._store.run(statements.settled_before(self._store.names, stale))
        except TRANSIENT:
            own = set()
        for settlement in stale:
            if settlement.job.id in own:  # by `complete_ex`, in a transaction of its own
                self._end([settlement.job.id])
                continue
            self.stale += 1
            log.warning("job %s: outcome discarded, its lease was lost", settlement.job.id)
