"""What came of the demo, made of the jobs' rows: who did what, how long it took, is it right."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from attrs import frozen

from chancy_core.cli.demo.jobs import STUMBLES
from chancy_core.cli.demo.sources import Found
from chancy_core.job import QueuedJob, Reference, State
from chancy_core.queue import Queue


@frozen
class Spread:
    """Seconds that something took: half of the times at most `p50`, all but 1 % at most `p99`."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Spread | None":
        """Return the spread of these times, None if there are none."""
        times = sorted(seconds)
        if not times:
            return None
        return cls(*(times[math.ceil(part * len(times)) - 1] for part in (0.5, 0.99)))


@frozen
class Share:
    """The jobs of one queue that one worker has brought to their end."""

    worker: str
    executor: str
    queue: str
    jobs: int
    #: How many failed attempts they had before.
    retries: int
    #: How often a worker had died while it ran them.
    crashes: int
    #: From push to begin, of those that were begun only once: the rows keep no other begin.
    wait: Spread | None
    #: From the begin of the last attempt to its outcome's being written.
    run: Spread | None


@frozen
class Check:
    """Something that must be so at the end, and whether it is."""

    what: str
    holds: bool


@frozen
class Figures:
    """What came of the demo."""

    files: int
    jobs: int
    seconds: float
    lines: int
    tokens: int
    shares: tuple[Share, ...]
    retries: int
    crashes: int
    killed: str
    replacement: str
    checks: tuple[Check, ...]

    @property
    def agreed(self) -> bool:
        """Whether all is as it must be."""
        return all(check.holds for check in self.checks)


@frozen
class Performance:
    """What the demo has done: what it pushed, and what became of it."""

    files: Sequence[str]
    queues: Sequence[Queue]
    pushed: Sequence[Reference]
    jobs: Sequence[QueuedJob]
    plain: Found
    #: The names of the workers, by incarnation; those of the killed one and of who came for it.
    workers: Mapping[UUID, str]
    killed: str
    replacement: str
    seconds: float

    def figures(self) -> Figures:
        """Count, measure and check."""
        shares = tuple(self._shares())
        return Figures(
            files=len(self.files),
            jobs=len(self.jobs),
            seconds=round(self.seconds, 1),
            lines=sum(self.found["lines"].values()),
            tokens=sum(self.found["tokens"].values()),
            shares=shares,
            retries=sum(share.retries for share in shares),
            crashes=sum(share.crashes for share in shares),
            killed=self.killed,
            replacement=self.replacement,
            checks=tuple(Check(what, holds) for what, holds in self._checks(shares)),
        )

    @property
    def found(self) -> Found:
        """What the jobs found in each file."""
        found: Found = {queue.name: {} for queue in self.queues}
        for job in self.jobs:
            found[job.queue][job.kwargs["path"]] = job.returned
        return found

    def _shares(self) -> Iterable[Share]:
        groups: dict[tuple[str, str], list[QueuedJob]] = {}
        for job in self.jobs:
            name = self.workers.get(job.worker, "nobody") if job.worker else "nobody"
            groups.setdefault((name, job.queue), []).append(job)
        executors = {queue.name: queue.executor for queue in self.queues}
        for (name, queue), jobs in sorted(groups.items()):
            yield _share(name, executors[queue], queue, jobs)

    def _checks(self, shares: Iterable[Share]) -> Iterable[tuple[str, bool]]:
        states = Counter(job.state for job in self.jobs)
        ids = Counter(job.id for job in self.jobs)
        yield (
            "no job is lost: all that were pushed have succeeded",
            ids == Counter(reference.id for reference in self.pushed)
            and states == {State.SUCCEEDED: len(self.pushed)},
        )
        counted = Counter((job.queue, job.kwargs["path"]) for job in self.jobs)
        yield (
            "each file is counted exactly once in each queue",
            counted == Counter((queue.name, file) for queue in self.queues for file in self.files),
        )
        yield "the totals, and each file's figures, equal a plain loop's", self.found == self.plain
        stumbled = {job.id for job in self.jobs if STUMBLES in job.meta}
        yield (
            "those that were told to fail at first were retried, and no others",
            stumbled == {job.id for job in self.jobs if job.attempts == 2} and bool(stumbled),
        )
        yield (
            "jobs of the killed worker came back, and have succeeded",
            any(job.crashes and job.state is State.SUCCEEDED for job in self.jobs),
        )
        yield (
            "the replacement has done its share",
            any(share.worker == self.replacement and share.jobs for share in shares),
        )


def _share(worker: str, executor: str, queue: str, jobs: Sequence[QueuedJob]) -> Share:
    ended = [job for job in jobs if job.started_at and job.finished_at]
    return Share(
        worker=worker,
        executor=executor,
        queue=queue,
        jobs=len(jobs),
        retries=sum(max(0, job.attempts - 1) for job in jobs),
        crashes=sum(job.crashes for job in jobs),
        wait=Spread.of(
            (job.started_at - job.created_at).total_seconds()
            for job in ended
            if job.started_at and job.claims == 1
        ),
        run=Spread.of(
            (job.finished_at - job.started_at).total_seconds()
            for job in ended
            if job.started_at and job.finished_at
        ),
    )
