"""What happened to an attempt, and what becomes of its row: two values and a function between.

executor.run -> Outcome -> settle(job, outcome) -> Verdict -> the row
"""

import enum
from collections.abc import Mapping
from itertools import takewhile
from typing import Any
from uuid import UUID

from attrs import evolve, field, frozen

from chancy_core import codec
from chancy_core.job import Failure, QueuedJob, State


class Kind(enum.StrEnum):
    """How an attempt ended."""

    SUCCESS = "success"
    ERROR = "error"  #: the function raised
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CHILD_DIED = "child-died"
    SNOOZED = "snoozed"  #: the function asked to be begun again later: nothing went wrong
    UNSUPPORTED = "unsupported"  #: the queue's executor cannot run such a job
    UNKNOWN_FUNCTION = "unknown-function"  #: this worker's code has not registered it, or older
    UNPREPARED = "unprepared"  #: a plugin that it needs could not prepare it here
    UNREADABLE = "unreadable"  #: somebody wrote nonsense into the job's row
    CANCELLED = "cancelled"  #: somebody asked for it
    SHUTDOWN = "shutdown"  #: the worker stopped before the attempt had ended


#: Endings that are of the job's own making, and count against `max_attempts`.
COUNTED = frozenset({Kind.SUCCESS, Kind.ERROR, Kind.TIMEOUT, Kind.MEMORY, Kind.CHILD_DIED})


@frozen
class Outcome:
    """What happened to one attempt. *result* is JSON; *failure* says what went wrong."""

    kind: Kind
    result: str | None = field(default=None, repr=codec.veiled)
    failure: Failure | None = None
    #: What the function made of the job's meta, as JSON, whatever the ending; None: it stays.
    meta: str | None = field(default=None, repr=codec.veiled)
    #: The class of what it raised, and those that this one is derived from, by their names
    #: (`perform.class_name`), the nearest first.
    classes: tuple[str, ...] = ()
    #: Seconds for which what it raised asks to be waited, before the next attempt.
    retry_after: float | None = None


@frozen
class Verdict:
    """What becomes of the row: a finished state, or back into the queue after *delay* seconds."""

    state: State
    #: Whether the attempt counts against `max_attempts`.
    counted: bool = True
    delay: float = 0.0
    #: Entries that the job's meta is to have: they replace what its function has left there.
    meta: Mapping[str, Any] | None = field(default=None, repr=codec.veiled)


@frozen
class Settlement:
    """What is to be written of one attempt, fenced by the lease under which it was made."""

    job: QueuedJob
    outcome: Outcome
    verdict: Verdict
    #: How many seconds the attempt took, by the worker's own clock; None if none was made here.
    seconds: float | None = field(default=None, eq=False)


@frozen
class Rescued:
    """A job whose worker died, and what became of it."""

    job: UUID
    queue: str
    state: State


#: Endings that leave nothing to decide; of the last two, another attempt could change nothing.
_CLEAR = {
    Kind.SUCCESS: Verdict(State.SUCCEEDED),
    Kind.CANCELLED: Verdict(State.CANCELLED, counted=False),
    Kind.UNSUPPORTED: Verdict(State.FAILED, counted=False),
    Kind.UNREADABLE: Verdict(State.FAILED, counted=False),
}

#: Endings before the function was called, on a worker that cannot: another may.
REFUSED = frozenset({Kind.UNKNOWN_FUNCTION, Kind.UNPREPARED})
#: How long a job that all workers refuse is offered around, in seconds.
UNKNOWN_TIMEOUT = 3600.0
#: How the message of a refusal ends: with who refused it.
_BY = " [worker "


def settle(job: QueuedJob, outcome: Outcome) -> Verdict:
    """Decide what becomes of *job* after *outcome*. Pure; a job is retried at once.

    A job that is refused is given back with delays of 5, 10, 20, 40 and then 60 s, and fails when
    they would amount to more than `UNKNOWN_TIMEOUT`. One that snoozes is begun again when it has
    asked to be.
    """
    if (clear := _CLEAR.get(outcome.kind)) is not None:
        return clear
    if outcome.kind in REFUSED:
        refusals = _refusals(job)
        if sum(_delay(n) for n in range(refusals + 1)) > UNKNOWN_TIMEOUT:
            return Verdict(State.FAILED, counted=False)
        return Verdict(State.SCHEDULED, counted=False, delay=_delay(refusals))
    if outcome.kind is Kind.SNOOZED:
        return _snoozed(job, outcome.retry_after or 0.0)
    if outcome.kind is Kind.SHUTDOWN:  # what was begun may not be begun again if at most once
        return Verdict(State.LOST if job.at_most_once else State.PENDING, counted=False)
    return Verdict(State.FAILED if job.attempts + 1 >= job.max_attempts else State.PENDING)


def refused_by(failure: Failure, worker: str) -> Failure:
    """Return the failure of a refused attempt, which says by its name whose code refused it."""
    return evolve(failure, message=f"{failure.message}{_BY}{codec.clean(worker)}]")


def refuser(message: str) -> str | None:
    """Return the name of the worker that refused, by the message of the failure; None: unknown."""
    _, by, name = message.rpartition(_BY)
    return name.removesuffix("]") if by else None


def _snoozed(job: QueuedJob, delay: float) -> Verdict:
    if job.at_most_once:  # it has begun, and may not begin again: `Attempt` says so
        return Verdict(State.FAILED, counted=False)
    return Verdict(State.SCHEDULED if delay else State.PENDING, counted=False, delay=delay)


def _refusals(job: QueuedJob) -> int:
    """Return how many workers in a row have refused the job, before this one."""
    return sum(1 for _ in takewhile(lambda e: e.kind in REFUSED, reversed(job.errors)))


def _delay(refusals: int) -> float:
    return min(60.0, 5.0 * (1 << min(refusals, 4)))
