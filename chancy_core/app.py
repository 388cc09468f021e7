"""`Chancy`: the application's side of the queue. Declare queues, push jobs, wait for them."""

import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar
from uuid import UUID

import anyio
from anyio import to_thread

from chancy_core import discovery
from chancy_core.calls import Calls
from chancy_core.errors import ChancyError, JobNotFound
from chancy_core.job import Job, QueuedJob, Reference
from chancy_core.queue import Queue
from chancy_core.statement import Names
from chancy_core.within import Within, checked

if TYPE_CHECKING:
    from chancy_core.hint import Hint
    from chancy_core.migrate import Migrator
    from chancy_core.notify import Notifier
    from chancy_core.store.requests import Request
    from chancy_core.store.store import Store

T = TypeVar("T")

log = logging.getLogger("chancy.app")

#: How many jobs one statement pushes.
BATCH = 1000
#: Seconds that the server may take to accept the first connection.
OPENING = 10.0


class Chancy(Calls, Within):
    """One installation of the queue: a database, a schema, and a prefix of all names in it.

        chancy = Chancy(dsn="postgresql://localhost/postgres")
        async with chancy:
            await chancy.migrate()
            await chancy.declare(Queue("mail", concurrency=10))
            reference = await chancy.push(welcome.bind(address="ada@example.org"))

    *dsn* is a URL, a libpq connection string or one entry of Django's `DATABASES`; without one,
    `CHANCY_DSN` and then `DATABASE_URL` are used, and with neither an embedded server is started
    or joined. *jobs* names the modules that register jobs; `CHANCY_JOBS` adds to them.
    *listen_dsn* is for notifications where *dsn* leads to a pooler that cannot carry them.

    Opening it raises `InvalidValue` for a DSN that makes no sense, and `PoolExhausted`, with the
    server's own words, if there is no connection within ten seconds.
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
    ) -> None:
        self.names = Names(schema, prefix)
        self.jobs = (*jobs, *filter(None, os.environ.get("CHANCY_JOBS", "").split(",")))
        self.notifications = notifications
        self._dsn = dsn
        self._listen_dsn = listen_dsn
        self._sizes = (min_connections, max_connections)
        self._conninfo: str | None = None
        self._store: Store | None = None
        self._notifier: Notifier | None = None
        self._block = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._store is not None:
            raise ChancyError("this Chancy is open already; one `async with` at a time")
        from chancy_core.notify import Notifier
        from chancy_core.postgres import Pool
        from chancy_core.store.store import Store

        async with AsyncExitStack() as opening:
            self._conninfo = await self._find_server(opening)
            pool = await opening.enter_async_context(
                Pool(self._conninfo, min_size=self._sizes[0], max_size=self._sizes[1])
            )
            await pool.ready(OPENING)
            self._store = Store(pool, self.names)
            self._notifier = await opening.enter_async_context(Notifier(self._store))
            opening.callback(self._forget)
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
        self._store = self._notifier = self._conninfo = None

    async def _find_server(self, opening: AsyncExitStack) -> str:
        dsn = self._dsn or os.environ.get("CHANCY_DSN") or os.environ.get("DATABASE_URL")
        if dsn:
            return _conninfo(dsn)
        from chancy_core import embedded

        lease = await to_thread.run_sync(embedded.join)
        opening.push_async_callback(to_thread.run_sync, lease.close)
        return lease.dsn

    @property
    def store(self) -> "Store":
        """The tables of this installation. Raises `ChancyError` outside `async with chancy`."""
        if self._store is None:
            raise ChancyError("not open: use this Chancy inside `async with chancy:`")
        return self._store

    @property
    def conninfo(self) -> str:
        """How to connect to the database, as libpq reads it."""
        if self._conninfo is None:
            raise ChancyError("not open: use this Chancy inside `async with chancy:`")
        return self._conninfo

    @property
    def listen_conninfo(self) -> str:
        """How to connect to the database for notifications."""
        return _conninfo(self._listen_dsn) if self._listen_dsn else self.conninfo

    def _migrator(self) -> "Migrator":
        from chancy_core.migrate import Line, Migrator

        group = "chancy.migrations"
        lines = {name: discovery.find(group, name) for name in discovery.offers(group)}
        return Migrator(
            self.names,
            {name: Line.from_package(name, entry.value) for name, entry in lines.items()},
        )

    async def migrate(self, to: Mapping[str, int] | None = None) -> None:
        """Bring the schema to the newest version, or single lines to the version that *to* names.

        Safe to be called by any number of processes at once. Raises `MigrationError`.
        """
        async with self.store.pool.connection() as conn:
            await self._migrator().migrate(conn, to)

    async def check(self) -> None:
        """Raise `MigrationsNeeded` if the schema does not fit this code."""
        async with self.store.pool.connection() as conn:
            await self._migrator().check(conn)

    async def ask(self, request: "Request[T]") -> "T":
        """Carry out a request of the store's."""
        return await self.store.ask(request, self.hint)

    async def declare(self, queue: Queue, *, upsert: bool = False, check: bool = True) -> Queue:
        """Store a queue's settings, and return what is stored.

        A queue that exists keeps its settings unless *upsert*; its `state` and `resume_at` change
        only if a state is given. Raises `UnknownName` if no installed package offers its executor,
        and `InvalidValue` if its options do not fit; without *check* it is stored all the same, and
        workers without that executor leave the queue alone, loudly.
        """
        from chancy_core.installed import find_executor
        from chancy_core.store import requests

        if check:
            find_executor(queue)
        return await self.ask(requests.declare(self.names, queue, upsert=upsert))

    async def push(self, job: Job) -> Reference:
        """Store a job, to be run by a worker that runs its queue.

        If a live job holds its unique key, nothing is stored and that job is referred to.
        Raises `InvalidValue` for what cannot be stored.
        """
        return (await self.push_many([job]))[0]

    async def push_many(self, jobs: Iterable[Job]) -> list[Reference]:
        """Store jobs, a thousand in one transaction, and return their references in this order."""
        from chancy_core.store import requests

        jobs = checked(jobs)
        references: list[Reference] = []
        for start in range(0, len(jobs), BATCH):
            batch = jobs[start : start + BATCH]
            references += await self.ask(requests.push(self.names, batch, requests.store_surely))
        return references

    def hint(self, hint: "Hint") -> None:
        """Tell workers, or those who wait for a job, that something has happened.

        A hint only: it may be lost, and is sent soon, not at once.
        """
        if self.notifications and self._notifier is not None:
            self._notifier.send(hint)

    async def get_job(self, reference: Reference) -> QueuedJob:
        """Return a job, live or finished.

        Raises `JobNotFound` if there is none of this identity (any more).
        """
        found = await self.get_jobs([reference])
        if not found:
            raise JobNotFound(f"no job, live or finished, is {reference}")
        return found[0]

    async def get_jobs(self, references: Iterable[Reference]) -> list[QueuedJob]:
        """Return those of these jobs that exist, in no order."""
        ids = [reference.id for reference in references]
        if not ids:
            return []
        from chancy_core.store import statements

        return await self.store.run(statements.jobs_by_id(self.names, ids))

    async def wait_for_job(
        self, reference: Reference, *, timeout: float | None = None
    ) -> QueuedJob:
        """Return the job once it is finished, however it ended.

        Raises `TimeoutError` after *timeout* seconds, `JobNotFound` if there is no such job.
        """
        return (await self.wait_for_jobs([reference], timeout=timeout))[0]

    async def wait_for_jobs(
        self, references: Iterable[Reference], *, timeout: float | None = None
    ) -> list[QueuedJob]:
        """Return these jobs, in this order, once all are finished.

        Raises `TimeoutError` after *timeout* seconds, `JobNotFound` if one does not exist. A
        database that goes away meanwhile is waited for.
        """
        from chancy_core.store.store import TRANSIENT, backoff

        references = list(references)
        finished: dict[UUID, QueuedJob] = {}
        pause, tries = 0.005, 0
        with anyio.fail_after(timeout):
            while True:
                missing = [ref for ref in references if ref.id not in finished]
                try:
                    found = {job.id: job for job in await self.get_jobs(missing)}
                except TRANSIENT as exc:
                    tries += 1
                    log.warning("waiting for the database: %s", exc)
                    await anyio.sleep(backoff(tries))
                    continue
                tries = 0
                for reference in missing:
                    if reference.id not in found:
                        raise JobNotFound(f"no job, live or finished, is {reference}")
                before = len(finished)
                finished |= {id_: job for id_, job in found.items() if job.state.finished}
                if len(finished) == len({ref.id for ref in references}):
                    return [finished[ref.id] for ref in references]
                pause = 0.005 if len(finished) > before else min(pause * 1.5, 0.25)
                await anyio.sleep(pause)


def _conninfo(dsn: str | Mapping[str, Any]) -> str:
    from chancy_core.postgres.dsn import conninfo

    return conninfo(dsn)
