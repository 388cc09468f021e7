"""What was counted and measured in this process: `Cell`, and the bounded `Tally` of many."""

import logging
import math
import threading
from collections.abc import Mapping, Sequence
from math import inf

from chancy_plugins.metrics.buckets import LARGEST, SHIFT, SMALLEST, STEPS, bucket
from chancy_plugins.metrics.key import Key, MetricKind

log = logging.getLogger("chancy.metrics")

#: How many metrics, with all their labels, one tally has at most.
MOST = 5_000

_LOW, _HIGH = SMALLEST, LARGEST
_log2, _ceil = math.log2, math.ceil


class Cell:
    """Values that were put together: how many, their sum, the least, the greatest, the latest."""

    __slots__ = ("buckets", "count", "high", "latest", "low", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.low = inf
        self.high = -inf
        self.latest = 0.0
        #: How many of them are in which bucket: of histograms only.
        self.buckets: dict[int, int] = {}

    def add(self, value: float) -> None:
        """Put a value to them, which is now the latest."""
        self.count += 1
        self.total += value
        if value < self.low:  # noqa: PLR1730 - min() takes twice as long
            self.low = value
        if value > self.high:  # noqa: PLR1730
            self.high = value
        self.latest = value

    def observe(self, values: Sequence[float]) -> None:
        """Put values to those of a histogram, the last of which is now the latest."""
        if not values:
            return
        self.count += len(values)
        self.total += sum(values)
        self.low = min(self.low, *values)
        self.high = max(self.high, *values)
        self.latest = values[-1]
        # As `bucket` would: it is done twice for each job, and a call costs as much.
        buckets = self.buckets
        for value in values:
            number = _ceil(_log2(value) * STEPS) + SHIFT if _LOW < value < _HIGH else bucket(value)
            buckets[number] = buckets.get(number, 0) + 1

    def merge(self, later: "Cell") -> None:
        """Put others to these, which were said later."""
        if not later.count:
            return
        self.count += later.count
        self.total += later.total
        self.low = min(self.low, later.low)
        self.high = max(self.high, later.high)
        self.latest = later.latest
        for number, count in later.buckets.items():
            self.buckets[number] = self.buckets.get(number, 0) + count


def merge(into: dict[Key, Cell], later: Mapping[Key, Cell]) -> None:
    """Put many to many."""
    for key, cell in later.items():
        known = into.get(key)
        if known is None:
            known = into[key] = Cell()
        known.merge(cell)


class Tally:
    """Metrics by their keys, of which there are at most `MOST`. For any thread."""

    def __init__(self) -> None:
        self._cells: dict[Key, Cell] = {}
        #: All that was ever taken.
        self._before: dict[Key, Cell] = {}
        self._lock = threading.Lock()
        self._told = False

    def __bool__(self) -> bool:
        return bool(self._cells)

    def add(self, key: Key, value: float) -> None:
        """Record a value; one of a metric too many is left out, which is told of once."""
        with self._lock:
            cell = self._cells.get(key)
            if cell is None:
                if len(self._cells) >= MOST:
                    self._tell(key)
                    return
                cell = self._cells[key] = Cell()
            if key.kind is MetricKind.HISTOGRAM:
                cell.observe([value])
            else:
                cell.add(value)

    def put(self, key: Key, cell: Cell) -> None:
        """Record what was put together elsewhere."""
        with self._lock:
            if key in self._cells or len(self._cells) < MOST:
                merge(self._cells, {key: cell})
            else:
                self._tell(key)

    def take(self) -> dict[Key, Cell]:
        """Return all that was recorded since this was called last."""
        with self._lock:
            taken, self._cells = self._cells, {}
            for key, cell in taken.items():
                if key in self._before or len(self._before) < MOST:
                    merge(self._before, {key: cell})
        return taken

    def totals(self) -> dict[Key, Cell]:
        """Return all that was ever recorded here."""
        found: dict[Key, Cell] = {}
        with self._lock:
            merge(found, self._before)
            merge(found, self._cells)
        return found

    def _tell(self, key: Key) -> None:
        if not self._told:
            self._told = True
            log.error(
                "more than %d metrics are recorded here: those that come last, such as %s with %s, "
                "are left out. Labels are for what has few values",
                *(MOST, key.name, key.text()),
            )
