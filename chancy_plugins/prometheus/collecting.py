"""What Prometheus is shown: `Collector`."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import frozen

from chancy_core.host import Application, WorkerHost
from chancy_core.outcome import Settlement
from chancy_plugins.metrics import Count, Metrics, counting, process, reading
from chancy_plugins.metrics.counting import Fleet
from chancy_plugins.metrics.jobs import Jobs
from chancy_plugins.metrics.reading import Stored
from chancy_plugins.metrics.tally import Tally, merge
from chancy_plugins.prometheus.families import families, library

#: What finished jobs are in; they are counted by those who ran them.
_LIVE = frozenset({"pending", "scheduled", "running"})


@frozen
class Seen:
    """An installation, as it was read last."""

    counts: list[Count]
    fleet: Fleet
    sizes: list[Stored]
    #: When, by the monotonic clock.
    at: float


class Collector:
    """Shows what this process has counted, and what was read last of its installation.

    It is given to a registry of prometheus_client's, and asked by its threads: that reads memory
    alone. `refresh` reads the installation.
    """

    def __init__(self) -> None:
        library()
        self._seen: Seen | None = None
        #: For workers of which the plugin `metrics` knows nothing.
        self._jobs = Jobs()
        self._tally = Tally()

    def settled(self, settled: Sequence[Settlement], worker: WorkerHost) -> None:
        """Count what became of jobs, unless the plugin `metrics` does."""
        if not process.known(worker):
            self._jobs.note(settled)

    async def refresh(self, chancy: Application) -> None:
        """Read how an open application's installation is: by four small statements.

        Workers with an endpoint do it each 15 seconds.
        """
        counts = await Metrics(chancy).counts()
        names = chancy.names
        fleet, sizes = await chancy.database.run(
            counting.fleet(names), reading.ever(names, "tables.bytes")
        )
        self._seen = Seen(counts, fleet, sizes, time.monotonic())

    def pour(self, worker: WorkerHost) -> None:
        """Have all that a worker has counted by now be shown: for its event loop."""
        self._jobs.pour(self._tally)
        if process.known(worker):
            process.of_worker(worker).pour()

    def collect(self) -> Iterator[Any]:
        """Yield families of metrics: what prometheus_client calls."""
        cells = process.totals()
        merge(cells, self._tally.totals())
        yield from families(cells)
        seen = self._seen
        if seen is not None:
            yield from _installation(seen)

    def describe(self) -> Iterator[Any]:
        """Yield nothing: what there is is not known before."""
        yield from ()


def _installation(seen: Seen) -> Iterator[Any]:
    family = library().core.GaugeMetricFamily
    jobs = family("chancy_jobs", "Live jobs, as they were counted last.", labels=["queue", "state"])
    since = family(
        "chancy_jobs_oldest_timestamp_seconds",
        "When the first of the jobs that are due fell due.",
        labels=["queue"],
    )
    oldest: dict[str, float] = {}
    live = [one for one in seen.counts if one.state in _LIVE]
    for one in live:
        jobs.add_metric((one.queue, one.state), one.count)
        if one.oldest_at is not None:
            at = one.oldest_at.timestamp()
            oldest[one.queue] = min(at, oldest.get(one.queue, at))
    for queue, at in oldest.items():
        since.add_metric((queue,), at)
    yield jobs
    yield since
    if live:
        as_of = max(one.as_of for one in live).timestamp()
        said = "When live jobs were counted last."
        yield family("chancy_jobs_counted_timestamp_seconds", said, value=as_of)
    yield family("chancy_workers", "Workers that are alive.", value=seen.fleet.workers)
    yield family("chancy_slots", "Jobs that may run at once.", value=seen.fleet.slots)
    yield family("chancy_slots_used", "Jobs that run.", value=seen.fleet.running)
    bytes_ = family("chancy_table_bytes", "What tables take.", labels=["table", "part"])
    for stored in seen.sizes:
        labels = dict(stored.key.labels)
        bytes_.add_metric((labels.get("table", ""), labels.get("part", "")), stored.cell.latest)
    yield bytes_
    age = time.monotonic() - seen.at
    yield family("chancy_read_age_seconds", "How old the figures of the database are.", value=age)


def collector() -> Collector:
    """Return a collector, for programs that have an endpoint.

        from prometheus_client import REGISTRY

        REGISTRY.register(collector())

    It shows what this process has counted. Raises `MissingExtra` without prometheus_client.
    """
    return Collector()
