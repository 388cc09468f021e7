"""The synchronous face of `Chancy`: twins for threads, on a small pool of their own."""

import abc
import logging
import os
import time
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self, TypeVar
from uuid import UUID

from chancy_core import given, registry
from chancy_core.door import Door, blocking, twin
from chancy_core.given import (
    BATCH,
    Follower,
    Named,
    Pushable,
    Which,
    check_resume,
    identities,
    identity,
    page,
    several,
)
from chancy_core.job import Job, QueuedJob, Reference
from chancy_core.queue import Queue
from chancy_core.statement import Names, Statement

if TYPE_CHECKING:
    from chancy_core.filter import Answer, JobFilter, Page
    from chancy_core.fitting import Fitting
    from chancy_core.hint import Hint
    from chancy_core.plugins import Plugins
    from chancy_core.postgres.threaded import ThreadedPool
    from chancy_core.store.carrying import Request
    from chancy_core.store.roster import WorkerInfo

T = TypeVar("T")

log = logging.getLogger("chancy.sync")


class Twins(abc.ABC):
    """What can be called from any thread on which no event loop runs, opened or not.

    Each `sync_` twin does what the coroutine without `sync_` does, and raises `ChancyError` on
    an event loop's own thread. `with chancy:` closes the connections at its end; without it they
    are opened at the first use and kept until `sync_close`. After `os.fork` the child has its own.
    """

    names: Names
    notifications: bool
    prepared_statements: bool | None
    follower: Follower | None
    fitting: "Fitting"
    _sizes: tuple[int, int]

    #: By process: what `fork` copied is left alone, its locks too, since a thread that is not
    #: there any more may have held them.
    _doors: dict[int, Door]

    @property
    @abc.abstractmethod
    def plugins(self) -> "Plugins":
        """The plugins of the application."""

    @abc.abstractmethod
    def _find_server(self, opening: ExitStack) -> str:
        """Return where the database is; what has to be let go of is left to *opening*."""

    @property
    def _door(self) -> Door:
        return self._doors.setdefault(os.getpid(), Door())

    def _open(self) -> "tuple[ThreadedPool, str]":
        registry.check_loaded()
        self.plugins  # noqa: B018 - they may set the application up
        return self._door.open(self._find_server, self._sizes[1], self.prepared_statements)

    def _address(self) -> str:
        return self._open()[1]

    @blocking("async with chancy")
    def __enter__(self) -> Self:
        with self._open()[0].connection():
            return self

    def __exit__(self, *exc: object) -> None:
        self._door.close()

    @blocking("leave `async with chancy`")
    def sync_close(self) -> None:
        """Close the connections of the synchronous twins; the next call opens them again."""
        self._door.close()

    def _run_sync(self, statement: Statement[T]) -> T:
        from chancy_core.store.running import persist_sync
        from chancy_core.transaction import run_sync

        with self._open()[0].connection() as conn:
            return persist_sync(lambda: run_sync(conn, statement))

    def ask_sync(self, request: "Request[T]") -> T:
        """Carry out a request of the store's. Blocks; refused nowhere, it is no twin."""
        from chancy_core.store import carrying, statements
        from chancy_core.store.store import TRANSIENT

        hints: dict[Hint, None] = {}
        answer = carrying.carry_out_sync(request, self._run_sync, hints.setdefault)
        if hints and self.notifications:
            try:
                self._run_sync(statements.notify(self.names, hints, alone=True))
            except TRANSIENT as exc:
                log.info("hints were lost, workers will find out by polling: %s", exc)
        return answer

    @twin
    def sync_declare(self, queue: Queue, *, upsert: bool = False, check: bool = True) -> Queue:
        """Store a queue's settings, and return what is stored."""
        from chancy_core.installed import check_queue
        from chancy_core.store import requests

        if check:
            check_queue(queue)
        declared = requests.declare(self.names, queue, upsert=upsert)
        return self.fitting.learn(self.ask_sync(declared))

    @twin
    def sync_get_queue(self, name: str) -> Queue:
        """Return a queue as it is stored."""
        from chancy_core.store import requests

        return self.ask_sync(requests.get_queue(self.names, name))

    @twin
    def sync_get_all_queues(self) -> list[Queue]:
        """Return all queues, by name."""
        from chancy_core.store import requests, statements

        return self.ask_sync(requests.one(statements.queues(self.names)))

    @twin
    def sync_pause_queue(self, name: str, *, resume_at: datetime | timedelta | None = None) -> None:
        """Have no more jobs of a queue begun."""
        from chancy_core.store import requests

        check_resume(resume_at)
        self.ask_sync(requests.pause_queue(self.names, name, resume_at))

    @twin
    def sync_resume_queue(self, name: str) -> None:
        """Make a paused queue active."""
        from chancy_core.store import requests

        self.ask_sync(requests.resume_queue(self.names, name))

    @twin
    def sync_delete_queue(self, name: str, *, purge_jobs: bool = True) -> int:
        """Delete a queue; answers how many waiting jobs went with it."""
        from chancy_core.store import requests

        return self.ask_sync(requests.delete_queue(self.names, name, purge_jobs=purge_jobs))

    @twin
    def sync_get_all_workers(self) -> "list[WorkerInfo]":
        """Return the workers that have a row."""
        from chancy_core.store import requests, statements

        return self.ask_sync(requests.one(statements.workers(self.names)))

    @twin
    def sync_push(self, job: Pushable) -> Reference:
        """Store a job."""
        return self._push_sync([given.job(job)])[0]

    @twin
    def sync_push_many(
        self, jobs: Iterable[Pushable], *, batch_size: int = BATCH
    ) -> list[Reference]:
        """Store jobs, *batch_size* in one transaction; answers their references in this order."""
        return [ref for batch in given.batches(jobs, batch_size) for ref in self._push_sync(batch)]

    def _push_sync(self, batch: list[Job]) -> list[Reference]:
        from chancy_core.store import pushing

        batch = self.plugins.with_meta(batch)
        references = self.ask_sync(self.fitting.push(self.names, batch, pushing.store_surely))
        self.plugins.pushed(references, batch)
        if self.follower is not None:
            self.follower.follow_sync(references)
        return references

    @twin
    def sync_get_job(self, reference: Named) -> QueuedJob:
        """Return a job, live or finished."""
        from chancy_core.store import requests

        return self.ask_sync(requests.get_job(self.names, identity(reference)))

    @twin
    def sync_get_jobs(self, references: Iterable[Named]) -> list[QueuedJob]:
        """Return those of these jobs that exist, in no order."""
        from chancy_core.store import requests

        return self.ask_sync(requests.get_jobs(self.names, several(references)))

    @twin
    def sync_list_jobs(
        self, which: "JobFilter | None" = None, *, limit: int = 100, before: UUID | None = None
    ) -> "Page":
        """Return a page of jobs, live and finished, the newest first."""
        from chancy_core.store import requests

        wanted = page(which, limit)
        return self.ask_sync(requests.list_jobs(self.names, wanted, limit, before))

    @twin
    def sync_cancel_job(self, reference: Named) -> "Answer":
        """Cancel a job."""
        from chancy_core.store import requests

        return self.ask_sync(requests.cancel(self.names, [identity(reference)]))[0]

    @twin
    def sync_cancel_jobs(self, which: Which) -> "list[Answer]":
        """Cancel jobs; one answer for each."""
        from chancy_core.store import requests

        return self.ask_sync(requests.cancel(self.names, identities(which)))

    @twin
    def sync_retry_jobs(self, which: Which) -> "list[Answer]":
        """Run jobs once more that are finished or wait for later; one answer for each."""
        from chancy_core.store import requests

        return self.ask_sync(requests.retry(self.names, identities(which)))

    @twin
    def sync_purge_jobs(self, which: Which) -> "list[Answer]":
        """Delete jobs that are not running; one answer for each."""
        from chancy_core.store import requests

        return self.ask_sync(requests.purge(self.names, identities(which)))

    @twin
    def sync_wait_for_job(
        self, reference: Named, *, timeout: float | None = None, states: Iterable[str] = ()
    ) -> QueuedJob:
        """Return the job once it is finished, or in one of *states*."""
        return self._wait_sync([identity(reference)], timeout, states)[0]

    @twin
    def sync_wait_for_jobs(
        self,
        references: Iterable[Named],
        *,
        timeout: float | None = None,
        states: Iterable[str] = (),
    ) -> list[QueuedJob]:
        """Return these jobs, in this order, once each is finished, or in one of *states*."""
        return self._wait_sync(several(references), timeout, states)

    def _wait_sync(
        self, ids: list[UUID], timeout: float | None, states: Iterable[str]
    ) -> list[QueuedJob]:
        from chancy_core.postgres import PoolClosed
        from chancy_core.store import requests
        from chancy_core.store.store import TRANSIENT, backoff
        from chancy_core.waiting import DEAF, Wanted

        wanted, tries = Wanted(ids, given.states(states)), 0
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while wanted.missing:
            try:
                found = self.ask_sync(requests.get_jobs(self.names, wanted.missing))
            except PoolClosed:
                raise
            except TRANSIENT as exc:
                tries += 1
                log.warning("waiting for the database: %s", exc)
                pause = backoff(tries)
            else:
                tries = 0
                if wanted.take(wanted.missing, found, DEAF):
                    break
                pause = wanted.pause
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{len(wanted.missing)} jobs had not ended after {timeout:g} s")
            time.sleep(min(pause, left))
        return wanted.answer()

    @twin
    def sync_notify(self, name: str, subject: str = "") -> None:
        """Send a hint of your own to all workers."""
        from chancy_core.store import requests

        self.ask_sync(requests.tell(given.own_hint(name, subject)))
