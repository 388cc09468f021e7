"""The face of `Chancy` inside a transaction of the caller's: what it asks is committed with it."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from functools import update_wrapper
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
)

from chancy_core import given
from chancy_core.errors import InvalidValue
from chancy_core.filter import Answer, JobFilter
from chancy_core.given import Named, Pushable
from chancy_core.hint import Hint
from chancy_core.job import QueuedJob, Reference
from chancy_core.queue import Queue
from chancy_core.statement import Names, Statement
from chancy_core.store import requests, statements
from chancy_core.store.steps import Request, carry_out, carry_out_sync

if TYPE_CHECKING:
    import psycopg

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Bound(Protocol[P, T_co]):
    """A method whose first argument says where it runs, and whether its answer is awaited."""

    @overload
    def __call__(
        self,
        conn: "psycopg.Connection[Any] | psycopg.Cursor[Any]",
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T_co: ...
    @overload
    def __call__(
        self,
        conn: "psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any]",
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Awaitable[T_co]: ...


class transactional(Generic[P, T_co]):  # noqa: N801 - a decorator
    """Makes a method that carries out, on a connection of the caller's, what the body asks."""

    def __init__(self, asks: Callable[Concatenate[Any, P], Request[T_co]]) -> None:
        self._asks = asks
        self.__doc__ = asks.__doc__
        _, *rest = inspect.signature(asks).parameters.values()
        conn = inspect.Parameter("conn", inspect.Parameter.POSITIONAL_ONLY)
        self._signature = inspect.Signature([conn, *rest])

    def __get__(self, chancy: "Within | None", owner: type) -> Bound[P, T_co]:
        def method(conn: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
            if chancy is None:
                raise TypeError(f"{self._asks.__name__} is a method of a Chancy that was made")
            run = on(conn)
            return run(chancy.names, self._asks(chancy, *args, **kwargs), chancy.notifications)

        made = cast("Any", update_wrapper(method, self._asks))
        made.__signature__ = self._signature
        return cast("Bound[P, T_co]", made)


def on(conn: Any) -> Callable[[Names, Request[Any], bool], Any]:
    """Return how requests are carried out on a connection, or the connection of a cursor.

    Raises `InvalidValue` for anything else.
    """
    import psycopg

    if isinstance(conn, psycopg.Cursor | psycopg.AsyncCursor):
        conn = conn.connection
    if isinstance(conn, psycopg.Connection):
        return lambda *asked: _ask_sync(conn, *asked)
    if isinstance(conn, psycopg.AsyncConnection):
        return lambda *asked: _ask(conn, *asked)
    raise InvalidValue(
        "conn must be a Connection, Cursor, AsyncConnection or AsyncCursor of psycopg 3, or a "
        f"chancy_core.postgres.Connection, not {type(conn).__module__}.{type(conn).__qualname__}; "
        "Django has one as connection.connection"
    )


def _ask_sync(conn: "psycopg.Connection[Any]", names: Names, request: Request[T], tells: bool) -> T:
    hints: dict[Hint, None] = {}
    answer = carry_out_sync(request, lambda s: run_sync(conn, s), hints.setdefault)
    if hints and tells:
        run_sync(conn, statements.notify(names, hints))
    return answer


async def _ask(
    conn: "psycopg.AsyncConnection[Any]", names: Names, request: Request[T], tells: bool
) -> T:
    hints: dict[Hint, None] = {}
    answer = await carry_out(request, lambda s: _run(conn, s), hints.setdefault)
    if hints and tells:
        await _run(conn, statements.notify(names, hints))
    return answer


def run_sync(conn: "psycopg.Connection[Any]", statement: Statement[T]) -> T:
    """Run a statement, whatever cursors and rows the connection makes for its owner."""
    import psycopg
    from psycopg.rows import tuple_row

    with psycopg.Cursor(conn, row_factory=tuple_row) as cursor:
        cursor.execute(statement.text, statement.params, binary=True)
        return statement.read(cursor.fetchall() if cursor.description else ())


async def _run(conn: "psycopg.AsyncConnection[Any]", statement: Statement[T]) -> T:
    import psycopg
    from psycopg.rows import tuple_row

    async with psycopg.AsyncCursor(conn, row_factory=tuple_row) as cursor:
        await cursor.execute(statement.text, statement.params, binary=True)
        return statement.read(await cursor.fetchall() if cursor.description else ())


class Within:
    """What can be asked in a transaction of the caller's, whether this `Chancy` is open or not.

    The first argument is a psycopg `Connection` or `Cursor`, and the answer is returned; or an
    `AsyncConnection`, an `AsyncCursor` or a `chancy_core.postgres.Connection`, and an awaitable is
    returned. Nothing is committed here. Each twin does what the method without `_ex` does.
    """

    names: Names
    notifications: bool

    @transactional
    def push_ex(self, job: Pushable, *, wake: str = "poll") -> Request[Reference]:
        """Store a job, to be run once the caller's transaction is committed.

        Workers find it when they next look, after the queue's `polling_interval` at most. With
        *wake* "notify" they are told at the commit, for which NOTIFY locks the whole database.
        """
        return self._push_one([given.job(job)], given.wake(wake))

    def _push_one(self, jobs: list[Any], wake: bool) -> Request[Reference]:
        return (yield from requests.push(self.names, jobs, wake=wake))[0]

    @transactional
    def push_many_ex(
        self, jobs: Iterable[Pushable], *, batch_size: int = requests.BATCH, wake: str = "poll"
    ) -> Request[list[Reference]]:
        """Store jobs, *batch_size* with one statement, in the caller's transaction."""
        batches = given.batches(jobs, batch_size)
        return requests.push_batches(self.names, batches, wake=given.wake(wake))

    @transactional
    def declare_ex(
        self, queue: Queue, *, upsert: bool = False, check: bool = True
    ) -> Request[Queue]:
        """Store a queue's settings, and return what is stored."""
        return requests.declare(self.names, given.queue(queue, check=check), upsert=upsert)

    @transactional
    def pause_queue_ex(
        self, name: str, *, resume_at: datetime | timedelta | None = None
    ) -> Request[None]:
        """Let no worker begin jobs of a queue."""
        return requests.pause_queue(self.names, name, given.resumption(resume_at))

    @transactional
    def resume_queue_ex(self, name: str) -> Request[None]:
        """Make a paused queue active."""
        return requests.resume_queue(self.names, name)

    @transactional
    def delete_queue_ex(self, name: str, *, purge_jobs: bool = True) -> Request[int]:
        """Delete a queue; answers how many waiting jobs went with it."""
        return requests.delete_queue(self.names, name, purge_jobs=purge_jobs)

    @transactional
    def get_job_ex(self, reference: Named) -> Request[QueuedJob]:
        """Return a job as this transaction sees it. Raises `JobNotFound`."""
        return requests.get_job(self.names, given.id_of(reference))

    @transactional
    def cancel_job_ex(self, reference: Named) -> Request[Answer]:
        """Cancel a job, if the transaction is committed."""
        return self._cancel_one(given.ids_of([reference]))

    def _cancel_one(self, ids: list[Any]) -> Request[Answer]:
        return (yield from requests.cancel(self.names, ids))[0]

    @transactional
    def retry_jobs_ex(self, jobs: Iterable[Named] | JobFilter) -> Request[list[Answer]]:
        """Bring finished jobs back into their queues; one answer for each."""
        return requests.retry(self.names, given.which(jobs))

    @transactional
    def purge_jobs_ex(self, jobs: Iterable[Named] | JobFilter) -> Request[list[Answer]]:
        """Delete jobs that are not running; one answer for each."""
        return requests.purge(self.names, given.which(jobs))

    @transactional
    def complete_ex(self, job: QueuedJob, result: Any = None) -> Request[None]:
        """Settle the running *job* as succeeded, together with what this transaction writes.

        So that happens exactly once: if the transaction is not committed, the job goes on or is
        run again. Raises `LeaseLost` if another attempt may be running: roll back then.
        """
        return requests.complete(self.names, job, result)

    @transactional
    def notify_ex(self, name: str, subject: str = "") -> Request[None]:
        """Send a hint of your own to all workers, when the transaction is committed."""
        return requests.tell(given.own_hint(name, subject))
