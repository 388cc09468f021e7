"""What one worker records, and how it is written down."""

import logging
from collections.abc import Sequence

import anyio

from chancy_core.host import Application, WorkerHost
from chancy_core.outcome import Rescued, Settlement
from chancy_plugins.metrics import statements
from chancy_plugins.metrics.jobs import Jobs
from chancy_plugins.metrics.key import Key, MetricKind
from chancy_plugins.metrics.outbox import Batch, Outbox
from chancy_plugins.metrics.refused import is_of_the_values
from chancy_plugins.metrics.tally import Cell, Tally, merge

log = logging.getLogger("chancy.metrics")

_COUNTER = MetricKind.COUNTER
_STALE = Key.of(_COUNTER, "outcomes.stale")


class Recorder:
    """What one worker has counted and measured, and has not written down yet.

    Recording is for its event loop, except by `tally`; writing is done by one at a time.
    """

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.tally = Tally()
        #: Its slots, and how many of them run a job.
        self.slots = self.running = 0
        #: Whether its worker is gone.
        self.gone = False
        self._jobs = Jobs()
        self._outbox = Outbox()
        self._stale = 0
        self._since: float | None = None
        self._writing: anyio.Lock | None = None

    def settled(self, settled: Sequence[Settlement]) -> None:
        """Count what became of jobs."""
        self._jobs.note(settled)

    def rescued(self, rescued: Sequence[Rescued]) -> None:
        """Count jobs that were taken back from the dead."""
        for one in rescued:
            key = Key.of(_COUNTER, "jobs.rescued", queue=one.queue, state=str(one.state))
            self.tally.add(key, 1)

    def look(self, worker: WorkerHost) -> None:
        """See what its worker is doing at this moment."""
        self.running = len(worker.running)
        self.slots = worker.slots
        if worker.stale > self._stale:
            self.tally.add(_STALE, worker.stale - self._stale)
            self._stale = worker.stale

    def totals(self) -> dict[Key, Cell]:
        """Return all that it has ever recorded, and poured. For any thread."""
        return self.tally.totals()

    def pour(self) -> None:
        """Have what was counted of jobs among its totals."""
        self._jobs.pour(self.tally)

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be written."""
        self._jobs.pour(self.tally)
        return not self.tally and not self._outbox

    async def flush(self, app: Application, *others: Tally, ended: bool = False) -> None:
        """Write down what was recorded here, and in *others*, up to now.

        What could not be written is kept, for the next time; raises why.
        """
        self._pack(others)
        if self._writing is None:
            self._writing = anyio.Lock()
        async with self._writing:
            while (batch := self._outbox.next()) is not None:
                await self._write(app, batch, ended=ended and len(self._outbox) == 1)
                self._outbox.written(batch)

    def rest(self) -> None:
        """Note that nothing has happened up to now."""
        self._since = anyio.current_time()

    def _pack(self, others: Sequence[Tally]) -> None:
        now = anyio.current_time()
        self._jobs.pour(self.tally)
        cells = self.tally.take()
        for other in others:
            merge(cells, other.take())
        since = now if self._since is None else self._since
        self._outbox.put(cells, (since + now) / 2)
        self._since = now

    async def _write(self, app: Application, batch: Batch, *, ended: bool) -> None:
        database = app.database
        statement = statements.write(
            database.names,
            self._outbox.session,
            self.worker,
            batch.number,
            batch.cells,
            age=anyio.current_time() - batch.at,
            slots=self.slots,
            running=self.running,
            ended=ended,
        )
        try:
            await database.run(statement)
        except Exception as exc:
            if not is_of_the_values(exc):
                raise
            log.error("%d metrics are lost, which the database refuses: %s", len(batch.cells), exc)
