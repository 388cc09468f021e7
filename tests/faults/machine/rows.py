"""The rows of the model: what the tables hold, as far as anybody can tell."""

from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import asdict, define, field

FINISHED = {"succeeded", "failed", "cancelled", "quarantined", "lost"}


@define(eq=False)
class ModelJob:
    """A row, live or finished."""

    id: UUID
    queue: str
    state: str
    priority: int
    max_attempts: int
    unique_key: str | None
    at_most_once: bool
    exclusive: bool
    created_at: datetime
    scheduled_at: datetime
    #: Where it stands in line: those of the same place may stand in any order.
    place: int
    attempts: int = 0
    claims: int = 0
    crashes: int = 0
    worker: UUID | None = None
    lease_id: UUID | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    cancelling: bool = False
    #: The kinds of the errors that it has.
    kinds: list[str] = field(factory=list)

    @property
    def live(self) -> bool:
        return self.state not in FINISHED

    def row(self) -> dict[str, Any]:
        """Return what the database should have."""
        row = asdict(self, recurse=False)
        del row["place"]
        cancelling = self.cancelling and self.live
        return row | {"errors": len(row.pop("kinds")), "cancelling": cancelling}


@define(eq=False)
class ModelQueue:
    state: str = "active"
    resume_at: datetime | None = None
    limit: tuple[int, int] | None = None


@define(eq=False)
class ModelRate:
    limit: tuple[int, int]
    #: When the next job may begin, if there were no burst.
    tat: datetime


@define(eq=False)
class ModelWorker:
    expires_at: datetime
    dead: bool = False
