"""What a store is, in plain Python: the tables as dictionaries, each statement as a few lines."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from uuid import UUID

from attrs import define, field

from chancy import Job
from chancy_core.outcome import Kind
from tests.faults.machine.rows import FINISHED, ModelJob, ModelQueue, ModelRate, ModelWorker

#: How a worker ends an attempt: what becomes of it at once, and whether it counts.
ENDS = {
    Kind.SUCCESS: ("succeeded", True),
    Kind.ERROR: (None, True),
    Kind.TIMEOUT: (None, True),
    Kind.CANCELLED: ("cancelled", False),
    Kind.UNSUPPORTED: ("failed", False),
    Kind.SHUTDOWN: ("pending", False),
    Kind.UNKNOWN_FUNCTION: ("scheduled", False),
    Kind.SNOOZED: ("scheduled", False),
}


@define(eq=False)
class Model:
    """All tables."""

    now: datetime
    crash_limit: int = 2
    jobs: dict[UUID, ModelJob] = field(factory=dict)
    queues: dict[str, ModelQueue] = field(factory=dict)
    rates: dict[str, ModelRate] = field(factory=dict)
    workers: dict[UUID, ModelWorker] = field(factory=dict)
    _last_place: int = 0

    def next_place(self) -> int:
        self._last_place += 1
        return self._last_place

    def holder(self, key: str | None) -> ModelJob | None:
        """Return the live job that holds a unique key."""
        held = (job for job in self.jobs.values() if job.live and job.unique_key == key)
        return None if key is None else next(held, None)

    def line(self, queue: str, *, suspects: bool) -> list[ModelJob]:
        """Return who waits in a queue, in the order in which they are claimed."""
        waiting = [
            job
            for job in self.jobs.values()
            if job.state == "pending" and job.queue == queue and (job.crashes > 0) is suspects
        ]
        return sorted(waiting, key=lambda job: (-job.priority, job.place))

    def gives(self, queue: str, worker: UUID, *, limited: bool) -> bool:
        """Return whether a queue gives jobs to a worker."""
        row, who = self.queues.get(queue), self.workers.get(worker)
        if row is None or who is None or who.dead or (row.limit is not None) is not limited:
            return False
        return row.state == "active" or (row.resume_at is not None and row.resume_at <= self.now)

    # -- applications ------------------------------------------------------------------------------

    def push(self, id_: UUID, asked: Job) -> None:
        due = asked.scheduled_at or self.now
        self.jobs[id_] = ModelJob(
            id_,
            asked.queue,
            "scheduled" if due > self.now else "pending",
            asked.priority,
            asked.max_attempts,
            asked.unique_key,
            asked.at_most_once,
            asked.exclusive,
            self.now,
            due,
            self.next_place(),
        )

    def cancel(self, ids: Iterable[UUID]) -> dict[UUID, str]:
        """Cancel; answers what was done to whom."""
        done = {}
        for job in self._known(ids):
            if job.state == "running":
                job.cancelling, done[job.id] = True, "cancelling"
            elif job.live:
                self._finish(job, "cancelled")
                done[job.id] = "cancelled"
        return done

    def retry(self, ids: Iterable[UUID]) -> set[UUID]:
        """Bring jobs back; of two with the same key the first by id. Answers those that came."""
        place = self.next_place()
        back = set()
        for job in sorted(self._known(ids), key=lambda job: job.id):
            if job.state == "scheduled" or not (job.live or self.holder(job.unique_key)):
                if not job.live:
                    job.worker = job.lease_id = job.started_at = job.finished_at = None
                    job.cancelling = False
                job.state, job.scheduled_at, job.place = "pending", self.now, place
                job.attempts = job.crashes = 0
                back.add(job.id)
        return back

    def purge(self, ids: Iterable[UUID]) -> set[UUID]:
        gone = {job.id for job in self._known(ids) if job.state != "running"}
        for id_ in gone:
            del self.jobs[id_]
        return gone

    def delete_queue(self, name: str, *, purge: bool) -> int:
        del self.queues[name]
        self.rates.pop(name, None)
        waiting = {"pending", "scheduled"} if purge else set()
        gone = [job.id for job in self.jobs.values() if job.queue == name and job.state in waiting]
        return len(self.purge(gone))

    def _known(self, ids: Iterable[UUID]) -> list[ModelJob]:
        return [self.jobs[id_] for id_ in dict.fromkeys(ids) if id_ in self.jobs]

    # -- workers -----------------------------------------------------------------------------------

    def promote(self) -> set[str]:
        due = [
            job
            for job in self.jobs.values()
            if job.state == "scheduled" and job.scheduled_at <= self.now
        ]
        for job in sorted(due, key=lambda job: (job.scheduled_at, job.place)):
            job.state, job.place = "pending", self.next_place()
        return {job.queue for job in due}

    def claim(self, job: ModelJob, worker: UUID, lease: UUID) -> None:
        job.state, job.worker, job.lease_id, job.started_at = "running", worker, lease, self.now
        job.claims += 1

    def budget(self, queue: str) -> int | None:
        """Return how many jobs a queue's limit lets begin now (GCRA, ITU-T I.371); locks it."""
        row = self.queues.get(queue)
        if row is None or row.limit is None:
            return None
        rate = self.rates.get(queue)
        if rate is None or rate.limit != row.limit:
            rate = self.rates[queue] = ModelRate(row.limit, self.now)
        limit, window = rate.limit
        rate.tat = min(max(rate.tat, self.now), self.now + timedelta(seconds=window))
        ahead = Fraction((rate.tat - self.now) // timedelta(microseconds=1), 1_000_000)
        return max(0, floor(ceil(limit / 10) - ahead * limit / window))

    def charge(self, queue: str, count: int) -> None:
        limit, window = self.rates[queue].limit
        self.rates[queue].tat += count * timedelta(seconds=window) / limit

    def end(self, id_: UUID, lease: UUID | None, kind: Kind, delay: float) -> bool:
        """End an attempt; answers whether that counts. With a delay an error is tried again."""
        job = self.jobs.get(id_)
        if job is None or job.state != "running" or job.lease_id != lease:
            return False
        state, counted = ENDS[kind]
        if kind is Kind.UNKNOWN_FUNCTION:
            delay = self._refused(job)
            state = "scheduled"
        elif kind is Kind.SNOOZED:
            state = "failed" if job.at_most_once else state if delay else "pending"
        elif kind is Kind.SHUTDOWN and job.at_most_once:
            state = "lost"
        elif state is None:
            again = job.attempts + 1 < job.max_attempts
            state = "failed" if not again else "scheduled" if delay else "pending"
        if state not in FINISHED and job.cancelling:
            state, counted = "cancelled", False
        job.attempts += counted
        if kind not in {Kind.SUCCESS, Kind.CANCELLED, Kind.SHUTDOWN, Kind.SNOOZED}:
            job.kinds.append(kind.value)
        if state in FINISHED:
            self._finish(job, state)
        else:
            self._back(job)
            if state == "scheduled":
                job.state, job.scheduled_at = state, self.now + timedelta(seconds=delay)
        return True

    @staticmethod
    def _refused(job: ModelJob) -> float:
        """Return for how long a job is offered to nobody that one more worker does not know."""
        refusals = 0
        for kind in reversed(job.kinds):
            if kind != Kind.UNKNOWN_FUNCTION:
                break
            refusals += 1
        return (5.0, 10.0, 20.0, 40.0, 60.0)[min(refusals, 4)]

    def give_back(
        self, worker: UUID, leases: Sequence[UUID] | None = None
    ) -> dict[UUID, tuple[str, str]]:
        """Give back what a worker holds, or these leases of its that have not begun."""
        given = {}
        for job in self._running_on(worker):
            if leases is not None and job.lease_id not in leases:
                continue
            if leases is None and job.at_most_once:
                self._finish_unheard(job, "lost")
            elif job.cancelling:
                self._finish_unheard(job, "cancelled")
            else:
                self._back(job)
            given[job.id] = (job.queue, job.state)
        return given

    def _running_on(self, worker: UUID) -> Iterator[ModelJob]:
        for job in self.jobs.values():
            if job.state == "running" and job.worker == worker:
                yield job

    def bury(self) -> set[UUID]:
        expired = {id_ for id_, w in self.workers.items() if not w.dead and w.expires_at < self.now}
        old = self.now - timedelta(days=1)
        self.workers = {
            id_: w for id_, w in self.workers.items() if not (w.dead and w.expires_at < old)
        }
        for id_ in expired:
            self.workers[id_].dead = True
        return expired

    def rescue(self, at_once: int) -> dict[UUID, tuple[str, str]]:
        """Take back the jobs of those who are dead or have no row."""
        living = {id_ for id_, worker in self.workers.items() if not worker.dead}
        orphans = [j for j in self.jobs.values() if j.state == "running" and j.worker not in living]
        taken = {}
        for job in sorted(orphans, key=lambda job: job.id)[:at_once]:
            job.crashes += 1
            if job.at_most_once:
                self._finish_unheard(job, "lost")
            elif job.cancelling:
                self._finish_unheard(job, "cancelled")
            elif job.crashes >= self.crash_limit:
                self._finish_unheard(job, "quarantined")
            else:
                self._back(job)
            taken[job.id] = (job.queue, job.state)
        return taken

    def _finish(self, job: ModelJob, state: str) -> None:
        job.state, job.finished_at = state, self.now

    def _finish_unheard(self, job: ModelJob, state: str) -> None:
        """End a job without the word of its holder, whose lease the history then does not have."""
        self._finish(job, state)
        job.lease_id = None

    @staticmethod
    def _back(job: ModelJob) -> None:
        job.state, job.worker, job.lease_id, job.started_at = "pending", None, None, None
