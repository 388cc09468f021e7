"""Runs jobs one by one in this process, by a worker's own path: claim, run, decide, settle."""

import inspect
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID, uuid4

import anyio

from chancy_core import hint, registry
from chancy_core.errors import OfferError, QueueNotFound
from chancy_core.events import Events
from chancy_core.executor import Call, Capability, Executor, ExecutorHost, NoOptions
from chancy_core.hint import Hint
from chancy_core.installed import backend_name, find_executor
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import Settlement
from chancy_core.plugins import WorkerPlugins
from chancy_core.queue import Queue
from chancy_core.run import Attempt
from chancy_core.store import statements
from chancy_core.store.rows import Claimed
from chancy_core.testing.threads import call

if TYPE_CHECKING:
    from chancy_core.app import Chancy

#: What a job may raise as its own ending.
_OF_JOBS = (Exception, SystemExit, KeyboardInterrupt)
#: Seconds for which nobody takes a job from the runner, if it has not said that it has ended.
LEASE = 3600.0


class Here(Executor):
    """Runs coroutine functions on this loop and plain ones beside it; sees what they raise.

    What it is asked to run it can: *able* are the capabilities of the executor that it stands for.
    Memory limits are not kept.
    """

    def __init__(self, able: Capability) -> None:
        super().__init__(NoOptions(), 1, ExecutorHost(registry.sources(), backend_name()))
        self._able = able
        self.raised: BaseException | None = None

    async def run(self, call_: Call) -> Any:
        """Run the function, and keep what it raises."""
        func, arguments = call_.resolve(self._able)
        try:
            if inspect.iscoroutinefunction(func):
                return await func(**arguments)
            return await call(partial(func, **arguments))
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as exc:
            self.raised = exc
            raise


class Runner:
    """A worker without slots, tasks of its own or a heartbeat: it runs what it is told to.

    A queue that is not declared runs anything; one that is runs what its executor could.
    """

    def __init__(self, chancy: "Chancy") -> None:
        self.name = "chancy-testing"
        self.tags: frozenset[str] = frozenset()
        self.events = Events()
        self.chancy = chancy
        self.queues: dict[str, Queue] = {}
        self.running: list[QueuedJob] = []
        self.slots = self.stale = 0
        self._plugins = WorkerPlugins(chancy.plugins, self)
        self._worker = uuid4()

    async def wake(self, *queues: str) -> None:
        """Tell workers of new jobs, as one of them would."""
        await self.chancy.wake(*queues)

    async def __aenter__(self) -> Self:
        registry.import_jobs(self.chancy.jobs)
        self._store = self.chancy.store
        await self._store.run(
            statements.announce(
                self._store.names,
                self._worker,
                name=self.name,
                hostname="",
                pid=0,
                tags=(),
                lease=LEASE,
            )
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._store.run(statements.give_back(self._store.names, self._worker))
            await self._store.run(statements.retire(self._store.names, self._worker))

    async def attempt(
        self, *, ids: Sequence[UUID] | None = None, queues: Sequence[str] | None = None
    ) -> tuple[Settlement, BaseException | None] | None:
        """Claim the next due job and run it; answers what was written, and what it raised.

        None if there is none of these *ids* or *queues*.
        """
        names = self._store.names
        claimed = await self._store.run(
            statements.claim_one(names, self._worker, ids=ids, queues=queues)
        )
        if claimed is None:
            return None
        executor = Here(await self._able(claimed))
        self.chancy.plugins.rouse()
        began = anyio.current_time()
        outcome = await Attempt(claimed).run(executor, self._plugins)
        seconds = anyio.current_time() - began
        if executor.raised is not None and not isinstance(executor.raised, _OF_JOBS):
            raise executor.raised  # such as `pytest.fail`: it is about the test, and not the job's
        verdict = self._plugins.verdict(claimed.job, outcome)
        settlement = Settlement(claimed.job, outcome, verdict, seconds)
        await self._settle(settlement)
        return settlement, executor.raised

    async def _settle(self, settlement: Settlement) -> None:
        along = self._plugins.settling if self._plugins.settles else None
        await self._store.settle([settlement], along=along)
        await self._plugins.observers.tell_now("chancy_jobs_settled", settled=[settlement])
        self._say(settlement)

    async def _able(self, claimed: Claimed) -> Capability:
        """Return what the executor of the job's queue can run."""
        anything = ~Capability(0)
        try:
            queue = await self.chancy.get_queue(claimed.job.queue)
            return find_executor(queue)[0].capabilities
        except (QueueNotFound, OfferError):
            return anything

    def _say(self, settled: Settlement) -> None:
        state = settled.verdict.state
        if state.finished:
            self.chancy.hint(Hint(hint.FINISHED, str(settled.job.id)))
        else:
            name = hint.SCHEDULED if state is State.SCHEDULED else hint.PUSHED
            self.chancy.hint(Hint(name, settled.job.queue))
