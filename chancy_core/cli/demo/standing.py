"""How things stand with all jobs, counted by one statement on the view that plugins read."""

from collections.abc import Callable, Sequence
from uuid import UUID

from attrs import frozen

from chancy_core.job import State
from chancy_core.statement import Names, Row, Statement

_COUNT = """
SELECT queue, worker, state, crashes > 0, count(*) FROM {jobs_v1} GROUP BY 1, 2, 3, 4
"""


@frozen
class Group:
    """So many jobs that have all of this in common."""

    queue: str
    #: The incarnation that holds them, or held them last.
    worker: UUID | None
    state: State
    #: Whether a worker has died of them, or while it ran them.
    crashed: bool
    count: int


@frozen
class Standing:
    """All jobs at one moment, in groups."""

    groups: tuple[Group, ...] = ()

    @classmethod
    def read(cls, rows: Sequence[Row]) -> "Standing":
        """Read the rows of the statement."""
        return cls(tuple(Group(q, w, State(s), crashed, n) for q, w, s, crashed, n in rows))

    def count(self, which: Callable[[Group], bool]) -> int:
        """Return how many jobs are in groups of this kind."""
        return sum(group.count for group in self.groups if which(group))

    def finished(self, queue: str | None = None, worker: UUID | None = None) -> int:
        """Return how many jobs have ended: of a queue, by a worker, or at all."""
        return self.count(
            lambda g: g.state.finished and queue in (None, g.queue) and worker in (None, g.worker)
        )

    def running(self, worker: UUID | None, queue: str | None = None) -> int:
        """Return how many jobs are marked as a worker's own."""
        return self.count(
            lambda g: g.state is State.RUNNING and g.worker == worker and queue in (None, g.queue)
        )


def standing(names: Names) -> Statement[Standing]:
    """Ask how things stand."""
    return Statement(names.render(_COUNT).encode(), {}, Standing.read)
