"""The history of a run: what the processes said, and what the database did, joined."""

import time
from collections import defaultdict
from collections.abc import Iterable
from typing import Any
from uuid import UUID

import psycopg
from attrs import field, frozen
from psycopg.rows import dict_row

from tests.faults.record import Record


@frozen
class Said:
    """One line of the record. *at* is in seconds by a clock of this machine that nobody sets."""

    at: float
    kind: str
    pid: int = 0
    job: UUID | None = None
    lease: UUID | None = None
    label: str | None = None
    what: dict[str, Any] = field(factory=dict, hash=False)

    def __str__(self) -> str:
        names = {"job": self.job, "lease": self.lease, "label": self.label} | self.what
        told = " ".join(f"{k}={v}" for k, v in names.items() if v is not None)
        return f"{self.at:12.3f}  process {self.pid}: {self.kind} {told}"


@frozen
class Moved:
    """One row of a job came, changed or went: its place *n*, and from what state to what.

    *at* is when that was written, *started_at* what the row says of it, if anything.
    """

    n: int
    at: float
    job: UUID
    op: str
    old: str | None = None
    new: str | None = None
    old_lease: UUID | None = None
    new_lease: UUID | None = None
    worker: UUID | None = None
    queue: str = "q"
    unique_key: str | None = None
    label: str | None = None
    priority: int = 0
    attempts: int = 0
    claims: int = 0
    crashes: int = 0
    max_attempts: int = 1
    at_most_once: bool = False
    started_at: float | None = None

    def __str__(self) -> str:
        leases = f"lease {self.old_lease or '-'} -> {self.new_lease or '-'}"
        counts = f"attempts={self.attempts} claims={self.claims} crashes={self.crashes}"
        return (
            f"{self.at:12.3f}  database: job {self.job} {self.op}:"
            f" {self.old or '-'} -> {self.new or '-'}, {leases}, {counts}"
        )


@frozen
class Limit:
    """A queue's rate limit, and the burst that is promised beside it."""

    queue: str
    jobs: int
    window: float
    burst: int = 0


@frozen
class History:
    """All of a run. Times of both kinds can be compared; orders hold within each."""

    said: tuple[Said, ...]
    moved: tuple[Moved, ...]
    crash_limit: int = 3
    limits: tuple[Limit, ...] = ()
    #: Queues with one producer, and one worker that runs one job at a time.
    in_order: frozenset[str] = frozenset()

    def of_kind(self, *kinds: str) -> list[Said]:
        return [event for event in self.said if event.kind in kinds]

    def moves_by_job(self) -> dict[UUID, list[Moved]]:
        """What became of each job, in order."""
        found: dict[UUID, list[Moved]] = defaultdict(list)
        for move in self.moved:
            found[move.job].append(move)
        return found

    def said_by_job(self) -> dict[UUID, list[Said]]:
        """What the processes did with each job, in order."""
        found: dict[UUID, list[Said]] = defaultdict(list)
        for event in self.said:
            if event.job is not None:
                found[event.job].append(event)
        return found


def told(lines: Iterable[dict[str, Any]]) -> tuple[Said, ...]:
    """The lines of a record as values."""

    def value(line: dict[str, Any]) -> Said:
        rest = dict(line)
        job, lease = (rest.pop(name, None) for name in ("job", "lease"))
        return Said(
            rest.pop("at"),
            rest.pop("kind"),
            rest.pop("pid"),
            UUID(job) if job else None,
            UUID(lease) if lease else None,
            rest.pop("label", None),
            rest,
        )

    return tuple(value(line) for line in lines)


def read(record: Record, dsn: str, **known: Any) -> History:
    """The history of a run: out of its record, and out of the database at *dsn*.

    *known* is what else the judge has to know, as in `History`. The database's clock is this
    machine's, so its times are put on the scale of the record's.
    """
    ahead = time.time() - time.monotonic()
    with psycopg.connect(dsn, row_factory=dict_row) as conn:
        rows = conn.execute("SELECT * FROM faults_transitions ORDER BY n").fetchall()

    def moved(row: dict[str, Any]) -> Moved:
        times = {k: row[k] and row[k].timestamp() - ahead for k in ("at", "started_at")}
        return Moved(**row | times)

    return History(told(record.read()), tuple(map(moved, rows)), **known)
