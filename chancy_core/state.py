"""Where a job stands."""

import enum


class State(enum.StrEnum):
    """Where a job stands. The first three are live, the others final.

    A live job with `attempts > 0` is being retried; that is shown, not stored.
    """

    SCHEDULED = "scheduled"  #: due later: pushed so, or waiting for its next attempt
    PENDING = "pending"  #: due, waiting for a worker
    RUNNING = "running"  #: claimed by a worker, under a lease
    SUCCEEDED = "succeeded"
    FAILED = "failed"  #: its last attempt failed (an error, a limit, a dead child)
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"  #: its workers died too often while they ran it
    LOST = "lost"  #: begun, never to be begun again, and its worker died

    #: Whether this state is final (but for an operator's explicit retry).
    finished: bool

    def __init__(self, name: str) -> None:
        self.finished = name not in ("scheduled", "pending", "running")
