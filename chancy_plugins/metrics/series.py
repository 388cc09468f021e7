"""What a query answers: `Series` of `Point`s."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from attrs import field, frozen

from chancy_core.errors import InvalidValue
from chancy_plugins.metrics.buckets import quantile
from chancy_plugins.metrics.key import WORKER, Key, MetricKind
from chancy_plugins.metrics.reading import Stored
from chancy_plugins.metrics.tally import Cell


@frozen(kw_only=True)
class Point:
    """What was recorded within one time."""

    kind: MetricKind
    #: When that time begins, and how many seconds it lasts.
    at: datetime
    seconds: float
    #: How many values there were, and what they amount to.
    count: int
    total: float
    low: float
    high: float
    #: The last of them.
    latest: float
    buckets: Mapping[int, int] = field(repr=False)

    @property
    def value(self) -> float:
        """What a counter was added up to, the last of a gauge, the mean of a histogram."""
        if self.kind is MetricKind.COUNTER:
            return self.total
        return self.latest if self.kind is MetricKind.GAUGE else self.mean

    @property
    def mean(self) -> float:
        """The mean of all values."""
        return self.total / self.count

    @property
    def rate(self) -> float:
        """What was added in a second, on an average; too little where the time is not over."""
        return self.total / self.seconds

    def quantile(self, share: float) -> float | None:
        """Estimate the value that *share* of all, 0 to 1, do not exceed; None but for histograms.

        It is off by 4.4 % of itself at most. Raises `InvalidValue` for another share.
        """
        if not 0 <= share <= 1:
            raise InvalidValue(f"quantile: a share is 0 to 1, not {share!r}")
        if self.kind is not MetricKind.HISTOGRAM:
            return None
        return quantile(self.buckets, share, self.low, self.high)


@frozen(kw_only=True)
class Series:
    """The points of a metric that have the same labels, in the order of their times.

    There is none of a time in which nothing was recorded.
    """

    name: str
    kind: MetricKind
    unit: str
    labels: Mapping[str, str]
    #: Seconds from the beginning of one point to that of the next.
    resolution: int
    points: Sequence[Point]

    def whole(self) -> Point:
        """Return all points as one, from the beginning of the first to the end of the last."""
        cell = Cell()
        for point in self.points:
            cell.merge(_cell(point))
        first, last = self.points[0], self.points[-1]
        return _point(
            self.kind, first.at, (last.at - first.at).total_seconds() + last.seconds, cell
        )


def _cell(point: Point) -> Cell:
    cell = Cell()
    cell.count, cell.total, cell.latest = point.count, point.total, point.latest
    cell.low, cell.high = point.low, point.high
    cell.buckets = dict(point.buckets)
    return cell


def _point(kind: MetricKind, at: datetime, seconds: float, cell: Cell) -> Point:
    return Point(
        kind=kind,
        at=at,
        seconds=seconds,
        count=cell.count,
        total=cell.total,
        low=cell.low,
        high=cell.high,
        latest=cell.latest,
        buckets=cell.buckets,
    )


#: A point of a series: its kind, the labels that are asked for, and when it begins.
_Place = tuple[MetricKind, tuple[tuple[str, str], ...], datetime]


def gathered(name: str, stored: Iterable[Stored], by: Sequence[str], size: int) -> list[Series]:
    """Put what is stored together: into a series for each combination of the labels *by*.

    Counters and histograms are added up. Of one gauge the last that was said counts, whoever said
    it; gauges that differ in other labels are added up.
    """
    cells: dict[_Place, dict[Key, Cell]] = {}
    units: dict[MetricKind, str] = {}
    for one in sorted(stored, key=lambda one: one.said_at):
        labels = dict(one.key.labels) | {WORKER: one.worker}
        chosen = tuple((label, labels.get(label, "")) for label in by)
        place = (one.key.kind, chosen, one.began_at)
        units.setdefault(one.key.kind, one.key.unit)
        known = cells.setdefault(place, {})
        known.setdefault(one.key, Cell()).merge(one.cell)
    found: dict[tuple[MetricKind, tuple[tuple[str, str], ...]], list[Point]] = {}
    for (kind, chosen, at), several in sorted(cells.items(), key=lambda item: item[0][2]):
        cell = _summed(kind, list(several.values()))
        found.setdefault((kind, chosen), []).append(_point(kind, at, float(size), cell))
    return [
        Series(
            name=name,
            kind=kind,
            unit=units[kind],
            labels=dict(chosen),
            resolution=size,
            points=tuple(points),
        )
        for (kind, chosen), points in sorted(found.items())
    ]


def _summed(kind: MetricKind, cells: Sequence[Cell]) -> Cell:
    """Put cells of different series together."""
    whole = Cell()
    for cell in cells:
        whole.merge(cell)
    if kind is MetricKind.GAUGE and len(cells) > 1:
        whole.latest = sum(cell.latest for cell in cells)
        whole.low = sum(cell.low for cell in cells)
        whole.high = sum(cell.high for cell in cells)
        whole.total = whole.count * sum(cell.total / cell.count for cell in cells)
    return whole
