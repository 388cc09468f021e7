"""What the tests of opentelemetry use: a provider of each kind, in memory, for one test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chancy_plugins import opentelemetry
from chancy_plugins.opentelemetry import conventions

Finished = Callable[[str], list[ReadableSpan]]


@pytest.fixture(autouse=True)
def afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed has not noticed yet that nobody has set it up."""
    monkeypatch.setattr(opentelemetry._installed, "_made", None)


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> Finished:
    """Spans are recorded; returns those that have ended whose name begins so, in their order."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    def named(name: str) -> list[ReadableSpan]:
        return [span for span in exporter.get_finished_spans() if span.name.startswith(name)]

    return named


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], dict[str, Any]]]:
    """Measurements are kept; returns the points of each instrument."""
    reader = InMemoryMetricReader()
    monkeypatch.setattr(_internal, "_METER_PROVIDER", MeterProvider([reader]))
    made = (conventions.sent, conventions.consumed, conventions.duration)
    for each in made:
        each.cache_clear()

    def points() -> dict[str, Any]:
        data = reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    yield points
    for each in made:
        each.cache_clear()
