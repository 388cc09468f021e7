"""What happened to an attempt, and what becomes of its row: two values and a function between.

executor.run -> Outcome -> settle(job, outcome) -> Verdict -> the row
"""

import enum
from itertools import takewhile

from attrs import frozen

from chancy_core.job import Failure, QueuedJob, State


class Kind(enum.StrEnum):
    """How an attempt ended."""

    SUCCESS = "success"
    ERROR = "error"  #: the function raised
    TIMEOUT = "timeout"
    MEMORY = "memory"
    CHILD_DIED = "child-died"
    UNSUPPORTED = "unsupported"  #: the queue's executor cannot run such a job
    UNKNOWN_FUNCTION = "unknown-function"  #: this worker's code has not registered it
    UNREADABLE = "unreadable"  #: somebody wrote nonsense into the job's row
    CANCELLED = "cancelled"  #: somebody asked for it
    SHUTDOWN = "shutdown"  #: the worker stopped before the attempt had ended


#: Endings that are of the job's own making, and count against `max_attempts`.
COUNTED = frozenset({Kind.SUCCESS, Kind.ERROR, Kind.TIMEOUT, Kind.MEMORY, Kind.CHILD_DIED})


@frozen
class Outcome:
    """What happened to one attempt. *result* is JSON; *failure* says what went wrong."""

    kind: Kind
    result: str | None = None
    failure: Failure | None = None
    #: What the function made of the job's meta, as JSON, whatever the ending; None: it stays.
    meta: str | None = None


@frozen
class Verdict:
    """What becomes of the row: a finished state, or back into the queue after *delay* seconds."""

    state: State
    #: Whether the attempt counts against `max_attempts`.
    counted: bool = True
    delay: float = 0.0


#: Endings that leave nothing to decide; of the last two, another attempt could change nothing.
_CLEAR = {
    Kind.SUCCESS: Verdict(State.SUCCEEDED),
    Kind.CANCELLED: Verdict(State.CANCELLED, counted=False),
    Kind.UNSUPPORTED: Verdict(State.FAILED, counted=False),
    Kind.UNREADABLE: Verdict(State.FAILED, counted=False),
}

#: How long a job whose function no worker knows is offered around, in seconds.
UNKNOWN_TIMEOUT = 3600.0


def settle(job: QueuedJob, outcome: Outcome) -> Verdict:
    """Decide what becomes of *job* after *outcome*. Pure; a job is retried at once.

    A job whose function is unknown is given back with delays of 5, 10, 20, 40 and then 60 s, and
    fails when they would amount to more than `UNKNOWN_TIMEOUT`.
    """
    if outcome.kind in _CLEAR:
        return _CLEAR[outcome.kind]
    if outcome.kind is Kind.UNKNOWN_FUNCTION:
        refusals = _refusals(job)
        if sum(_delay(n) for n in range(refusals + 1)) > UNKNOWN_TIMEOUT:
            return Verdict(State.FAILED, counted=False)
        return Verdict(State.SCHEDULED, counted=False, delay=_delay(refusals))
    if outcome.kind is Kind.SHUTDOWN:  # what was begun may not be begun again if at most once
        return Verdict(State.LOST if job.at_most_once else State.PENDING, counted=False)
    return Verdict(State.FAILED if job.attempts + 1 >= job.max_attempts else State.PENDING)


def _refusals(job: QueuedJob) -> int:
    """Return by how many workers in a row the function was unknown, before this one."""
    unknown = takewhile(lambda e: e.kind == Kind.UNKNOWN_FUNCTION.value, reversed(job.errors))
    return sum(1 for _ in unknown)


def _delay(refusals: int) -> float:
    return min(60.0, 5.0 * (1 << min(refusals, 4)))
