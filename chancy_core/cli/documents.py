"""Jobs, queues and workers as `--json` prints them, and tables show them."""

from typing import TYPE_CHECKING, Any

from attrs import asdict

if TYPE_CHECKING:
    from chancy_core.job import QueuedJob
    from chancy_core.queue import Queue
    from chancy_core.store.roster import WorkerInfo


def job_document(job: "QueuedJob") -> dict[str, Any]:
    """Return all that a job's row says."""
    return {
        "id": job.id,
        "state": job.state.value,
        **job.pack(),
        "claims": job.claims,
        "attempts": job.attempts,
        "crashes": job.crashes,
        "cancelling": job.cancelling,
        "worker": job.worker,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "errors": [asdict(failure) for failure in job.errors],
        "returned": job.returned,
    }


def queue_document(queue: "Queue") -> dict[str, Any]:
    """Return a queue's settings."""
    return queue.pack()


def worker_document(worker: "WorkerInfo") -> dict[str, Any]:
    """Return what a worker's row says."""
    return {
        "name": worker.name,
        "id": worker.id,
        "hostname": worker.hostname,
        "pid": worker.pid,
        "alive": worker.alive,
        "tags": sorted(worker.tags),
        "started_at": worker.started_at,
        "expires_at": worker.expires_at,
        "version": worker.version,
        "schema_version": worker.schema_version,
        "settings": worker.settings,
        "clock_offset": worker.clock_offset,
    }
