"""The demo's queues, the tags of its workers, and the jobs that are pushed."""

import math
from collections.abc import Sequence

from attrs import frozen

from chancy_core.cli.demo import jobs
from chancy_core.job import Job
from chancy_core.queue import Queue

#: What a worker may be good at; its tags decide which queues it runs.
DISK, CPU = "has=disk", "has=cpu"
#: Each so many of the jobs fail at their first attempt.
STUMBLE = 500
#: What all jobs of the shared queue rest, in seconds: the kill must find them at work, and
#: the rescue, which takes as long as a lease, must leave some for the replacement.
REST = 280.0
#: Seconds over which the rate limit spreads the hashes.
SPREAD = 12.0


@frozen
class Stage:
    """What the demo has to do, for so many files: three queues, a job of each for every file."""

    files: Sequence[str]

    @property
    def lines(self) -> Queue:
        """The queue that both workers run."""
        return Queue("lines", executor="async", concurrency=4, tags={DISK, CPU})

    @property
    def hashes(self) -> Queue:
        """A queue for those that have a disk, at a limited rate."""
        return Queue(
            "hashes",
            executor="thread",
            concurrency=4,
            tags={DISK},
            rate_limit=math.ceil(len(self.files) / SPREAD),
            rate_limit_window=1.0,
        )

    @property
    def tokens(self) -> Queue:
        """A queue for those that have processors."""
        return Queue("tokens", executor="process", concurrency=2, tags={CPU})

    @property
    def queues(self) -> tuple[Queue, Queue, Queue]:
        """All of them, in the order in which they are shown."""
        return self.lines, self.hashes, self.tokens

    def jobs(self) -> list[Job]:
        """Return the jobs, file by file; each `STUMBLE`th is told to fail at first."""
        rest = REST / max(1, len(self.files))
        asked: list[Job] = []
        for file in self.files:
            asked.append(jobs.lines.bind(path=file, rest=rest))
            asked.append(jobs.digest.bind(path=file))
            asked.append(jobs.tokens.bind(path=file))
        for number in range(0, len(asked), STUMBLE):
            asked[number] = asked[number].with_meta({jobs.STUMBLES: True})
        return asked
