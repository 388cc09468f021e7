"""The plugin `metrics`, as applications and workers find it."""

from collections import Counter
from collections.abc import Iterable, Sequence

from chancy_core.hookspecs import hookimpl
from chancy_core.host import Application, Service, WorkerHost
from chancy_core.job import Job, Reference
from chancy_core.outcome import Rescued, Settlement
from chancy_plugins.leadership import led
from chancy_plugins.metrics import leading, process, recording, settings
from chancy_plugins.metrics.key import Key, MetricKind
from chancy_plugins.metrics.leading import Leading
from chancy_plugins.metrics.service import PATIENCE, Writing

#: Seconds for which the lease of who merges lasts: all others ask for it each third of that.
TTL = 180.0


@hookimpl
def chancy_configure(app: Application) -> None:  # noqa: ARG001 - it is the environment's
    """Say what makes no sense in the settings."""
    settings.tell()


@hookimpl
def chancy_worker_services(worker: WorkerHost) -> Iterable[Service]:
    """Write down what the worker records, and do for all what one has to do."""
    recording.listen()
    process.of_worker(worker)  # before anything is recorded

    writing = Writing(worker)

    async def write() -> None:  # written here, so that a stack that leads here is the plugin's
        await writing.run()

    service = Service("metrics", write, patience=PATIENCE + 4 * settings.interval())
    writing.beat = service.beat
    leader = led(worker, "metrics", Leading(worker).run, ttl=TTL, patience=leading.PATIENCE)
    return [service, leader]


@hookimpl
async def chancy_jobs_settled(settled: Sequence[Settlement], worker: WorkerHost) -> None:
    """Count what became of jobs."""
    process.of_worker(worker).settled(settled)


@hookimpl
async def chancy_jobs_rescued(rescued: Sequence[Rescued], worker: WorkerHost) -> None:
    """Count jobs that were taken back."""
    process.of_worker(worker).rescued(rescued)


@hookimpl
def chancy_jobs_pushed(references: Sequence[Reference], jobs: Sequence[Job]) -> None:
    """Count jobs that were stored."""
    stored = zip(jobs, references, strict=True)
    new = Counter(job.queue for job, reference in stored if reference.new)
    for queue, count in new.items():
        process.here.add(Key.of(MetricKind.COUNTER, "jobs.pushed", queue=queue), count)
