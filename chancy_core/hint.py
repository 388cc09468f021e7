"""What is said between processes by NOTIFY: a hint, which may be lost, and nobody trusts.

A payload is the hint's name, a colon, and whom or what it is about: `queue.pushed:mail`.
"""

from attrs import frozen

#: There are jobs in a queue.
PUSHED = "queue.pushed"
#: There are jobs in a queue that become due later.
SCHEDULED = "queue.scheduled"
#: A queue's row was written.
DECLARED = "queue.declared"
PAUSED = "queue.paused"
RESUMED = "queue.resumed"
DELETED = "queue.deleted"
#: A running job is wanted cancelled.
CANCELLED = "job.cancelled"
#: Somebody waits for a job to end, and would like to be told.
AWAITED = "job.awaited"
#: A job that somebody waits for has ended.
FINISHED = "job.finished"

#: Somebody wants to see what workers run, for a while.
WATCHED = "worker.watched"
#: Said by a worker to its own plugins: it hears again, and may have missed what was said before.
LISTENING = "worker.listening"

#: What begins the names of our own hints and events; nobody else may use them.
OURS = ("queue.", "job.", "worker.")
_KNOWN = frozenset(
    {PUSHED, SCHEDULED, DECLARED, PAUSED, RESUMED, DELETED, CANCELLED, AWAITED, WATCHED}
)

#: Bytes that PostgreSQL takes as a payload, at most.
LONGEST = 7999


@frozen
class Hint:
    """One hint: *name* says what has happened, *subject* to which queue or job."""

    name: str
    subject: str

    @property
    def payload(self) -> str:
        """The hint as NOTIFY carries it."""
        return f"{self.name}:{self.subject}"

    @property
    def answers(self) -> bool:
        """Whether it is for those who wait for jobs, and not for workers."""
        return self.name == FINISHED

    @property
    def fit(self) -> bool:
        """Whether workers tell of it: it is one of ours, or bears no name that only we may use."""
        return self.name in _KNOWN or not self.name.startswith(OURS)

    @classmethod
    def read(cls, payload: str) -> "Hint":
        """Read what NOTIFY carried, whoever sent it: any text is a hint, if of nothing known."""
        name, _, subject = payload.partition(":")
        return cls(name, subject)
