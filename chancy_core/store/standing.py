"""How a database stands: what is read of it to find out what threatens the promise."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from attrs import frozen

from chancy_core.outcome import refuser
from chancy_core.statement import Row


@frozen
class Index:
    """An index as it is made: on a table (without the prefix), of a kind, by a definition."""

    table: str
    #: `primary`, `unique`, or nothing.
    kind: str
    definition: str

    def __str__(self) -> str:
        return f"{self.kind or 'an'} index on {self.table}, {self.definition}"


@frozen
class Built:
    """An index that is there."""

    index: Index
    name: str
    #: Whether queries can rely on it.
    valid: bool
    #: Whether somebody builds it at this moment.
    building: bool


#: The indexes of our tables, as the migrations make them.
INDEXES = frozenset(
    {
        Index("queues", "primary", "btree (name)"),
        Index("rates", "primary", "btree (queue)"),
        Index("workers", "primary", "btree (id)"),
        Index("jobs", "primary", "btree (id)"),
        Index(
            "jobs",
            "",
            "btree (queue, priority DESC, seq) WHERE ((state = 'pending'::text) AND (crashes = 0))",
        ),
        Index(
            "jobs",
            "",
            "btree (queue, priority DESC, seq) WHERE ((state = 'pending'::text) AND (crashes > 0))",
        ),
        Index("jobs", "", "btree (scheduled_at) WHERE (state = 'scheduled'::text)"),
        Index("jobs", "", "btree (worker) WHERE (state = 'running'::text)"),
        Index("jobs", "unique", "btree (unique_key) WHERE (unique_key IS NOT NULL)"),
        Index("history", "primary", "btree (id, finished_at)"),
    }
)


def indexes(rows: Sequence[Row]) -> list[Built]:
    """Read the rows of `indexes`."""
    return [Built(Index(row[0], row[2], row[3]), row[1], row[4], row[5]) for row in rows]


@frozen
class Pin:
    """What keeps dead rows from being removed: a kind, who it is, and for how many seconds."""

    kind: str
    who: str
    seconds: float | None


def pins(rows: Sequence[Row]) -> list[Pin]:
    """Read the rows of `pins`."""
    return [Pin(*row) for row in rows]


@frozen
class Server:
    """The server, as a session of ours sees it."""

    standby: bool
    read_only: bool
    fsync: bool
    full_page_writes: bool
    #: Whether a commit is answered once it is on the disk.
    synchronous: bool
    max_connections: int
    connections: int
    #: How full the queue of notifications is, from 0 to 1.
    notifications: float
    #: Whether we may see the sessions of others.
    sees_all: bool


def server(rows: Sequence[Row]) -> Server:
    """Read the row of `standing`."""
    return Server(*rows[0])


@frozen
class Aside:
    """Jobs of a queue that were given up because their workers died, in the same state."""

    queue: str
    state: str
    count: int
    since: datetime


def set_aside(rows: Sequence[Row]) -> list[Aside]:
    """Read the rows of `set_aside`."""
    return [Aside(*row) for row in rows]


@frozen
class Waiting:
    """Jobs of a queue that are due, and since when the first of them has been."""

    queue: str
    count: int
    since: datetime


def waiting(rows: Sequence[Row]) -> list[Waiting]:
    """Read the rows of `waiting`."""
    return [Waiting(*row) for row in rows]


@frozen
class Refused:
    """Jobs of a queue that workers refuse, since their code does not know what they call."""

    queue: str
    func: str
    #: Of their arguments, as it is written in their rows; None for the first.
    version: str | None
    count: int
    #: When the first of them was pushed.
    since: datetime
    #: How often the one that has been refused most has been.
    times: int
    #: What the last worker said of one of them.
    said: str
    #: The names of workers that have refused them lately.
    by: frozenset[str]


def refused(rows: Sequence[Row]) -> list[Refused]:
    """Read the rows of `refused`, each of which is of one job."""
    kinds = defaultdict[tuple[str, str, str | None], list[Row]](list)
    for row in rows:
        kinds[row[0], row[1], row[2]].append(row)
    return [
        Refused(
            queue=queue,
            func=func,
            version=version,
            count=len(alike),
            since=min(row[3] for row in alike),
            times=max(row[4] for row in alike),
            said=alike[0][5] or "",
            by=frozenset(filter(None, (refuser(said or "") for row in alike for said in row[6]))),
        )
        for (queue, func, version), alike in sorted(kinds.items(), key=lambda kind: str(kind[0]))
    ]
