"""What applications ask about jobs."""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from chancy_core.hint import Hint
from chancy_core.job import QueuedJob, State
from chancy_core.priority import HIGHEST
from chancy_core.statement import Names, Row, Statement, nothing
from chancy_core.store import rows

#: How far a producer's clock may be ahead of the database's without its jobs being overlooked.
CLOCK_SLACK = timedelta(days=1)


def ids_of(found: Sequence[Row]) -> set[UUID]:
    """Read rows that begin with an id."""
    return {row[0] for row in found}


def made_at(ids: Iterable[UUID]) -> datetime:
    """Return when the oldest of these UUIDv7s was made (RFC 9562: 48 bits of Unix milliseconds).

    One of the future, which somebody has written by hand, tells no time.
    """
    oldest = min((id_.int >> 80 for id_ in ids), default=0) / 1000
    latest = time.time() + CLOCK_SLACK.total_seconds()
    return datetime.fromtimestamp(oldest if oldest <= latest else 0, UTC) - CLOCK_SLACK


def stored(names: Names, ids: Sequence[UUID]) -> Statement[set[UUID]]:
    """Answer which of *ids* are live or in the history: for a push in doubt."""
    return Statement.of("push_again", names, {"ids": list(ids), "since": made_at(ids)}, ids_of)


def holders(names: Names, keys: Sequence[str]) -> Statement[dict[str, UUID]]:
    """Answer which live job holds each unique key."""
    return Statement.of(
        "holders", names, {"keys": list(keys)}, lambda found: {r[0]: r[1] for r in found}
    )


def jobs_by_id(names: Names, ids: Sequence[UUID]) -> Statement[list[QueuedJob]]:
    """Answer the jobs with these ids, live or finished, in no order."""
    return Statement.of("jobs_by_id", names, {"ids": list(ids), "since": made_at(ids)}, rows.jobs)


def states(names: Names, ids: Sequence[UUID]) -> Statement[dict[UUID, State]]:
    """Answer where the jobs with these ids stand."""
    params = {"ids": list(ids), "since": made_at(ids)}
    return Statement.of(
        "states", names, params, lambda found: {row[0]: State(row[1]) for row in found}
    )


def cancel(names: Names, ids: Sequence[UUID]) -> Statement[dict[UUID, str]]:
    """Cancel live jobs; answers for each `cancelled`, or `cancelling` if its holder has to."""
    return Statement.of(
        "cancel", names, {"ids": list(ids)}, lambda found: {row[0]: row[1] for row in found}
    )


def retry(names: Names, ids: Sequence[UUID]) -> Statement[dict[UUID, str]]:
    """Bring finished jobs back and those for later forward; answers the queues of those moved."""
    params = {"ids": list(ids), "since": made_at(ids)}
    return Statement.of("retry", names, params, lambda found: {row[0]: row[1] for row in found})


def purge(names: Names, ids: Sequence[UUID]) -> Statement[set[UUID]]:
    """Delete jobs that are not running; answers which."""
    return Statement.of("purge", names, {"ids": list(ids), "since": made_at(ids)}, ids_of)


def reprioritize(
    names: Names,
    more: Mapping[UUID, int],
    *,
    priority: int | None = None,
    most: int = HIGHEST,
    wait: bool,
) -> Statement[Mapping[UUID, int]]:
    """Give jobs that wait a priority, or each so much more; answers what they have now.

    It leads to *most* at most, and lowers none that had more. Unless we *wait*, those are left out
    that others have locked.
    """
    params = {
        "ids": list(more),
        "more": list(more.values()),
        "priority": priority,
        "most": most,
        "wait": wait,
    }
    return Statement.of(
        "reprioritize", names, params, lambda found: {row[0]: row[1] for row in found}
    )


def complete(
    names: Names, job: QueuedJob, result: str, meta: str | None = None
) -> Statement[set[UUID]]:
    """Settle a running job as succeeded; answers its id if its lease is current."""
    params = {"id": job.id, "lease_id": job.lease_id, "result": result, "meta": meta}
    return Statement.of("complete", names, params, ids_of)


def notify(names: Names, hints: Iterable[Hint], *, alone: bool = False) -> Statement[None]:
    """Send hints to the workers of this installation, or to whoever waits for its jobs.

    If it is run *alone*, in a transaction of its own, its commit does not wait for the disk.
    """
    hints = list(hints)
    params = {
        "channels": [names.answers if hint.answers else names.channel for hint in hints],
        "payloads": [hint.payload for hint in hints],
    }
    return Statement.of("notify_alone" if alone else "notify", names, params, nothing)
