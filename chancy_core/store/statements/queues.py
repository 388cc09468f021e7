"""The rows of queues."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from chancy_core import codec
from chancy_core.queue import Queue, QueueState
from chancy_core.statement import Names, Statement
from chancy_core.store import rows


def declare(names: Names, queue: Queue, *, upsert: bool) -> Statement[Queue]:
    """Store a queue's settings; answers what is stored."""
    params = {
        "name": queue.name,
        "concurrency": queue.concurrency,
        "tags": sorted(queue.tags),
        "executor": queue.executor,
        "executor_options": codec.encode(queue.executor_options, f"options of {queue.name}"),
        "polling_interval": float(queue.polling_interval),
        "state": queue.state and queue.state.value,
        "resume_at": rows.instant(queue.resume_at),
        "rate_limit": queue.rate_limit,
        "rate_limit_window": queue.rate_limit_window and float(queue.rate_limit_window),
        "eager_polling": queue.eager_polling,
        "upsert": upsert,
    }
    return Statement.of("declare", names, params, lambda found: rows.queue(found[0]))


def queues(names: Names, which: Sequence[str] | None = None) -> Statement[list[Queue]]:
    """Answer all queues, or those that are named; one that makes no sense is left out, loudly."""
    return Statement.of("queues", names, {"names": which}, rows.queues)


def all_queues(names: Names, which: Sequence[str] | None = None) -> Statement[rows.Queues]:
    """Answer all queues, or those that are named: sound and unsound."""
    return Statement.of("queues", names, {"names": which}, rows.Queues.read)


def look(names: Names, dry: Iterable[str]) -> Statement[rows.Look]:
    """Answer all queues, in which of the *dry* ones jobs wait, and when the next job is due."""
    return Statement.of("look", names, {"dry": list(dry)}, rows.Look.read)


def pause_queue(
    names: Names, queue: str, resume: datetime | timedelta | None = None
) -> Statement[bool]:
    """Pause a queue, until an instant or for a time if *resume* says so; False: there is none."""
    params = {
        "name": queue,
        "state": QueueState.PAUSED.value,
        "resume_at": None if isinstance(resume, timedelta) else rows.instant(resume),
        "seconds": resume.total_seconds() if isinstance(resume, timedelta) else None,
    }
    return Statement.of("pause_queue", names, params, bool)


def resume_queue(names: Names, queue: str) -> Statement[bool]:
    """Make a queue active; answers False if there is none of this name."""
    params = {
        "name": queue,
        "state": QueueState.ACTIVE.value,
        "resume_at": None,
        "seconds": None,
    }
    return Statement.of("pause_queue", names, params, bool)


def delete_queue(names: Names, queue: str, *, purge: bool) -> Statement[int | None]:
    """Delete a queue, with its waiting jobs if *purge*; answers how many, None without a queue."""
    params = {"name": queue, "purge": purge}
    return Statement.of(
        "delete_queue", names, params, lambda found: int(found[0][0]) if found else None
    )
