"""What spans and measurements are called: OpenTelemetry's conventions for messaging, and ours.

They are those of 1.30 and later, which are still in development there; what is ours begins with
`messaging.chancy.`, as they ask of a system.
"""

from functools import cache, lru_cache
from importlib.metadata import version

from opentelemetry import metrics, trace

SYSTEM = "chancy"
#: Under which name the meta of a job, and what is carried to its function, has a trace.
KEY = "otel"

#: Providers of these packages are the API's own, and do nothing.
_NOBODY = ("opentelemetry.trace", "opentelemetry.metrics")
#: Seconds: what the conventions give the duration of processing.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


def traces() -> bool:
    """Whether somebody has set up a provider of tracers."""
    return _acts(type(trace.get_tracer_provider()))


def measures() -> bool:
    """Whether somebody has set up a provider of meters."""
    return _acts(type(metrics.get_meter_provider()))


@cache
def _acts(kind: type) -> bool:
    return not kind.__module__.startswith(_NOBODY)


def tracer() -> trace.Tracer:
    """Return our tracer."""
    return _tracer(trace.get_tracer_provider())


@lru_cache(maxsize=1)
def _tracer(provider: trace.TracerProvider) -> trace.Tracer:
    return provider.get_tracer("chancy", _version())


@cache
def _version() -> str:
    return version("chancy")


@cache
def sent() -> metrics.Counter:
    """Return what counts jobs that were pushed."""
    return _meter().create_counter(
        "messaging.client.sent.messages", "{message}", "Jobs that were pushed"
    )


@cache
def consumed() -> metrics.Counter:
    """Return what counts attempts."""
    return _meter().create_counter(
        "messaging.client.consumed.messages", "{message}", "Attempts that were begun"
    )


@cache
def duration() -> metrics.Histogram:
    """Return what measures for how long attempts took."""
    return _meter().create_histogram(
        "messaging.process.duration",
        "s",
        "Seconds that attempts took",
        explicit_bucket_boundaries_advisory=_BUCKETS,
    )


def _meter() -> metrics.Meter:
    return metrics.get_meter("chancy", _version())
