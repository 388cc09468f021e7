"""Rows of our tables to values: the one place that knows in which order columns come."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attrs
from attrs import field, frozen

from chancy_core import codec, versions
from chancy_core.errors import InvalidQueue
from chancy_core.job import Failure, Limit, LimitKind, QueuedJob, State
from chancy_core.queue import Queue
from chancy_core.statement import Row

log = logging.getLogger("chancy.store")


@frozen
class Claimed:
    """A job that this worker has just claimed."""

    job: QueuedJob
    #: Its arguments as they are stored, a JSON object.
    arguments: str = field(repr=False)
    #: Its place in the order of its queue, among those of the same priority.
    seq: int
    #: Why the row could not be read; such a job fails without being begun.
    unreadable: Failure | None = None


#: What reading JSON of the wrong shape may raise.
_NONSENSE = (ValueError, TypeError, KeyError, AttributeError)


def failures(text: str | None) -> tuple[Failure, ...]:
    """Read the `errors` of a row."""
    return tuple(Failure(**entry) for entry in codec.decode(text)) if text else ()


def failure_text(failure: Failure | None) -> str | None:
    """Write what is added to the `errors` of a row."""
    return None if failure is None else json.dumps([attrs.asdict(failure)])


def instant(given: datetime | None) -> datetime | None:
    """Return a time as it is sent: PostgreSQL knows no offset of 16 hours, or of half a second."""
    try:
        return None if given is None else given.astimezone(UTC)
    except OverflowError:  # before the year 1, or after 9999: only a filter asks for such
        return given


def limits(text: str | None) -> tuple[Limit, ...]:
    """Read the `limits` of a row."""
    if not text:
        return ()
    return tuple(Limit(LimitKind(kind), value) for kind, value in codec.decode(text).items())


def limits_text(given: Iterable[Limit]) -> str | None:
    """Write the `limits` of a row: of two of a kind, the first holds."""
    kinds = {limit.kind.value: limit.value for limit in reversed(tuple(given))}
    return json.dumps(kinds) if kinds else None


#: By their names, which is faster than asking the class.
_STATES = {state.value: state for state in State}


#: Sets what is frozen.
_put = object.__setattr__


def _made(
    row: Row,
    *,
    kwargs: Mapping[str, Any],
    meta: dict[str, Any],
    version: int,
    limits: tuple[Limit, ...],
    errors: tuple[Failure, ...],
    finished_at: datetime | None,
    returned: Any,
) -> QueuedJob:
    """Make a job of a row, and of what was read of those columns that hold JSON.

    The constructor takes twice as long, and would check nothing more: a worker reads each job
    that it runs.
    """
    made = object.__new__(QueuedJob)
    _put(made, "__dict__", {
        "func": row[2],
        "kwargs": kwargs,
        "queue": row[1],
        "priority": row[7],
        "max_attempts": row[8],
        "scheduled_at": row[20],
        "limits": limits,
        "unique_key": row[12],
        "at_most_once": row[13],
        "exclusive": row[14],
        "keep_result": row[15],
        "version": version,
        "id": row[0],
        "state": _STATES[row[6]],
        "meta": meta,
        "claims": row[10],
        "attempts": row[9],
        "crashes": row[11],
        "worker": row[16],
        "lease_id": row[17],
        "cancelling": row[18],
        "created_at": row[19],
        "started_at": row[21],
        "finished_at": finished_at,
        "errors": errors,
        "returned": returned,
        "deadline": None,
        "carried": None,
    })  # fmt: skip
    return made


def _job(row: Row, finished_at: datetime | None = None, result: str | None = None) -> QueuedJob:
    """Read the columns that a claim and a look-up have in common."""
    meta = {} if row[4] == "{}" else codec.as_object(row[4])
    return _made(
        row,
        kwargs=codec.as_object(row[3]),
        version=versions.read(meta) if meta else 1,
        meta=meta,
        limits=limits(row[5]) if row[5] else (),
        errors=failures(row[22]) if row[22] else (),
        finished_at=finished_at,
        returned=None if result is None else codec.decode(result),
    )


def _damaged(row: Row, exc: Exception, finished_at: datetime | None = None) -> QueuedJob:
    """Read as much of a row as can be relied on: somebody wrote nonsense into the rest."""
    failure = Failure(
        attempt=0, kind="unreadable", type=type(exc).__name__, message=f"its row: {codec.said(exc)}"
    )
    return _made(
        row,
        kwargs={},
        meta={},
        version=1,
        limits=(),
        errors=(failure,),
        finished_at=finished_at,
        returned=None,
    )


def _claimed(row: Row) -> Claimed:
    try:
        return Claimed(_job(row), row[3], row[23])
    except _NONSENSE as exc:
        job = _damaged(row, exc)
        return Claimed(job, row[3], row[23], job.errors[0])


def claimed(rows: Sequence[Row]) -> list[Claimed]:
    """Read the rows of `claim`, in the order in which they are to run."""
    jobs = [_claimed(row) for row in rows]
    jobs.sort(key=lambda claim: (-claim.job.priority, claim.seq))
    return jobs


def jobs(rows: Sequence[Row]) -> list[QueuedJob]:
    """Read the rows of `jobs_by_id` and `list_jobs`."""
    return [_found(row) for row in rows]


def _found(row: Row) -> QueuedJob:
    try:
        return _job(row, row[23], row[24])
    except _NONSENSE as exc:
        return _damaged(row, exc, finished_at=row[23])


def queue(row: Row) -> Queue:
    """Read the row of a queue. Raises `InvalidQueue` when its settings make no sense."""
    try:
        return Queue(
            row[0],
            concurrency=row[1],
            tags=row[2],
            executor=row[3],
            executor_options=codec.decode(row[4]),
            polling_interval=row[5],
            state=row[6],
            resume_at=row[7],
            rate_limit=row[8],
            rate_limit_window=row[9],
            eager_polling=row[10],
        )
    except _NONSENSE as exc:
        who, said = f"queue {row[0]!r}: ", codec.said(exc)
        raise InvalidQueue(said if said.startswith(who) else f"{who}its row: {said}") from exc


@frozen
class Queues:
    """All queues, as they stand in the database."""

    sound: list[Queue]
    #: What is wrong with the others, by name.
    unsound: dict[str, str]
    #: Seconds until the next of the paused ones becomes active.
    resumes_in: float | None

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "Queues":
        """Read rows of queues; one that makes no sense costs its own queue alone."""
        sound, unsound = [], {}
        for row in rows:
            try:
                sound.append(queue(row))
            except InvalidQueue as exc:
                unsound[row[0]] = str(exc)
        soonest = min((row[11] for row in rows if (row[11] or 0) > 0), default=None)
        return cls(sound, unsound, soonest)


def queues(rows: Sequence[Row]) -> list[Queue]:
    """Read rows of queues; one that makes no sense is left out, loudly."""
    found = Queues.read(rows)
    for problem in found.unsound.values():
        log.error("left out: %s", problem)
    return found.sound


@frozen
class Look:
    """What a worker sees when it looks around."""

    queues: Queues
    #: Those that were thought to be dry, and in which jobs wait.
    waiting: frozenset[str]
    #: Seconds until the next job is due, 0 or less if one is; None if none is scheduled.
    due_in: float | None

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "Look":
        """Read the rows of `look`: those of queues, with two columns more."""
        waiting = frozenset(row[0] for row in rows if row[12])
        return cls(Queues.read(rows), waiting, rows[0][13] if rows else None)
