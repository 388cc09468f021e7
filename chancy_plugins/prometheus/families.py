"""Metrics by the names, with the labels and in the buckets that Prometheus has for them."""

import re
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from chancy_core.errors import MissingExtra
from chancy_plugins.metrics.buckets import up_to
from chancy_plugins.metrics.key import Key, MetricKind
from chancy_plugins.metrics.tally import Cell, merge

#: Our metrics: by which names, and what they are.
NAMES = {
    "jobs.attempts": ("chancy_attempts", "Attempts at jobs, by how they ended."),
    "jobs.finished": ("chancy_jobs_finished", "Jobs that have ended, by their state."),
    "jobs.retried": ("chancy_jobs_retried", "Attempts after which a job is tried again."),
    "jobs.duration": ("chancy_job_duration", "How long attempts took."),
    "jobs.wait": ("chancy_job_wait", "How long jobs waited until they were first claimed."),
    "jobs.rescued": ("chancy_jobs_rescued", "Jobs taken back from workers that died."),
    "jobs.pushed": ("chancy_jobs_pushed", "Jobs that this process has pushed."),
    "outcomes.stale": ("chancy_outcomes_stale", "Outcomes that came too late to count."),
}
#: How many combinations of labels one metric has at most; what comes last is of `OTHERS`.
MOST = 500
OTHERS = "(others)"
#: The upper bounds of the buckets, from a millisecond to some hours: they are bounds of ours, too.
BOUNDS = tuple(2.0**n for n in range(-10, 15))
_UNITS = {"s": "seconds"}


def library() -> ModuleType:
    """Return what talks to Prometheus. Raises `MissingExtra`, which says what to do."""
    try:
        import prometheus_client
        import prometheus_client.core
        import prometheus_client.utils
    except ImportError as exc:
        raise MissingExtra(
            "prometheus needs prometheus-client, which is not installed: "
            "pip install 'chancy[prometheus]'"
        ) from exc
    return prometheus_client


def families(cells: Mapping[Key, Cell]) -> Iterator[Any]:
    """Yield what a process has counted; gauges of the installation are left out."""
    core = library().core
    named: dict[str, dict[Key, Cell]] = {}
    kinds: dict[str, MetricKind] = {}
    for key, cell in cells.items():
        name = _name(key)
        if name is not None and kinds.setdefault(name, key.kind) is key.kind:
            named.setdefault(name, {})[key] = cell
    for name, several in named.items():
        key = next(iter(several))
        text = NAMES[key.name][1] if key.name in NAMES else f"{key.name}, as jobs record it."
        labels = sorted({label for one in several for label, _ in one.labels})
        made = _KINDS[kinds[name]](core, name, text, labels)
        for values, cell in _bounded(several, labels).items():
            _add(made, kinds[name], values, cell)
        yield made


_KINDS = {
    MetricKind.COUNTER: lambda core, *given: core.CounterMetricFamily(*given[:2], labels=given[2]),
    MetricKind.GAUGE: lambda core, *given: core.GaugeMetricFamily(*given[:2], labels=given[2]),
    MetricKind.HISTOGRAM: lambda core, *given: core.HistogramMetricFamily(
        *given[:2], labels=given[2]
    ),
}


def _name(key: Key) -> str | None:
    """Return the name of a metric; None for what is not shown."""
    ours = NAMES.get(key.name)
    if ours is None and key.name.startswith(("jobs.", "outcomes.", "workers.", "tables.")):
        return None
    name = ours[0] if ours else re.sub(r"[^A-Za-z0-9_]", "_", key.name)
    unit = re.sub(r"[^A-Za-z0-9]", "_", _UNITS.get(key.unit, key.unit))
    if unit and not name.endswith(f"_{unit}"):
        name = f"{name}_{unit}"
    if ours is None and name.startswith("chancy_"):
        return None  # it would be taken for one of ours
    return name.removesuffix("_total") if key.kind is MetricKind.COUNTER else name


def _bounded(cells: Mapping[Key, Cell], labels: list[str]) -> dict[tuple[str, ...], Cell]:
    """Return cells by the values of their labels, which are not too many."""
    found: dict[tuple[str, ...], Cell] = {}
    for key, cell in cells.items():
        of = dict(key.labels)
        values = tuple(of.get(label, "") for label in labels)
        if values not in found and len(found) >= MOST:
            values = tuple(OTHERS for _ in labels)
        merged = {key: found.setdefault(values, Cell())}
        merge(merged, {key: cell})
    return found


def _add(made: Any, kind: MetricKind, values: tuple[str, ...], cell: Cell) -> None:
    if kind is MetricKind.HISTOGRAM:
        counts = up_to(cell.buckets, BOUNDS)
        text = library().utils.floatToGoString
        buckets = [(text(bound), count) for bound, count in zip(BOUNDS, counts, strict=True)]
        made.add_metric(values, [*buckets, ("+Inf", cell.count)], sum_value=cell.total)
    elif kind is MetricKind.GAUGE:
        made.add_metric(values, cell.latest)
    else:
        made.add_metric(values, cell.total)
