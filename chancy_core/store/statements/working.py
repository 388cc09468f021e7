"""What workers do to jobs: claim, settle, give back, rescue."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from uuid import UUID

from chancy_core import codec, versions
from chancy_core.job import QueuedJob
from chancy_core.outcome import Settlement
from chancy_core.place import FRONT, Place
from chancy_core.statement import Names, Row, Statement, nothing
from chancy_core.store import arrays, rows
from chancy_core.store.statements.asking import ids_of, made_at


def claim(
    names: Names,
    worker: UUID,
    free: Mapping[str, int],
    *,
    ahead: Mapping[str, int] = {},
    suspect: bool = True,
    limited: bool = False,
    places: Mapping[str, Place] | None = None,
) -> Statement[list[rows.Claimed]]:
    """Claim due jobs: of each queue as many as it has *free* slots.

    *ahead* says how many more, which will wait for slots: such as may be claimed ahead.
    *suspect* says whether one job whose worker died may be among them; *limited* asks for queues
    with a rate limit, which is done behind their lock, and not for others. A queue that has one of
    the *places* is claimed from there on, any other from its front.
    """
    ranges = [(places or {}).get(queue, FRONT).ranges() for queue in free]
    lasts = list(accumulate(map(len, ranges)))
    every = [one for of_queue in ranges for one in of_queue]
    params = {
        "worker": worker,
        "queues": arrays.texts(tuple(free)),
        "free": arrays.numbers(free.values()),
        "ahead": arrays.numbers(ahead.get(queue, 0) for queue in free),
        "firsts": arrays.numbers(
            last - len(some) + 1 for last, some in zip(lasts, ranges, strict=True)
        ),
        "lasts": arrays.numbers(lasts),
        "highs": arrays.numbers(one.high for one in every),
        "lows": arrays.numbers(one.low for one in every),
        "seqs": arrays.numbers(one.seq for one in every),
        "suspect": suspect,
        "limited": limited,
    }
    return Statement.of("claim", names, params, rows.claimed)


def claim_one(
    names: Names,
    worker: UUID,
    *,
    ids: Sequence[UUID] | None = None,
    queues: Sequence[str] | None = None,
) -> Statement[rows.Claimed | None]:
    """Claim the next due job, of these *ids* or *queues* if they are given."""
    params = {
        "worker": worker,
        "ids": None if ids is None else list(ids),
        "queues": None if queues is None else list(queues),
    }
    return Statement.of(
        "claim_one", names, params, lambda found: next(iter(rows.claimed(found)), None)
    )


def rate_lock(names: Names, queue: str) -> Statement[tuple[int, float] | None]:
    """Lock a queue's rate; answers how many jobs may begin, and the seconds until the next may.

    None if the queue has no rate limit (any more), or is gone.
    """
    return Statement.of(
        "rate_lock", names, {"queue": queue}, lambda found: (*found[0],) if found else None
    )


def rate_charge(names: Names, queue: str, count: int) -> Statement[None]:
    """Charge a queue's rate for *count* jobs."""
    return Statement.of("rate_charge", names, {"queue": queue, "count": count}, nothing)


def promote(names: Names) -> Statement[tuple[list[str], float | None]]:
    """Move due jobs into line; answers their queues, and the seconds until the next is due."""
    return Statement.of("promote", names, {}, lambda found: (found[0][0], found[0][1]))


def finish(names: Names, settled: Sequence[Settlement]) -> Statement[set[UUID]]:
    """Settle for good; answers the ids that the outcomes counted for."""
    params = _fence(settled) | {
        "states": arrays.texts([s.verdict.state for s in settled]),
        "results": arrays.texts([s.outcome.result for s in settled]),
    }
    return Statement.of("finish", names, params, ids_of)


def requeue(names: Names, settled: Sequence[Settlement]) -> Statement[set[UUID]]:
    """Give back, to be tried again; answers the ids that the outcomes counted for."""
    params = _fence(settled) | {"delays": arrays.numbers(s.verdict.delay for s in settled)}
    return Statement.of("requeue", names, params, ids_of)


def _meta(settled: Settlement) -> str | None:
    """Return the meta of a job with the entries that its verdict adds, as JSON."""
    told, added = settled.outcome.meta, codec.encode(settled.verdict.meta, "meta")
    try:
        meta = dict(versions.written(settled.job)) if told is None else codec.as_object(told)
        text = codec.as_text(meta | codec.as_object(added))
    except (ValueError, RecursionError):
        return told  # somebody wrote it by hand: it can be read, and not written again
    return versions.kept(text, settled.job.version)


def _fence(settled: Sequence[Settlement]) -> dict[str, object]:
    return {
        "ids": arrays.uuids(s.job.id for s in settled),
        "leases": arrays.uuids(_lease(s.job) for s in settled),
        "counted": arrays.numbers(int(s.verdict.counted) for s in settled),
        "metas": arrays.texts(
            [s.outcome.meta if s.verdict.meta is None else _meta(s) for s in settled]
        ),
        "errors": arrays.texts([rows.failure_text(s.outcome.failure) for s in settled]),
    }


def _lease(job: QueuedJob) -> UUID:
    assert job.lease_id is not None, "what runs or is settled was claimed"
    return job.lease_id


def settled_before(names: Names, settled: Sequence[Settlement]) -> Statement[set[UUID]]:
    """Answer which of *settled* are in the history already, by these very leases."""
    params = {
        "ids": [s.job.id for s in settled],
        "leases": [s.job.lease_id for s in settled],
        "since": made_at(s.job.id for s in settled),
    }
    return Statement.of("settled", names, params, ids_of)


def _became(found: Sequence[Row]) -> dict[UUID, tuple[str, str]]:
    return {row[0]: (row[1], row[2]) for row in found}


def give_back(
    names: Names, worker: UUID, leases: Sequence[UUID] | None = None
) -> Statement[dict[UUID, tuple[str, str]]]:
    """Give back what *worker* still holds, or those *leases* of its that were never begun.

    Answers the queue of each, and what became of it.
    """
    params = {
        "worker": worker,
        "leases": None if leases is None else list(leases),
        "begun": leases is None,
    }
    return Statement.of("give_back", names, params, _became)


def audit(
    names: Names, worker: UUID, known: Mapping[UUID, UUID], *, thorough: bool = True
) -> Statement[list[tuple[UUID, UUID, bool]]]:
    """Answer (id, lease, cancelling) of what *worker* should end, or holds unknowingly.

    *known* are the ids of the jobs that it knows, by their leases. What it does not know, because
    the answer to its claim was lost, is looked for only if *thorough*, which may be dear.
    """
    params = {
        "worker": worker,
        "ids": list(known.values()),
        "leases": list(known),
        "thorough": thorough,
    }
    return Statement.of("audit", names, params, lambda found: [(*row,) for row in found])


def progress(names: Names, told: Sequence[tuple[QueuedJob, str]]) -> Statement[set[UUID]]:
    """Write how far jobs have come that run here, as JSON; answers the ids that it counted for."""
    params = {
        "ids": arrays.uuids(job.id for job, _ in told),
        "leases": arrays.uuids(_lease(job) for job, _ in told),
        "progress": arrays.texts([text for _, text in told]),
    }
    return Statement.of("progress", names, params, ids_of)


def rescue(
    names: Names,
    crash_limit: int,
    at_once: int,
    *,
    thorough: bool = True,
    remote: Iterable[str] = (),
) -> Statement[dict[UUID, tuple[str, str]]]:
    """Take back jobs of the dead, *at_once* of them at most.

    Answers the queue of each, and what became of it. Jobs of workers that have no row are among
    them only if *thorough*, which may be dear. Those of the queues *remote* are charged no crash.
    """
    params = {
        "crash_limit": crash_limit,
        "at_once": at_once,
        "thorough": thorough,
        "remote": list(remote),
    }
    return Statement.of("rescue", names, params, _became)


def ensure_partitions(names: Names, days: int = 14) -> Statement[int]:
    """Make the history's partitions for the coming *days*; answers how many were missing."""
    return Statement.of("ensure_partitions", names, {"days": days}, lambda found: int(found[0][0]))
