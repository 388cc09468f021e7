"""Workflows, batches and their steps as they are stored."""

from datetime import UTC, datetime
from typing import Self
from uuid import UUID

from attrs import frozen

from chancy_core.statement import Row

#: The states that a workflow, or a batch, can have.
STATES = ("running", "paused", "completed", "failed", "cancelled")


@frozen(kw_only=True)
class Stored:
    """A workflow or a batch, and how many of its jobs are in which state."""

    id: UUID
    name: str
    #: `workflow` or `batch`.
    kind: str
    #: `running`, `paused`, `completed`, `failed` or `cancelled`.
    state: str
    #: Whether nothing more is queued, whatever the state.
    paused: bool
    #: Whether it is a batch to which more can be added until it is closed.
    open: bool
    #: How many jobs it has, as far as is known: the members of a map are counted once they are.
    total: int
    #: How many have been pushed and have not ended.
    queued: int
    succeeded: int
    failed: int
    cancelled: int
    #: How many have failed, and were allowed to.
    excused: int
    #: Why it could not go on, if that was no step's failure.
    problem: str | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @property
    def waiting(self) -> int:
        """How many jobs have not been pushed."""
        return self.total - self.queued - self.ended

    @property
    def ended(self) -> int:
        """How many jobs have ended, however that was."""
        return self.succeeded + self.failed + self.cancelled + self.excused

    @property
    def remaining(self) -> int:
        """How many jobs have not ended."""
        return self.total - self.ended

    @property
    def progress(self) -> float:
        """Which part of its jobs has ended: 0 to 1."""
        return self.ended / self.total if self.total else 0.0

    @property
    def finished(self) -> bool:
        """Whether it has come to an end; one that failed goes on if its jobs are retried."""
        return self.state in {"completed", "failed", "cancelled"}

    @classmethod
    def read(cls, row: Row) -> Self:
        """Read a row."""
        (id_, name, kind, state, paused, open_, total, queued, succeeded, failed, cancelled) = row[
            :11
        ]
        excused, problem, created, updated, finished = row[11:]
        return cls(
            id=id_,
            name=name,
            kind=kind,
            state="paused" if paused and state == "running" else state,
            paused=paused,
            open=open_,
            total=total,
            queued=queued,
            succeeded=succeeded,
            failed=failed,
            cancelled=cancelled,
            excused=excused,
            problem=problem,
            created_at=created.astimezone(UTC),
            updated_at=updated.astimezone(UTC),
            finished_at=None if finished is None else finished.astimezone(UTC),
        )


@frozen(kw_only=True)
class StoredStep:
    """A step of a workflow, or a job of a batch."""

    #: Its place, from 1.
    number: int
    name: str
    #: `job`, `group` or `map`.
    kind: str
    #: `waiting`, `ready`, `queued`, `succeeded`, `failed`, `cancelled`, or `excused`: it failed,
    #: and was allowed to.
    state: str
    #: How many steps it still waits for.
    waits_for: int
    #: The identity of its job, pushed or not; a group and a map have none.
    job: UUID | None
    #: Why it has failed.
    problem: str | None

    @classmethod
    def read(cls, row: Row) -> Self:
        """Read a row."""
        number, name, kind, state, waits_for, job, problem = row
        return cls(
            number=number,
            name=name,
            kind=kind,
            state=state,
            waits_for=waits_for,
            job=job,
            problem=problem,
        )
