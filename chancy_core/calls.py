"""What an application asks of queues and jobs, on the pool of its open `Chancy`."""

from collections.abc import AsyncIterable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar
from uuid import UUID

from chancy_core import given
from chancy_core.bulk import Pushing
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
from chancy_core.hint import PUSHED, Hint
from chancy_core.job import Job, QueuedJob, Reference
from chancy_core.queue import Queue
from chancy_core.statement import Names, Push

if TYPE_CHECKING:
    from chancy_core.filter import Answer, JobFilter, Page
    from chancy_core.fitting import Fitting
    from chancy_core.plugins import Plugins
    from chancy_core.store.carrying import Request
    from chancy_core.store.roster import WorkerInfo
    from chancy_core.waiting import Waiting

T = TypeVar("T")


class Asking(Protocol):
    """Who can carry out a request."""

    names: Names
    #: Who follows each push, if anybody: the testing kit, where jobs run as they are pushed.
    follower: Follower | None
    #: The queues that were declared here.
    fitting: "Fitting"

    @property
    def plugins(self) -> "Plugins":
        """The plugins of the application."""

    async def ask(self, request: "Request[T]") -> T:
        """Carry out a request."""

    def hint(self, hint: Hint) -> None:
        """Tell workers, or those who wait for a job, that something has happened."""

    @property
    def waits(self) -> "Waiting":
        """Those who wait for jobs."""


class Calls(Asking):
    """Calls about queues and jobs; a part of `Chancy`."""

    async def declare(self, queue: Queue, *, upsert: bool = False, check: bool = True) -> Queue:
        """Store a queue's settings, and return what is stored.

        A queue that exists keeps its settings unless *upsert*; its `state` and `resume_at` change
        only if a state is given. Raises `UnknownName` if no installed package offers its executor,
        and `InvalidValue` if its options do not fit, or its executor cannot run the jobs that are
        registered here; without *check* it is stored all the same, and workers without that
        executor leave the queue alone, loudly.
        """
        from chancy_core.installed import check_queue_aside
        from chancy_core.store import requests

        if check:
            await check_queue_aside(queue)
        declared = requests.declare(self.names, queue, upsert=upsert)
        return self.fitting.learn(await self.ask(declared))

    async def push(self, job: Pushable) -> Reference:
        """Store a job, to be run by a worker that runs its queue; `my_job` means `my_job.bind()`.

        If a live job holds its unique key, nothing is stored and that job is referred to.
        Raises `InvalidValue` for what cannot be stored, and `Unsupported` for a function that the
        executor of a queue cannot run which was declared here.
        """
        return (await self._push([given.job(job)]))[0]

    async def _push(self, batch: list[Job]) -> list[Reference]:
        from chancy_core.store import pushing

        batch = self.plugins.with_meta(batch)
        pushed = self.fitting.push(self.names, batch, pushing.store_surely)
        references = await self.ask(pushed)
        await self._tell(references, batch)
        return references

    def push_many(
        self, jobs: Iterable[Pushable] | AsyncIterable[Pushable], *, batch_size: int = BATCH
    ) -> Pushing:
        """Store jobs, *batch_size* in one transaction: to be awaited, or iterated over.

            references = await chancy.push_many(jobs)             # of all, in this order
            async for references in chancy.push_many(jobs): ...   # of each batch, once committed

        Jobs are taken a batch at a time, so that they need not fit into memory. After an error,
        the batches before it are stored.
        """
        return Pushing(jobs, batch_size, self._push)

    def pushing(self, jobs: Iterable[Pushable]) -> Push:
        """Return the statement that stores jobs in whatever transaction it is run in.

            push = chancy.pushing([send.bind(address="ada@example.org")])
            _, stored = await chancy.database.run(mark_as_sent, push)
            await chancy.pushed(push, stored)

        For plugins: beside statements of their own it is run by `database.run`, which commits all
        of them or none. It answers the ids of those jobs that were stored; one whose unique key a
        live job holds is not. Raises `InvalidValue` for what cannot be stored.
        """
        from chancy_core.store import pushing

        asked = self.plugins.with_meta([given.job(job) for job in jobs])
        return pushing.beside(self.names, asked)

    async def pushed(self, push: Push, stored: Collection[UUID]) -> None:
        """Tell of what `pushing` made, once it is committed: to workers, and to plugins.

        *stored* are the ids that it answered. Workers who are not told find the jobs by polling.
        """
        from chancy_core.store import pushing

        references = [Reference(id_) for id_ in push.jobs if id_ in stored]
        if not references:
            return
        jobs = [push.jobs[reference.id] for reference in references]
        for hint in pushing.hints(jobs):
            self.hint(hint)
        await self._tell(references, jobs)

    async def wake(self, *queues: str) -> None:
        """Tell workers that there are new jobs in these queues: after the commit that stored them.

        For jobs that were pushed by SQL, by `push_packed` or by hand. It is only a hint: workers
        that do not hear it find the jobs by polling.
        """
        for queue in queues:
            self.hint(Hint(PUSHED, queue))

    async def _tell(self, references: list[Reference], jobs: Sequence[Job]) -> None:
        self.plugins.pushed(references, jobs)
        if self.follower is not None:
            await self.follower.follow(references)

    async def get_job(self, reference: Named) -> QueuedJob:
        """Return a job, live or finished.

        Raises `JobNotFound` if there is none of this identity (any more).
        """
        from chancy_core.store import requests

        return await self.ask(requests.get_job(self.names, identity(reference)))

    async def get_jobs(self, references: Iterable[Named]) -> list[QueuedJob]:
        """Return those of these jobs that exist, in no order."""
        from chancy_core.store import requests

        return await self.ask(requests.get_jobs(self.names, several(references)))

    async def wait_for_job(
        self, reference: Named, *, timeout: float | None = None, states: Iterable[str] = ()
    ) -> QueuedJob:
        """Return the job once it is finished, however it ended, or in one of *states*.

            await chancy.wait_for_job(reference, states=["running"])    # until it has begun

        Raises `TimeoutError` after *timeout* seconds, `JobNotFound` if there is no such job.
        """
        return (await self.wait_for_jobs([reference], timeout=timeout, states=states))[0]

    async def wait_for_jobs(
        self,
        references: Iterable[Named],
        *,
        timeout: float | None = None,
        states: Iterable[str] = (),
    ) -> list[QueuedJob]:
        """Return these jobs, in this order, once each is finished, or in one of *states*.

        Raises `TimeoutError` after *timeout* seconds, `JobNotFound` if one does not exist. A
        database that goes away meanwhile is waited for.
        """
        return await self.waits.wait(several(references), timeout, given.states(states))

    async def notify(self, name: str, subject: str = "") -> None:
        """Send a hint of your own to all workers: soon, once if it is given twice meanwhile.

        They are told by `Worker.events`. Its name has a dot, and does not begin with `queue.`,
        `job.` or `worker.`; both have at most 7,998 bytes together. It may be lost.
        Raises `InvalidValue`.
        """
        from chancy_core.store import requests

        await self.ask(requests.tell(given.own_hint(name, subject)))

    async def get_queue(self, name: str) -> Queue:
        """Return a queue's settings. Raises `QueueNotFound`."""
        from chancy_core.store import requests

        return await self.ask(requests.get_queue(self.names, name))

    async def get_all_queues(self) -> list[Queue]:
        """Return all queues, by name."""
        from chancy_core.store import requests, statements

        return await self.ask(requests.one(statements.queues(self.names)))

    async def get_all_workers(self) -> "list[WorkerInfo]":
        """Return the rows of all workers: the living, the late, and those declared dead."""
        from chancy_core.store import requests, statements

        return await self.ask(requests.one(statements.workers(self.names)))

    async def pause_queue(
        self, name: str, *, resume_at: datetime | timedelta | None = None
    ) -> None:
        """Have no more jobs of a queue begun: from now on, until *resume_at* if it is given.

        What runs comes to its end. A timedelta is counted by the database's clock. Raises
        `QueueNotFound`, and `InvalidValue` for a datetime without a time zone.
        """
        from chancy_core.store import requests

        check_resume(resume_at)
        await self.ask(requests.pause_queue(self.names, name, resume_at))

    async def resume_queue(self, name: str) -> None:
        """Make a queue active. Raises `QueueNotFound`."""
        from chancy_core.store import requests

        await self.ask(requests.resume_queue(self.names, name))

    async def delete_queue(self, name: str, *, purge_jobs: bool = True) -> int:
        """Delete a queue; with *purge_jobs* its waiting jobs too. Returns how many these were.

        What runs comes to its end. Raises `QueueNotFound`.
        """
        from chancy_core.store import requests

        return await self.ask(requests.delete_queue(self.names, name, purge_jobs=purge_jobs))

    async def list_jobs(
        self, which: "JobFilter | None" = None, *, limit: int = 100, before: UUID | None = None
    ) -> "Page":
        """Return a page of jobs, live and finished, the newest first.

        The next page begins *before* the id that this one names as `next`.
        """
        from chancy_core.store import requests

        wanted = page(which, limit)
        return await self.ask(requests.list_jobs(self.names, wanted, limit, before))

    async def cancel_job(self, reference: Named) -> "Answer":
        """Cancel a job that is not finished.

        One that waits is `cancelled` at once. One that runs is `cancelling`: its worker ends the
        attempt, and what comes first, the job's own end or this, is its outcome.
        """
        return (await self.cancel_jobs([reference]))[0]

    async def cancel_jobs(self, which: Which) -> "list[Answer]":
        """Cancel jobs, by reference or by filter; answers for each."""
        from chancy_core.store import requests

        return await self.ask(requests.cancel(self.names, identities(which)))

    async def retry_jobs(self, which: Which) -> "list[Answer]":
        """Run jobs once more, by reference or by filter: those that are finished or wait for later.

        Their attempts begin at zero, their errors are kept. Answers for each: one that is due or
        runs, or whose unique key a live job holds, is skipped.
        """
        from chancy_core.store import requests

        return await self.ask(requests.retry(self.names, identities(which)))

    async def purge_jobs(self, which: Which) -> "list[Answer]":
        """Delete jobs that do not run, live or finished, by reference or by filter.

        Answers for each: one that runs is skipped, cancel it first.
        """
        from chancy_core.store import requests

        return await self.ask(requests.purge(self.names, identities(which)))
