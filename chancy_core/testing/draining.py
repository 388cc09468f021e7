"""`drain`: run all that is due, here and now, and say what became of it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from attrs import frozen

from chancy_core.door import blocking
from chancy_core.errors import InvalidValue, JobFailed, KitError
from chancy_core.filter import JobFilter
from chancy_core.job import QueuedJob, State
from chancy_core.store import requests, statements
from chancy_core.testing.clock import moved
from chancy_core.testing.enqueued import every
from chancy_core.testing.runner import Runner
from chancy_core.testing.threads import LoopThread

if TYPE_CHECKING:
    from chancy_core.app import Chancy

#: How many attempts are made, if nobody says: more than a test needs, and soon over.
LIMIT = 1000


@frozen
class Drained:
    """What ran: the jobs, as they stood in the end, in the order in which they were begun."""

    jobs: tuple[QueuedJob, ...]
    #: How many attempts were made; a job that was tried three times has three.
    attempts: int

    def __iter__(self) -> Iterator[QueuedJob]:
        return iter(self.jobs)

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def counts(self) -> Counter[State]:
        """How many of the jobs are in each state: `counts[State.FAILED]`."""
        return Counter(job.state for job in self.jobs)

    def check(self) -> "Drained":
        """Return this if all have succeeded. Raises `JobFailed`, with the error of each other."""
        others = [job for job in self.jobs if job.state is not State.SUCCEEDED]
        if others:
            told = "\n".join(_ending(job) for job in others)
            raise JobFailed(f"{len(others)} of {len(self)} jobs have not succeeded:\n{told}")
        return self


def _ending(job: QueuedJob) -> str:
    error = job.errors[-1] if job.errors else None
    said = f": {error.type}: {error.message}\n{error.traceback}" if error else ""
    return f"job {job.id} ({job.func}) is {job.state}{said}".rstrip()


class _Drain:
    """One call of `drain`, as it proceeds."""

    def __init__(self, chancy: "Chancy", queue: str | Iterable[str] | None, limit: int) -> None:
        self._chancy = chancy
        self._queues = [queue] if isinstance(queue, str) else None if queue is None else [*queue]
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidValue(f"limit is a number of attempts, at least 1, not {limit!r}")
        self._limit = limit
        self._ran: Counter[str] = Counter()
        self._begun: dict[UUID, None] = {}

    async def run(self, *, with_scheduled: bool, reraise: bool) -> Drained:
        while True:
            async with Runner(self._chancy) as runner:
                while await self._one(runner, reraise=reraise):
                    pass
            # Outside of the runner, whose lease lives by the clock that is moved here.
            if not (with_scheduled and await self._move()):
                break
        jobs = {job.id: job for job in await self._found(list(self._begun))}
        ended = tuple(jobs[id_] for id_ in self._begun if id_ in jobs)
        return Drained(ended, self._ran.total())

    async def _one(self, runner: Runner, *, reraise: bool) -> bool:
        """Run one job; answers whether there was anything to do."""
        if self._ran.total() >= self._limit and await self._more():
            func, times = self._ran.most_common(1)[0]
            raise KitError(
                f"{self._limit} attempts were made and jobs are due still: {func} ran {times} "
                "times; does it push itself, or snooze, without end? drain(limit=...) allows more"
            )
        ran = await runner.attempt(queues=self._queues)
        if ran is None:
            queues, _ = await self._chancy.store.run(statements.promote(self._chancy.names))
            return bool(queues)
        settled, raised = ran
        self._begun[settled.job.id] = None
        self._ran[settled.job.func] += 1
        if reraise and raised is not None and settled.verdict.state.finished:
            raise raised
        return True

    async def _found(self, ids: Sequence[UUID]) -> list[QueuedJob]:
        return await self._chancy.ask(requests.get_jobs(self._chancy.names, ids))

    async def _more(self) -> bool:
        return bool(await self._waiting(State.PENDING))

    async def _waiting(self, state: State) -> list[QueuedJob]:
        which = JobFilter(state=state.value, queue=self._queues)
        return await self._chancy.ask(every(self._chancy.names, which))

    async def _move(self) -> bool:
        """Move the clock to when the next job is due; answers whether there is one."""
        due = [job.scheduled_at for job in await self._waiting(State.SCHEDULED)]
        soonest = min((at for at in due if at is not None), default=None)
        if soonest is None:
            return False
        await self._chancy.ask(
            moved(
                self._chancy.names, lambda hands: hands.moved(max(soonest - hands.now, timedelta()))
            )
        )
        return True


async def drain(
    chancy: "Chancy",
    queue: str | Iterable[str] | None = None,
    *,
    with_scheduled: bool = False,
    reraise: bool = False,
    limit: int = LIMIT,
) -> Drained:
    """Run all jobs that are due, one by one, until none is left, and answer what ran.

        ran = await drain(chancy)
        assert ran.counts == {State.SUCCEEDED: 2}

    Those of one *queue* or several, else of all: the higher priority first, then in the order of
    their pushes. Among them are those that are pushed meanwhile, and retries that are due. They
    run in this process, coroutine functions on this loop and plain ones in a thread, whatever the
    executor of their queue is; but what that could not run fails. Queues need not be declared, and
    rate limits and memory limits are not kept. What waits in a paused queue stays there.

    *with_scheduled* moves the clock of the test's database to when the next job is due, again and
    again, until none is scheduled. *reraise* raises what a job raised, once that has failed for
    good; what is left is left.

    Raises `KitError` when *limit* attempts were made and more is due, and where the clock must not
    be moved. The `Chancy` must be open.
    """
    run = _Drain(chancy, queue, limit)
    return await run.run(with_scheduled=with_scheduled, reraise=reraise)


@blocking("await drain(chancy)")
def sync_drain(
    chancy: "Chancy",
    queue: str | Iterable[str] | None = None,
    *,
    with_scheduled: bool = False,
    reraise: bool = False,
    limit: int = LIMIT,
    backend: str = "asyncio",
) -> Drained:
    """Do what `drain` does, for a test without an event loop: plain functions run in its thread.

    The `Chancy` is opened meanwhile, on a loop of the kind *backend*, for the coroutine functions
    among the jobs.
    """
    run = _Drain(chancy, queue, limit)

    async def all_() -> Drained:
        return await run.run(with_scheduled=with_scheduled, reraise=reraise)

    with LoopThread(backend) as loop, loop.enter(chancy):
        return loop.run(all_)
