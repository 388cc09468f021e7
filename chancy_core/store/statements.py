"""Every statement of the core as a value: our tables' columns on one side, values on the other."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from attrs import frozen

from chancy_core import codec
from chancy_core.job import Job, QueuedJob
from chancy_core.outcome import Outcome, Verdict
from chancy_core.queue import Queue
from chancy_core.statement import Names, Row, Statement, nothing
from chancy_core.store import rows

#: How far a producer's clock may be ahead of the database's without its jobs being overlooked.
CLOCK_SLACK = timedelta(days=1)


@frozen
class Settlement:
    """What is to be written of one attempt, fenced by the lease under which it was made."""

    job: QueuedJob
    outcome: Outcome
    verdict: Verdict


def _ids(found: Sequence[Row]) -> set[UUID]:
    return {row[0] for row in found}


def made_at(ids: Iterable[UUID]) -> datetime:
    """Return when the oldest of these UUIDv7s was made (RFC 9562: 48 bits of Unix milliseconds)."""
    oldest = min((id_.int >> 80 for id_ in ids), default=0)
    return datetime.fromtimestamp(min(oldest / 1000, 32_000_000_000), UTC) - CLOCK_SLACK


def push(names: Names, jobs: Mapping[UUID, Job]) -> Statement[set[UUID]]:
    """Store *jobs* under their ids; answers those stored.

    Raises `InvalidValue` for what cannot be stored, before anything is sent.
    """
    values = list(jobs.values())
    params = {
        "id": list(jobs),
        "queue": [job.queue for job in values],
        "func": [job.func for job in values],
        "args": [codec.encode(job.kwargs, f"arguments of {job.func}") for job in values],
        "meta": [codec.encode(job.meta, f"meta of {job.func}") for job in values],
        "limits": [rows.limits_text(job.limits) for job in values],
        "priority": [job.priority for job in values],
        "max_attempts": [job.max_attempts for job in values],
        "unique_key": [job.unique_key for job in values],
        "scheduled_at": [job.scheduled_at for job in values],
    }
    return Statement.of("push", names, params, _ids)


def stored(names: Names, ids: Sequence[UUID]) -> Statement[set[UUID]]:
    """Answer which of *ids* are live or in the history: for a push in doubt."""
    return Statement.of("push_again", names, {"ids": list(ids), "since": made_at(ids)}, _ids)


def holders(names: Names, keys: Sequence[str]) -> Statement[dict[str, UUID]]:
    """Answer which live job holds each unique key."""
    return Statement.of(
        "holders", names, {"keys": list(keys)}, lambda found: {r[0]: r[1] for r in found}
    )


def claim(names: Names, worker: UUID, free: Mapping[str, int]) -> Statement[list[rows.Claimed]]:
    """Claim due jobs: of each queue as many as it has *free* slots."""
    params = {"worker": worker, "queues": list(free), "free": list(free.values())}
    return Statement.of("claim", names, params, rows.claimed)


def promote(names: Names) -> Statement[tuple[list[str], float | None]]:
    """Move due jobs into line; answers their queues, and the seconds until the next is due."""
    return Statement.of("promote", names, {}, lambda found: (found[0][0], found[0][1]))


def finish(names: Names, settled: Sequence[Settlement]) -> Statement[set[UUID]]:
    """Settle for good; answers the ids that the outcomes counted for."""
    params = _fence(settled) | {
        "states": [s.verdict.state.value for s in settled],
        "results": [s.outcome.result for s in settled],
    }
    return Statement.of("finish", names, params, _ids)


def requeue(names: Names, settled: Sequence[Settlement]) -> Statement[set[UUID]]:
    """Give back, to be tried again; answers the ids that the outcomes counted for."""
    params = _fence(settled) | {"delays": [s.verdict.delay for s in settled]}
    return Statement.of("requeue", names, params, _ids)


def _fence(settled: Sequence[Settlement]) -> dict[str, object]:
    return {
        "ids": [s.job.id for s in settled],
        "leases": [s.job.lease_id for s in settled],
        "counted": [int(s.verdict.counted) for s in settled],
        "errors": [rows.failure_text(s.outcome.failure) for s in settled],
    }


def settled_before(names: Names, settled: Sequence[Settlement]) -> Statement[set[UUID]]:
    """Answer which of *settled* are in the history already, by these very leases."""
    params = {
        "ids": [s.job.id for s in settled],
        "leases": [s.job.lease_id for s in settled],
        "since": made_at(s.job.id for s in settled),
    }
    return Statement.of("settled", names, params, _ids)


def give_back(names: Names, worker: UUID) -> Statement[set[UUID]]:
    """Give back all that *worker* still holds, uncounted."""
    return Statement.of("give_back", names, {"worker": worker}, _ids)


def declare(names: Names, queue: Queue, *, upsert: bool) -> Statement[Queue]:
    """Store a queue's settings; answers what is stored."""
    params = {
        "name": queue.name,
        "concurrency": queue.concurrency,
        "tags": sorted(queue.tags),
        "executor": queue.executor,
        "executor_options": codec.encode(queue.executor_options, f"options of {queue.name}"),
        "polling_interval": float(queue.polling_interval),
        "upsert": upsert,
    }
    return Statement.of("declare", names, params, lambda found: rows.queue(found[0]))


def queues(names: Names) -> Statement[list[Queue]]:
    """Answer all queues."""
    return Statement.of("queues", names, {}, rows.queues)


def jobs_by_id(names: Names, ids: Sequence[UUID]) -> Statement[list[QueuedJob]]:
    """Answer the jobs with these ids, live or finished, in no order."""
    return Statement.of("jobs_by_id", names, {"ids": list(ids), "since": made_at(ids)}, rows.jobs)


def announce(
    names: Names,
    worker: UUID,
    *,
    name: str,
    hostname: str,
    pid: int,
    tags: Iterable[str],
    lease: float,
) -> Statement[None]:
    """Begin a worker's incarnation, with a lease of *lease* seconds."""
    params = {
        "id": worker,
        "name": name,
        "hostname": hostname,
        "pid": pid,
        "tags": sorted(tags),
        "lease": lease,
    }
    return Statement.of("announce", names, params, nothing)


def renew(names: Names, worker: UUID, lease: float) -> Statement[bool]:
    """Renew a worker's lease; answers False if it was declared dead."""
    return Statement.of("renew", names, {"id": worker, "lease": lease}, bool)


def retire(names: Names, worker: UUID) -> Statement[None]:
    """Remove a worker's row."""
    return Statement.of("retire", names, {"id": worker}, nothing)


def bury(names: Names) -> Statement[set[UUID]]:
    """Declare workers dead whose lease has run out; answers which."""
    return Statement.of("bury", names, {}, _ids)


def rescue(names: Names, crash_limit: int) -> Statement[dict[UUID, str]]:
    """Take back the jobs of the dead; answers what became of each."""
    params = {"crash_limit": crash_limit}
    return Statement.of("rescue", names, params, lambda found: {r[0]: r[1] for r in found})


def ensure_partitions(names: Names, days: int = 14) -> Statement[int]:
    """Make the history's partitions for the coming *days*; answers how many were missing."""
    return Statement.of("ensure_partitions", names, {"days": days}, lambda found: int(found[0][0]))


def notify(names: Names, payloads: Iterable[str]) -> Statement[None]:
    """Wake the workers of this installation."""
    params = {"channel": names.channel, "payloads": list(payloads)}
    return Statement.of("notify", names, params, nothing)
