"""`Chancy`: the application's side of the queue, as it is made, opened and closed.

What can be asked of it stands in three rooms, by where it is carried out: `calls` (coroutines on
the pool), `within` (a transaction of the caller's), `sync` (threads). `ranking` has all three of
those that change priorities; `schema` brings the tables up to date.
"""

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio

from chancy_core import registry
from chancy_core.codec import shown
from chancy_core.errors import ChancyError, InvalidValue
from chancy_core.fitting import Fitting
from chancy_core.given import Follower
from chancy_core.ranking import Ranking, RankingTwins, RankingWithin
from chancy_core.schema import Schema
from chancy_core.statement import Names

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from chancy_core.hint import Hint
    from chancy_core.notify import Notifier
    from chancy_core.plugins import Plugins
    from chancy_core.store.carrying import Request
    from chancy_core.store.store import Store
    from chancy_core.waiting import Waiting

T = TypeVar("T")

#: Seconds that the server may take to accept the first connection.
OPENING = 10.0


class Chancy(Ranking, RankingWithin, RankingTwins, Schema):
    """One installation of the queue: a database, a schema, and a prefix of all names in it.

        chancy = Chancy(dsn="postgresql://localhost/postgres")
        async with chancy:
            await chancy.migrate()
            await chancy.declare(Queue("mail", concurrency=10))
            reference = await chancy.push(welcome.bind(address="ada@example.org"))

    *dsn* is a URL, a libpq connection string or one entry of Django's `DATABASES`; without one,
    `CHANCY_DSN` and then `DATABASE_URL` are used, and with neither an embedded server is started
    or joined. *jobs* names the modules that register jobs; `CHANCY_JOBS` adds to them. One of
    them in which nothing is decorated with `@job` offers its own public functions.
    *listen_dsn* is for notifications where *dsn* leads to a pooler that cannot carry them; what is
    repeated is prepared by the server unless a pooler stands between, or as *prepared_statements*
    says.
    *plugins* are used beside those that are installed: modules, objects, or `"acme.hooks:plugin"`;
    what is given by name or as a module is there in child processes, too. A job whose worker has
    died *crash_limit* times is quarantined.

    Each coroutine has a twin for threads (`sync_push`) that needs no `async with`, and what belongs
    into a transaction of the caller's has a form that is given its connection (`push_ex`).

    Opening it raises `InvalidValue` for a DSN that makes no sense, and `PoolExhausted`, with the
    server's own words, if there is no connection within ten seconds; `ChancyError` in a child
    process that only loads the script for its jobs (`if __name__ == "__main__":` is missing there),
    or is not given the DSN of its worker.
    Making it raises `InvalidPlugin` for *plugins* that cannot be used, and `InvalidValue` for a
    *crash_limit* that is not 1 to 32,767.
    """

    def __init__(
        self,
        dsn: str | Mapping[str, Any] | None = None,
        *,
        schema: str = "public",
        prefix: str = "chancy_",
        jobs: Iterable[str] = (),
        min_connections: int = 1,
        max_connections: int = 10,
        notifications: bool = True,
        listen_dsn: str | Mapping[str, Any] | None = None,
        prepared_statements: bool | None = None,
        plugins: Iterable[Any] = (),
        crash_limit: int = 3,
    ) -> None:
        self.names = Names(schema, prefix)
        self.jobs = (*jobs, *filter(None, os.environ.get("CHANCY_JOBS", "").split(",")))
        self.notifications = notifications
        self.dsn = dsn
        self.listen_dsn = listen_dsn
        self.prepared_statements = prepared_statements
        self._sizes = (min_connections, max_connections)
        self._conninfo: str | None = None
        self._store: Store | None = None
        self._notifier: Notifier | None = None
        self._waits: Waiting | None = None
        self._doors = {}
        self.follower: Follower | None = None
        self.fitting = Fitting()
        self._block = AsyncExitStack()
        self._loading = RLock()
        self._plugins: Plugins | None = None
        self.crash_limit = crash_limit
        self._given = tuple(plugins)
        if self._given:
            self.plugins  # noqa: B018 - to refuse here what cannot be used

    @property
    def crash_limit(self) -> int:
        """How often a job's worker may die before the job is quarantined: 1 to 32,767."""
        return self._crash_limit

    @crash_limit.setter
    def crash_limit(self, limit: int) -> None:
        if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= 32_767:
            raise InvalidValue(
                f"crash_limit must be a whole number from 1 to 32,767, not {shown(limit)}"
            )
        self._crash_limit = limit

    @property
    def plugins(self) -> "Plugins":
        """The plugins of this application, which are loaded when they are first needed."""
        with self._loading:
            if self._plugins is None:
                from chancy_core.plugins import load

                self._plugins = load(self, self._given)
            return self._plugins

    async def __aenter__(self) -> Self:
        if self._store is not None:
            raise ChancyError("this Chancy is open already; one `async with` at a time")
        registry.check_loaded()
        self.plugins  # noqa: B018 - they may set it up
        from chancy_core.notify import Notifier
        from chancy_core.postgres import Pool
        from chancy_core.store.store import Store
        from chancy_core.waiting import Waiting

        async with AsyncExitStack() as opening:
            self._conninfo = await self._join_server(opening)
            opening.callback(self._forget)
            pool = await opening.enter_async_context(
                Pool(
                    self._conninfo,
                    min_size=self._sizes[0],
                    max_size=self._sizes[1],
                    prepared_statements=self.prepared_statements,
                )
            )
            await pool.ready(OPENING)
            self._store = Store(pool, self.names)
            self._notifier = Notifier(self._store)
            opening.push_async_callback(self._notifier.flush)
            tasks = await opening.enter_async_context(background())
            tasks.start_soon(self._notifier.run)
            listens = (lambda: self.listen_conninfo) if self.notifications else None
            self._waits = Waiting(self._store, tasks, self.hint, listens)
            self._block = opening.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._block.__aexit__(exc_type, exc, traceback)

    def _forget(self) -> None:
        self._store = self._notifier = self._waits = self._conninfo = None

    def _told(self) -> str | None:
        dsn = self.dsn or os.environ.get("CHANCY_DSN")
        if not dsn and (withheld := os.environ.get("CHANCY_WITHHELD")):
            raise ChancyError(
                f"no database is named: {withheld} is not given to the children of the executor "
                f"`process`; a queue whose jobs need it says so, by executor_options="
                f"{{'environment': {{{withheld!r}: None}}}}"
            )
        dsn = dsn or os.environ.get("DATABASE_URL")
        return _conninfo(dsn) if dsn else None

    async def _join_server(self, opening: AsyncExitStack) -> str:
        if told := self._told():
            return told
        from anyio import to_thread

        from chancy_core import embedded

        lease = await to_thread.run_sync(embedded.join)
        opening.push_async_callback(to_thread.run_sync, lease.close)
        return lease.dsn

    def _find_server(self, opening: ExitStack) -> str:
        if told := self._told():
            return told
        from chancy_core import embedded

        lease = embedded.join()
        opening.callback(lease.close)
        return lease.dsn

    @property
    def store(self) -> "Store":
        """The tables of this installation. Raises `ChancyError` outside `async with chancy`."""
        if self._store is None:
            raise ChancyError("not open: use this Chancy inside `async with chancy:`")
        return self._store

    @property
    def database(self) -> "Store":
        """The same, as plugins see it."""
        return self.store

    @property
    def conninfo(self) -> str:
        """How to connect to the database, as libpq reads it."""
        if self._conninfo is None:
            raise ChancyError("not open: use this Chancy inside `async with chancy:`")
        return self._conninfo

    @property
    def listen_conninfo(self) -> str:
        """How to connect to the database for notifications."""
        return _conninfo(self.listen_dsn) if self.listen_dsn else self.conninfo

    async def ask(self, request: "Request[T]") -> T:
        """Carry out a request of the store's."""
        return await self.store.ask(request, self.hint)

    @property
    def waits(self) -> "Waiting":
        """Those who wait for jobs."""
        if self._waits is None:
            raise ChancyError("not open: use this Chancy inside `async with chancy:`")
        return self._waits

    def hint(self, hint: "Hint") -> None:
        """Tell workers, or those who wait for a job, that something has happened.

        A hint only: it may be lost, and is sent soon, not at once.
        """
        if self.notifications and self._notifier is not None:
            self._notifier.send(hint)


@asynccontextmanager
async def background() -> "AsyncIterator[TaskGroup]":
    """Run tasks until the block ends; the block's own error passes as it is, in no group."""
    error = None
    async with anyio.create_task_group() as tasks:
        try:
            yield tasks
        except Exception as exc:  # noqa: BLE001 - it is raised below
            error = exc
        finally:
            tasks.cancel_scope.cancel()
    if error is not None:
        raise error


def _conninfo(dsn: str | Mapping[str, Any]) -> str:
    from chancy_core.postgres.dsn import conninfo

    return conninfo(dsn)
