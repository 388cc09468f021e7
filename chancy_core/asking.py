"""The asynchronous face of `Chancy`: each question a coroutine, on the pool of the open block."""

from collections.abc import AsyncIterable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from chancy_core import given
from chancy_core.bulk import Pushing
from chancy_core.filter import Answer, JobFilter, Page
from chancy_core.given import Named, Pushable
from chancy_core.job import Job, QueuedJob, Reference
from chancy_core.queue import Queue
from chancy_core.statement import Names
from chancy_core.store import requests, statements
from chancy_core.store.rows import WorkerInfo
from chancy_core.store.steps import Request

if TYPE_CHECKING:
    from chancy_core.waiting import Waiting

T = TypeVar("T")

#: Every job that there is.
ALL = JobFilter()


class Asking:
    """What can be awaited inside of `async with chancy`."""

    names: Names

    async def _ask(self, request: Request[T]) -> T:
        """Carry out a request on the pool."""
        raise NotImplementedError

    @property
    def _waiting(self) -> "Waiting":
        raise NotImplementedError

    # -- queues ------------------------------------------------------------------------------------

    async def declare(self, queue: Queue, *, upsert: bool = False, check: bool = True) -> Queue:
        """Store a queue's settings, and return what is stored.

        A queue that exists keeps its settings unless *upsert*; its `state` and `resume_at` change
        only if a state is given. Raises `UnknownName` if no installed package offers its executor,
        and `InvalidValue` if its options do not fit; without *check* it is stored all the same, and
        workers without that executor leave the queue alone, loudly.
        """
        queue = given.queue(queue, check=check)
        return await self._ask(requests.declare(self.names, queue, upsert=upsert))

    async def get_queue(self, name: str) -> Queue:
        """Return a queue as it is stored. Raises `QueueNotFound`."""
        return await self._ask(requests.get_queue(self.names, name))

    async def get_all_queues(self) -> list[Queue]:
        """Return all queues, by name."""
        return await self._ask(requests.one(statements.queues(self.names)))

    async def pause_queue(
        self, name: str, *, resume_at: datetime | timedelta | None = None
    ) -> None:
        """Let no worker begin jobs of a queue; what runs goes on.

        At *resume_at*, an aware datetime or a timedelta from now, it becomes active by itself.
        Raises `QueueNotFound`.
        """
        resume = given.resumption(resume_at)
        await self._ask(requests.pause_queue(self.names, name, resume))

    async def resume_queue(self, name: str) -> None:
        """Make a paused queue active. Raises `QueueNotFound`."""
        await self._ask(requests.resume_queue(self.names, name))

    async def delete_queue(self, name: str, *, purge_jobs: bool = True) -> int:
        """Delete a queue; answers how many waiting jobs went with it, none without *purge_jobs*.

        What runs comes to its end. Raises `QueueNotFound`.
        """
        return await self._ask(requests.delete_queue(self.names, name, purge_jobs=purge_jobs))

    async def get_all_workers(self) -> list[WorkerInfo]:
        """Return the workers that have a row, those that were declared dead among them."""
        return await self._ask(requests.one(statements.workers(self.names)))

    # -- pushing -----------------------------------------------------------------------------------

    async def push(self, job: Pushable) -> Reference:
        """Store a job, to be run by a worker that runs its queue; `my_job` means `my_job.bind()`.

        If a live job holds its unique key, nothing is stored and that job is referred to.
        Raises `InvalidValue` for what cannot be stored.
        """
        return (await self._push([given.job(job)]))[0]

    async def _push(self, batch: list[Job]) -> list[Reference]:
        return await self._ask(requests.push(self.names, batch, requests.store_surely))

    def push_many(
        self,
        jobs: Iterable[Pushable] | AsyncIterable[Pushable],
        *,
        batch_size: int = requests.BATCH,
    ) -> Pushing:
        """Store jobs, *batch_size* in one transaction: to be awaited, or iterated over.

            references = await chancy.push_many(jobs)             # of all, in this order
            async for references in chancy.push_many(jobs): ...   # of each batch, once committed

        Jobs are taken a batch at a time, so that they need not fit into memory. After an error,
        the batches before it are stored.
        """
        return Pushing(jobs, batch_size, self._push)

    # -- jobs that are there -----------------------------------------------------------------------

    async def get_job(self, reference: Named) -> QueuedJob:
        """Return a job, live or finished.

        Raises `JobNotFound` if there is none of this identity (any more).
        """
        return await self._ask(requests.get_job(self.names, given.id_of(reference)))

    async def get_jobs(self, references: Iterable[Named]) -> list[QueuedJob]:
        """Return those of these jobs that exist, in no order."""
        return await self._ask(requests.get_jobs(self.names, given.ids_of(references)))

    async def list_jobs(
        self,
        filter: JobFilter = ALL,  # noqa: A002 - what it is called wherever jobs are listed
        *,
        limit: int = 100,
        before: Named | None = None,
    ) -> Page:
        """Return a page of the jobs that a filter lets pass, the newest first.

        For the next page, give this one's `next` as *before*.
        """
        wanted = given.page(filter, limit, before)
        return await self._ask(requests.list_jobs(self.names, *wanted))

    async def cancel_job(self, reference: Named) -> Answer:
        """Cancel a job: at once if it waits; if it runs, its worker is told to end it.

        The answer says which (`cancelled`, `cancelling`), or why nothing was done.
        """
        return (await self.cancel_jobs([reference]))[0]

    async def cancel_jobs(self, jobs: Iterable[Named] | JobFilter) -> list[Answer]:
        """Cancel jobs, by reference or all that a filter lets pass; one answer for each."""
        return await self._ask(requests.cancel(self.names, given.which(jobs)))

    async def retry_jobs(self, jobs: Iterable[Named] | JobFilter) -> list[Answer]:
        """Bring finished jobs back into their queues, with fresh counters; one answer for each."""
        return await self._ask(requests.retry(self.names, given.which(jobs)))

    async def purge_jobs(self, jobs: Iterable[Named] | JobFilter) -> list[Answer]:
        """Delete jobs that are not running, live or finished; one answer for each."""
        return await self._ask(requests.purge(self.names, given.which(jobs)))

    async def wait_for_job(self, reference: Named, *, timeout: float | None = None) -> QueuedJob:
        """Return the job once it is finished, however it ended.

        Raises `TimeoutError` after *timeout* seconds, `JobNotFound` if there is no such job.
        """
        return (await self.wait_for_jobs([reference], timeout=timeout))[0]

    async def wait_for_jobs(
        self, references: Iterable[Named], *, timeout: float | None = None
    ) -> list[QueuedJob]:
        """Return these jobs, in this order, once all are finished.

        Raises `TimeoutError` after *timeout* seconds, `JobNotFound` if one does not exist. A
        database that goes away meanwhile is waited for.
        """
        return await self._waiting.wait(given.ids_of(references), timeout)

    async def notify(self, name: str, subject: str = "") -> None:
        """Send a hint of your own to all workers: soon, once if it is given twice meanwhile.

        Its name has a dot, and does not begin with `queue.` or `job.`; both have at most 7,998
        bytes together. It may be lost. Raises `InvalidValue`.
        """
        await self._ask(requests.tell(given.own_hint(name, subject)))
