"""What a plugin is given: the application or the worker that it stands in, and the database."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload
from uuid import UUID

from attrs import define, field

from chancy_core.events import Events
from chancy_core.filter import Answer
from chancy_core.job import Job, QueuedJob, Reference
from chancy_core.queue import Queue
from chancy_core.statement import Names, Push, Statement

T = TypeVar("T")


class Database(Protocol):
    """The database of an installation. Our own store is one."""

    @property
    def names(self) -> Names:
        """The schema, and the prefix of all names in it."""

    @overload
    async def run(self, statement: Statement[T], /) -> T: ...
    @overload
    async def run(self, *statements: Statement[Any]) -> list[Any]: ...
    async def run(self, *statements: Statement[Any]) -> Any:
        """Run statements in one transaction; answers what each reads, of a single one just that.

        Each is read before the next is run: what reading one of several raises undoes them all,
        and is raised here. So a statement can look whether those after it are to be run.
        """


class Application(Protocol):
    """A `Chancy`, as a plugin sees it."""

    #: How often a job's worker may die before the job is quarantined: 1 to 32,767.
    crash_limit: int

    @property
    def names(self) -> Names:
        """The schema, and the prefix of all names in it."""

    @property
    def database(self) -> Database:
        """The database. Raises `ChancyError` before the application is opened."""

    async def push(self, job: Job, /) -> Reference:
        """Store a job."""

    def pushing(self, jobs: Iterable[Job], /) -> Push:
        """Return the statement that stores jobs in whatever transaction it is run in.

        Call `pushed` once that is committed. Raises `InvalidValue` for what cannot be stored.
        """

    def run_ex(self, conn: Any, /, *statements: Statement[Any]) -> Any:
        """Run statements in a transaction of the caller's, on the psycopg connection that is given.

        It answers a list of what each reads; on an asynchronous connection that is awaited.
        """

    async def pushed(self, push: Push, stored: Collection[UUID], /) -> None:
        """Tell of the jobs of these ids, which were stored: to workers, and to plugins."""

    async def wake(self, *queues: str) -> None:
        """Tell workers that there are new jobs in these queues: after the commit that stored them.

        For jobs that were pushed by SQL; `pushed` does it for others. A hint only.
        """

    def reprioritizing(
        self, more: Mapping[UUID, int], /, *, most: int = 32_767
    ) -> Statement[Mapping[UUID, int]]:
        """Return the statement that has jobs which wait come earlier, each by so much.

        Their priorities rise to *most* at most; none is lowered, unless the number is negative.
        It answers the priorities by id, and leaves out jobs that run or are finished, and such as
        somebody else has locked. Raises `InvalidValue` for what is no priority.
        """

    async def cancel_jobs(self, which: Iterable[UUID], /) -> list[Answer]:
        """Cancel jobs that have not ended; answers for each."""

    async def retry_jobs(self, which: Iterable[UUID], /) -> list[Answer]:
        """Run jobs once more that have ended; answers for each."""

    async def notify(self, name: str, subject: str = "") -> None:
        """Send a hint to all workers, where `chancy_notified` hears it."""


class WorkerHost(Protocol):
    """A `Worker`, as a plugin sees it."""

    name: str
    tags: frozenset[str]
    #: What happens here: to be watched, not to be told.
    events: Events

    @property
    def chancy(self) -> Application:
        """The application whose jobs it runs."""

    @property
    def queues(self) -> Mapping[str, Queue]:
        """The queues that it runs at this moment."""

    @property
    def running(self) -> Sequence[QueuedJob]:
        """The jobs that run here at this moment, or have been claimed and are about to."""

    @property
    def slots(self) -> int:
        """How many jobs may run here at once, of all queues that it runs at this moment."""

    @property
    def stale(self) -> int:
        """How many outcomes were discarded here, since they came too late to count."""

    async def wake(self, *queues: str) -> None:
        """Look at once for new jobs in these queues, and tell other workers, as `chancy.wake` does.

        For jobs that were pushed by SQL where one was settled: the next begins within milliseconds.
        """


@define(eq=False)
class Service:
    """What runs as long as a worker does: *run* is awaited, and once more if it raises.

        service = Service("cron", keep, patience=120)

    One that returns is done. It is cancelled when the worker stops, after the last outcome has
    been written. Where it says for how many seconds it may be silent, it calls `beat` more often
    than that; else it is taken for one that hangs, is cancelled, named, and begun again.
    """

    #: What the log calls it.
    name: str
    run: Callable[[], Awaitable[object]]
    #: The most seconds between two calls of `beat`; None if it makes none.
    patience: float | None = field(default=None, kw_only=True)
    #: What keeps it from its work, as it said last; None if nothing does.
    trouble: str | None = field(default=None, init=False)
    _scope: Any = field(default=None, init=False, repr=False)

    def beat(self, trouble: str | None = None) -> None:
        """Say that it goes on, and what keeps it from its work, if something does.

        `chancy check` names that, until it is called without. For the event loop that runs it.
        """
        self.trouble = trouble
        if self._scope is not None and self.patience is not None:
            from anyio import current_time  # not for child processes, which have no services

            self._scope.deadline = current_time() + self.patience

    def watch(self, scope: Any) -> None:
        """Have what runs in a cancel scope end if it is silent for too long."""
        self._scope = scope
        self.beat()

    @property
    def called(self) -> str:
        """How a fault of it is told of, beside those of hooks."""
        return f"its service {self.name!r}"
