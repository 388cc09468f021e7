"""The same calls within a transaction of the caller's: what they did is committed with the rest."""

import abc
from collections.abc import Awaitable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from chancy_core import given
from chancy_core.codec import shown
from chancy_core.errors import InvalidValue
from chancy_core.given import Named, Pushable, Which, check_resume, identities, identity
from chancy_core.job import QueuedJob, Reference
from chancy_core.queue import Queue
from chancy_core.statement import Names, Statement
from chancy_core.transaction import is_async, within

if TYPE_CHECKING:
    import psycopg

    from chancy_core.filter import Answer
    from chancy_core.fitting import Fitting
    from chancy_core.plugins import Plugins
    from chancy_core.store.carrying import Request

    Sync = psycopg.Connection[Any] | psycopg.Cursor[Any]
    Async = psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any]

T = TypeVar("T")


class Within(abc.ABC):
    """The calls named `…_ex`; a part of `Chancy`, which need not be open for them.

    Each takes the caller's connection or cursor first. On a synchronous one it answers, on an
    asynchronous one its answer is awaited. Nothing is committed here, and the caller's cursor and
    row factory are left alone.
    """

    names: Names
    notifications: bool
    #: The queues that were declared here.
    fitting: "Fitting"

    @property
    @abc.abstractmethod
    def plugins(self) -> "Plugins":
        """The plugins of the application."""

    @overload
    def push_ex(
        self, conn: "Sync", job: Pushable, *, wake: Literal["poll", "notify"] = "poll"
    ) -> Reference: ...
    @overload
    def push_ex(
        self, conn: "Async", job: Pushable, *, wake: Literal["poll", "notify"] = "poll"
    ) -> Awaitable[Reference]: ...
    def push_ex(
        self, conn: "Sync | Async", job: Pushable, *, wake: Literal["poll", "notify"] = "poll"
    ) -> Any:
        """Store a job in the caller's transaction: rolled back, it never was.

        Workers find it by polling; with `wake="notify"` they are told at the commit, which takes a
        lock of the whole database for a moment. Raises what `push` does.
        """
        asked = self.plugins.with_meta([given.job(job)])

        def first() -> "Request[Reference]":
            return (yield from self.fitting.push(self.names, asked))[0]

        return within(conn, first(), self.names, tell=self._tells(wake))

    @overload
    def push_many_ex(
        self, conn: "Sync", jobs: Iterable[Pushable], *, wake: Literal["poll", "notify"] = "poll"
    ) -> list[Reference]: ...
    @overload
    def push_many_ex(
        self, conn: "Async", jobs: Iterable[Pushable], *, wake: Literal["poll", "notify"] = "poll"
    ) -> Awaitable[list[Reference]]: ...
    def push_many_ex(
        self,
        conn: "Sync | Async",
        jobs: Iterable[Pushable],
        *,
        wake: Literal["poll", "notify"] = "poll",
    ) -> Any:
        """Store jobs in the caller's transaction; answers their references in this order.

        They are taken and sent two thousand at a time: after an error, roll back.
        """
        batches = given.batches(jobs, given.BATCH)

        def all_() -> "Request[list[Reference]]":
            references: list[Reference] = []
            for batch in batches:
                asked = self.plugins.with_meta(batch)
                references += yield from self.fitting.push(self.names, asked)
            return references

        return within(conn, all_(), self.names, tell=self._tells(wake))

    def _tells(self, wake: str) -> bool:
        if wake not in {"poll", "notify"}:
            raise InvalidValue(f'wake must be "poll" or "notify", not {shown(wake)}')
        return self.notifications and wake == "notify"

    def _change(self, conn: "Sync | Async", request: "Request[Any]") -> Any:
        """Carry out what is rare, and always told."""
        return within(conn, request, self.names, tell=self.notifications)

    @overload
    def declare_ex(
        self, conn: "Sync", queue: Queue, *, upsert: bool = False, check: bool = True
    ) -> Queue: ...
    @overload
    def declare_ex(
        self, conn: "Async", queue: Queue, *, upsert: bool = False, check: bool = True
    ) -> Awaitable[Queue]: ...
    def declare_ex(
        self, conn: "Sync | Async", queue: Queue, *, upsert: bool = False, check: bool = True
    ) -> Any:
        """Store a queue's settings in the caller's transaction, as `declare` does."""
        from chancy_core.installed import check_queue, check_queue_aside, find_executor
        from chancy_core.store import requests

        if check and is_async(conn):
            find_executor(queue)

            async def checked() -> Queue:
                await check_queue_aside(queue)
                declared = requests.declare(self.names, queue, upsert=upsert)
                stored: Queue = await self._change(conn, declared)
                return stored

            return checked()
        if check:
            check_queue(queue)
        return self._change(conn, requests.declare(self.names, queue, upsert=upsert))

    @overload
    def run_ex(self, conn: "Sync", *statements: Statement[Any]) -> list[Any]: ...
    @overload
    def run_ex(self, conn: "Async", *statements: Statement[Any]) -> Awaitable[list[Any]]: ...
    def run_ex(self, conn: "Sync | Async", *statements: Statement[Any]) -> Any:
        """Run statements of a plugin's in the caller's transaction; answers what each reads.

        Each is read before the next is run. After an error, roll back.
        """

        def all_() -> "Request[list[Any]]":
            answers: list[Any] = []
            for statement in statements:
                answers += [(yield statement)]
            return answers

        return within(conn, all_(), self.names, tell=False)

    @overload
    def get_queue_ex(self, conn: "Sync", name: str) -> Queue: ...
    @overload
    def get_queue_ex(self, conn: "Async", name: str) -> Awaitable[Queue]: ...
    def get_queue_ex(self, conn: "Sync | Async", name: str) -> Any:
        """Return a queue's settings as the caller's transaction sees them."""
        from chancy_core.store import requests

        return self._change(conn, requests.get_queue(self.names, name))

    @overload
    def get_all_queues_ex(self, conn: "Sync") -> list[Queue]: ...
    @overload
    def get_all_queues_ex(self, conn: "Async") -> Awaitable[list[Queue]]: ...
    def get_all_queues_ex(self, conn: "Sync | Async") -> Any:
        """Return all queues, by name, as the caller's transaction sees them."""
        from chancy_core.store import requests, statements

        return self._change(conn, requests.one(statements.queues(self.names)))

    @overload
    def pause_queue_ex(
        self, conn: "Sync", name: str, *, resume_at: datetime | timedelta | None = None
    ) -> None: ...
    @overload
    def pause_queue_ex(
        self, conn: "Async", name: str, *, resume_at: datetime | timedelta | None = None
    ) -> Awaitable[None]: ...
    def pause_queue_ex(
        self, conn: "Sync | Async", name: str, *, resume_at: datetime | timedelta | None = None
    ) -> Any:
        """Pause a queue in the caller's transaction, as `pause_queue` does."""
        from chancy_core.store import requests

        check_resume(resume_at)
        return self._change(conn, requests.pause_queue(self.names, name, resume_at))

    @overload
    def resume_queue_ex(self, conn: "Sync", name: str) -> None: ...
    @overload
    def resume_queue_ex(self, conn: "Async", name: str) -> Awaitable[None]: ...
    def resume_queue_ex(self, conn: "Sync | Async", name: str) -> Any:
        """Make a queue active in the caller's transaction."""
        from chancy_core.store import requests

        return self._change(conn, requests.resume_queue(self.names, name))

    @overload
    def delete_queue_ex(self, conn: "Sync", name: str, *, purge_jobs: bool = True) -> int: ...
    @overload
    def delete_queue_ex(
        self, conn: "Async", name: str, *, purge_jobs: bool = True
    ) -> Awaitable[int]: ...
    def delete_queue_ex(self, conn: "Sync | Async", name: str, *, purge_jobs: bool = True) -> Any:
        """Delete a queue in the caller's transaction, as `delete_queue` does."""
        from chancy_core.store import requests

        return self._change(conn, requests.delete_queue(self.names, name, purge_jobs=purge_jobs))

    @overload
    def get_job_ex(self, conn: "Sync", reference: Named) -> QueuedJob: ...
    @overload
    def get_job_ex(self, conn: "Async", reference: Named) -> Awaitable[QueuedJob]: ...
    def get_job_ex(self, conn: "Sync | Async", reference: Named) -> Any:
        """Return a job as the caller's transaction sees it. Raises `JobNotFound`."""
        from chancy_core.store import requests

        return self._change(conn, requests.get_job(self.names, identity(reference)))

    @overload
    def cancel_job_ex(self, conn: "Sync", reference: Named) -> "Answer": ...
    @overload
    def cancel_job_ex(self, conn: "Async", reference: Named) -> "Awaitable[Answer]": ...
    def cancel_job_ex(self, conn: "Sync | Async", reference: Named) -> Any:
        """Cancel a job in the caller's transaction, as `cancel_job` does."""
        from chancy_core.store import requests

        ids = [identity(reference)]

        def first() -> "Request[Answer]":
            return (yield from requests.cancel(self.names, ids))[0]

        return self._change(conn, first())

    @overload
    def notify_ex(self, conn: "Sync", name: str, subject: str = "") -> None: ...
    @overload
    def notify_ex(self, conn: "Async", name: str, subject: str = "") -> Awaitable[None]: ...
    def notify_ex(self, conn: "Sync | Async", name: str, subject: str = "") -> Any:
        """Send a hint of your own to all workers at the commit, as `notify` does."""
        from chancy_core.store import requests

        return self._change(conn, requests.tell(given.own_hint(name, subject)))

    @overload
    def cancel_jobs_ex(self, conn: "Sync", which: Which) -> "list[Answer]": ...
    @overload
    def cancel_jobs_ex(self, conn: "Async", which: Which) -> "Awaitable[list[Answer]]": ...
    def cancel_jobs_ex(self, conn: "Sync | Async", which: Which) -> Any:
        """Cancel jobs in the caller's transaction, as `cancel_jobs` does."""
        from chancy_core.store import requests

        return self._change(conn, requests.cancel(self.names, identities(which)))

    @overload
    def retry_jobs_ex(self, conn: "Sync", which: Which) -> "list[Answer]": ...
    @overload
    def retry_jobs_ex(self, conn: "Async", which: Which) -> "Awaitable[list[Answer]]": ...
    def retry_jobs_ex(self, conn: "Sync | Async", which: Which) -> Any:
        """Run jobs once more from the caller's transaction on, as `retry_jobs` does."""
        from chancy_core.store import requests

        return self._change(conn, requests.retry(self.names, identities(which)))

    @overload
    def purge_jobs_ex(self, conn: "Sync", which: Which) -> "list[Answer]": ...
    @overload
    def purge_jobs_ex(self, conn: "Async", which: Which) -> "Awaitable[list[Answer]]": ...
    def purge_jobs_ex(self, conn: "Sync | Async", which: Which) -> Any:
        """Delete jobs in the caller's transaction, as `purge_jobs` does."""
        from chancy_core.store import requests

        return self._change(conn, requests.purge(self.names, identities(which)))

    @overload
    def complete_ex(self, conn: "Sync", job: QueuedJob, result: Any = None) -> None: ...
    @overload
    def complete_ex(self, conn: "Async", job: QueuedJob, result: Any = None) -> Awaitable[None]: ...
    def complete_ex(self, conn: "Sync | Async", job: QueuedJob, result: Any = None) -> Any:
        """Settle the running *job* as succeeded in the caller's transaction.

        What is written in that transaction happens exactly once: it is committed with the job's
        end, or not at all. Called by the job itself, with the `QueuedJob` that was injected; what
        it returns later does not count. Raises `LeaseLost` when the job is no longer this
        attempt's: the transaction must then be rolled back.
        """
        from chancy_core.store import requests

        return self._change(conn, requests.complete(self.names, job, result))
