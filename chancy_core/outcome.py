"""What happened to an attempt, and what becomes of its row: two values and a function between.

executor.run -> Outcome -> settle(job, outcome) -> Verdict -> the row
"""

import enum

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
    SHUTDOWN = "shutdown"  #: the worker stopped before the attempt had ended


#: Endings that are not of the job's own making: the job goes back, and nothing is counted.
_GIVEN_BACK = frozenset({Kind.UNKNOWN_FUNCTION, Kind.SHUTDOWN})
#: Endings that another attempt cannot change.
_HOPELESS = frozenset({Kind.UNSUPPORTED})


@frozen
class Outcome:
    """What happened to one attempt. *result* is JSON; *failure* says what went wrong."""

    kind: Kind
    result: str | None = None
    failure: Failure | None = None


@frozen
class Verdict:
    """What becomes of the row: a finished state, or back into the queue after *delay* seconds."""

    state: State
    #: Whether the attempt counts against `max_attempts`.
    counted: bool = True
    delay: float = 0.0


#: How long a job whose function no worker knows is offered around, in seconds.
UNKNOWN_TIMEOUT = 3600.0


def settle(job: QueuedJob, outcome: Outcome, waited: float = 0.0) -> Verdict:
    """Decide what becomes of *job* after *outcome*. Pure; a job is retried at once.

    *waited* is how long the job has been due, in seconds by the database's clock: an unknown
    function is given back with growing delays of 5 to 60 s, and fails after `UNKNOWN_TIMEOUT`.
    """
    if outcome.kind is Kind.SUCCESS:
        return Verdict(State.SUCCEEDED)
    if outcome.kind is Kind.UNKNOWN_FUNCTION and waited >= UNKNOWN_TIMEOUT:
        return Verdict(State.FAILED)
    if outcome.kind is Kind.UNKNOWN_FUNCTION:
        return Verdict(State.SCHEDULED, counted=False, delay=min(60.0, max(5.0, waited / 4)))
    if outcome.kind in _GIVEN_BACK:
        return Verdict(State.PENDING, counted=False)
    if outcome.kind in _HOPELESS or job.attempts + 1 >= job.max_attempts:
        return Verdict(State.FAILED)
    return Verdict(State.PENDING)
