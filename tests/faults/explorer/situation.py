"""Where three jobs stand before anybody does anything."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from attrs import field, frozen

from chancy import Job, Queue, QueuedJob, State
from chancy_core.identity import new_id
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.statement import Names, Statement
from chancy_core.store import statements

NAMES = Names()
#: How many jobs one statement takes back from the dead.
AT_ONCE = 500


@frozen
class Situation:
    """Three jobs of one queue, under new names: each order has rows of its own."""

    name: str
    queue: str = field(factory=lambda: f"q{uuid4().hex}")
    #: In the order of their ids; their keys, and their places in line, are the other way round.
    jobs: tuple[UUID, ...] = field(factory=lambda: tuple(new_id() for _ in range(3)))
    leases: tuple[UUID, ...] = field(factory=lambda: tuple(uuid4() for _ in range(3)))
    #: Who holds what runs.
    holder: UUID = field(factory=uuid4)
    #: Ids for a push whose commit is in doubt.
    pushed: tuple[UUID, UUID] = field(factory=lambda: (new_id(), new_id()))

    def key(self, job: UUID) -> str:
        return f"{self.queue}-{2 - self.jobs.index(job)}"

    @property
    def workers(self) -> dict[str, UUID]:
        """Those who are alive and hold nothing, by the session they are for."""
        return {letter: UUID(int=self.holder.int ^ n) for n, letter in enumerate("ABC", 1)}

    def running(self) -> list[QueuedJob]:
        """The jobs as their holder knows them."""
        return [
            QueuedJob(
                "f",
                queue=self.queue,
                id=id_,
                state=State.RUNNING,
                max_attempts=5,
                claims=1,
                unique_key=self.key(id_),
                worker=self.holder,
                lease_id=lease,
                created_at=datetime.now(UTC),
            )
            for id_, lease in zip(self.jobs, self.leases, strict=True)
        ]

    def _asked(self, id_: UUID, *, later: bool) -> Job:
        due = datetime.now(UTC) + timedelta(hours=1) if later else None
        key = self.key(id_)
        return Job("f", queue=self.queue, unique_key=key, max_attempts=5, scheduled_at=due)

    def statements(self) -> Iterator[tuple[bytes, Mapping[str, Any]]]:
        """Statements that bring it about, and their values."""
        limited = {"rate_limit": 10, "rate_limit_window": 1e6} if self.name == "limited" else {}
        later = {"mixed": self.jobs[1:2], "due": self.jobs}.get(self.name, ())
        jobs = {id_: self._asked(id_, later=id_ in later) for id_ in reversed(self.jobs)}
        made = [
            statements.declare(NAMES, Queue(self.queue, **limited), upsert=False),
            statements.push(NAMES, jobs),
            announced(self.holder, -60.0 if self.name == "orphaned" else 600.0),
            *(announced(worker, 600.0) for worker in self.workers.values()),
        ]
        yield from ((statement.text, statement.params) for statement in made)
        if self.name in {"running", "orphaned", "finished", "mixed"}:
            begun = [job for job in self.running() if job.id not in later]
            leases = [job.lease_id for job in begun]
            yield _BEGIN, {"ids": [job.id for job in begun], "leases": leases, "by": self.holder}
            if self.name in {"finished", "mixed"}:
                ended = [Settlement(job, _OUTCOME, Verdict(State.SUCCEEDED)) for job in begun]
                statement = statements.finish(NAMES, ended)
                yield statement.text, statement.params
        if self.name == "due":
            yield _DUE, {"ids": list(self.jobs)}


def announced(worker: UUID, lease: float) -> Statement[None]:
    """A worker, whose lease is good for so many seconds; below zero it is over."""
    return statements.announce(
        NAMES, worker, name="w", hostname="h", pid=1, tags=["*"], lease=lease
    )


_OUTCOME = Outcome(Kind.SUCCESS, "1")
_BEGIN = b"""
UPDATE chancy_jobs AS job
   SET state = 'running', worker = %(by)s, lease_id = l.lease_id, claims = 1, started_at = now()
  FROM unnest(%(ids)s::uuid[], %(leases)s::uuid[]) AS l (id, lease_id)
 WHERE job.id = l.id"""
_DUE = b"""
UPDATE chancy_jobs SET scheduled_at = now() - interval '1 hour' WHERE id = ANY(%(ids)s::uuid[])"""

#: All there are: the jobs wait; run; run on a worker whose lease is over; have succeeded; wait and
#: have a limited rate; are due; the middle one is for later, and the others have succeeded.
NAMED = ("pending", "running", "orphaned", "finished", "limited", "due", "mixed")

_TABLES = (
    "chancy_jobs",
    "chancy_history",
    "chancy_workers",
    "chancy_queues",
    "chancy_rates",
    "explorer_effects",
    "faults_transitions",
)
#: Takes away what an order has left, so that the next is alone; last what triggers say of that.
CLEAR = tuple(f"DELETE FROM {table}".encode() for table in _TABLES)
#: The same, and their space as well: dearer.
EMPTY = (f"TRUNCATE {', '.join(_TABLES)}".encode(),)
