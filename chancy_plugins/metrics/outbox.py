"""What a worker has yet to write down: in numbered batches, each of which counts once.

A batch that was sent stays as it is until it is known to be written: it is sent again, under the
same number, however often. What is recorded meanwhile goes into the next one.
"""

from collections import deque
from collections.abc import Mapping
from uuid import UUID, uuid4

from attrs import define, field

from chancy_plugins.metrics.key import Key
from chancy_plugins.metrics.tally import Cell, merge

#: How many batches wait: what comes when there are more joins the last of them, and its time.
MOST_BATCHES = 60
#: How many metrics may wait in all of them before that.
MOST_CELLS = 50_000


@define(eq=False)
class Batch:
    """What was recorded within a time."""

    number: int
    #: In the middle of that time, by the monotonic clock of the event loop.
    at: float
    cells: dict[Key, Cell]
    sent: bool = False


@define(eq=False)
class Outbox:
    """The batches of one worker, in their order."""

    session: UUID = field(factory=uuid4)
    _waiting: deque[Batch] = field(init=False, factory=deque)
    _number: int = field(init=False, default=0)

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, cells: Mapping[Key, Cell], at: float) -> None:
        """Add what was recorded around a time."""
        last = self._waiting[-1] if self._waiting else None
        if last is not None and not last.sent and self._full(len(cells)):
            merge(last.cells, cells)
            return
        self._number += 1
        self._waiting.append(Batch(self._number, at, dict(cells)))

    def _full(self, more: int) -> bool:
        held = sum(len(batch.cells) for batch in self._waiting)
        return len(self._waiting) >= MOST_BATCHES or held + more > MOST_CELLS

    def next(self) -> Batch | None:
        """Return the batch that is to be sent, once more if need be; None if there is none."""
        if not self._waiting:
            return None
        self._waiting[0].sent = True
        return self._waiting[0]

    def written(self, batch: Batch) -> None:
        """Forget a batch, which is written."""
        if self._waiting and self._waiting[0] is batch:
            self._waiting.popleft()
