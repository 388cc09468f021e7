"""`chancy metrics`: what was counted and measured, with small pictures."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from cyclopts import App, Parameter

from chancy_core.cli.invocation import Here
from chancy_core.errors import InvalidValue
from chancy_plugins.metrics.calls import LAST, Metrics
from chancy_plugins.metrics.key import MetricKind
from chancy_plugins.metrics.series import Point, Series
from chancy_plugins.metrics.words import number, span, sparkline

app = App(name="metrics", help="Show what was counted and measured: jobs, workers, tables, yours.")
#: Which percentiles are shown of a histogram.
_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_COLUMNS = {
    MetricKind.COUNTER: ("series", "shape", "total", "per_second"),
    MetricKind.GAUGE: ("series", "shape", "latest", "low", "high"),
    MetricKind.HISTOGRAM: ("series", "shape", "count", "mean", "p50", "p95", "p99", "high"),
}


@app.command(name="list")
async def list_(prefix: str = "", /, *, here: Here) -> None:
    """List the metrics that there are.

    Parameters
    ----------
    prefix
        Only those whose names begin with it.
    """
    async with here.chancy() as chancy:
        found = await Metrics(chancy).names(prefix)
    documents = [
        {
            "name": one.name,
            "kind": str(one.kind),
            "unit": one.unit,
            "labels": list(one.labels),
            "series": one.series,
            "seen_at": one.seen_at,
        }
        for one in found
    ]
    none = "no metric yet: workers write them down each ten seconds"
    here.output.items(documents, ("name", "kind", "unit", "labels", "series", "seen_at"), none)


@app.command
async def show(
    name: str,
    /,
    *,
    by: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=False)] = None,
    where: Annotated[list[str] | None, Parameter(negative=(), consume_multiple=False)] = None,
    last: str = "1h",
    resolution: str | None = None,
    here: Here,
) -> None:
    """Show a metric over time.

    Parameters
    ----------
    by
        A label, such as queue, func, state or worker: a line for each of its values.
    where
        A label and its value, as queue=mail: only what has it.
    last
        How far back: 90s, 30min, 6h, 2d or 1w.
    resolution
        1min, 5min, 1h or 1d; if it is left out, the finest that is kept.
    """
    back = span(last)
    async with here.chancy() as chancy:
        found = await Metrics(chancy).query(
            name, by=by or (), where=_labels(where or ()), last=back, resolution=resolution
        )
    if here.output.as_json:
        here.output.items([_document(series) for series in found], ())
        return
    shown = False
    for kind, columns in _COLUMNS.items():
        lines = [_line(series, back) for series in found if series.kind is kind]
        if lines:
            shown = True
            here.output.items(lines, columns)
    if not shown:
        here.output.say(f"nothing of {name} within {back or LAST}; `chancy metrics list` has names")


@app.command
async def counts(*, here: Here) -> None:
    """Show how many jobs there are, and were, by queue and state."""
    async with here.chancy() as chancy:
        found = await Metrics(chancy).counts()
    documents = [
        {
            "queue": one.queue,
            "state": one.state,
            "count": one.count,
            "exact": one.exact,
            "as_of": one.as_of,
            "oldest_at": one.oldest_at,
        }
        for one in found
    ]
    columns = ("queue", "state", "count", "exact", "as_of", "oldest_at")
    here.output.items(documents, columns, "no job was counted yet")


def _labels(where: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in where]
    for text, (label, equals, _) in zip(where, pairs, strict=True):
        if not label or not equals:
            raise InvalidValue(f"--where is a label and its value, as queue=mail, not {text!r}")
    return {label: value for label, _, value in pairs}


def _document(series: Series) -> dict[str, Any]:
    """Return a series as `--json` prints it."""
    return {
        "name": series.name,
        "kind": str(series.kind),
        "unit": series.unit,
        "labels": dict(series.labels),
        "resolution": series.resolution,
        "points": [_values(point) for point in series.points],
    }


def _values(point: Point) -> dict[str, Any]:
    values = {
        "at": point.at,
        "value": point.value,
        "count": point.count,
        "total": point.total,
        "low": point.low,
        "high": point.high,
        "latest": point.latest,
    }
    if point.kind is MetricKind.HISTOGRAM:
        values |= {name: point.quantile(share) for name, share in _SHARES.items()}
    return values


def _line(series: Series, back: timedelta) -> dict[str, str]:
    """Return a series as a line of a table."""
    whole, unit = series.whole(), series.unit
    values: Mapping[str, float | None] = {
        "latest": whole.latest,
        "low": whole.low,
        "high": whole.high,
        "mean": whole.mean,
        **{name: whole.quantile(share) for name, share in _SHARES.items()},
    }
    return {
        "series": " ".join(f"{k}={v}" for k, v in series.labels.items()) or series.name,
        "shape": sparkline(_row(series, back)),
        "count": number(whole.count, ""),
        "total": number(whole.total, unit),
        "per_second": number(whole.total / back.total_seconds(), ""),
        **{name: number(value, unit) for name, value in values.items()},
    }


def _row(series: Series, back: timedelta) -> list[float | None]:
    """Return the values of a series, with None for each time of which there is no point."""
    first = series.points[0].at
    places: dict[int, float] = {}
    for point in series.points:
        places[_place(first, point.at, series.resolution)] = point.value
    length = max(max(places) + 1, min(1_000, int(back.total_seconds() // series.resolution)))
    before = length - max(places) - 1
    return [None] * before + [places.get(n) for n in range(max(places) + 1)]


def _place(first: datetime, at: datetime, resolution: int) -> int:
    return round((at - first).total_seconds() / resolution)
