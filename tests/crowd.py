"""A crowd of jobs on several workers, counted by worker; each runs until it is let go."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Self
from uuid import UUID

import anyio

from chancy import INJECTED, Chancy, QueuedJob, job
from chancy_core.executor import Call, Capability, Executor
from chancy_core.job import Reference


class Crowd:
    """What runs on which worker of a fleet: jobs come, are counted, and stay until told to go."""

    def __init__(self, chancy: Chancy, dsn: str) -> None:
        self.chancy = chancy
        self.dsn = dsn
        #: What was pushed, whatever became of it.
        self.references: list[Reference] = []
        #: How many jobs each worker has begun, by the volume of their `Loud` executor.
        self.loud: Counter[tuple[UUID, int]] = Counter()
        #: The volume of each `Loud` executor that was opened.
        self.opened: list[int] = []
        self.workers: dict[UUID, str] = {}
        self.changed = anyio.Event()
        self._running: dict[tuple[str, UUID], list[anyio.Event]] = defaultdict(list)

    async def know_workers(self) -> None:
        """Learn the names of the workers, which the jobs know by their incarnations."""
        self.workers = {worker.id: worker.name for worker in await self.chancy.get_all_workers()}

    def tell(self) -> None:
        self.changed.set()
        self.changed = anyio.Event()

    async def play(self, queue: str, worker: UUID) -> None:
        turn = anyio.Event()
        here = self._running[queue, worker]
        here.append(turn)
        self.tell()
        try:
            await turn.wait()
        finally:
            here.remove(turn)
            self.tell()

    def running(self, queue: str = "q") -> list[int]:
        """How many jobs of a queue run on each worker, in the order of the workers' names."""
        ids = sorted(self.workers, key=self.workers.__getitem__)
        return [len(self._running[queue, id_]) for id_ in ids]

    def end(self, count: int | None = None, queue: str = "q") -> None:
        """Let *count* jobs end on each worker, those that began first; or all of them."""
        for worker in self.workers:
            for turn in self._running[queue, worker][:count]:
                turn.set()

    async def push(self, count: int, queue: str = "q") -> None:
        self.references += await self.chancy.push_many(
            play.bind(crowd=self.dsn).options(queue=queue) for _ in range(count)
        )

    async def shows(self, seen: Callable[[], Any], expected: Any, within: float, what: str) -> None:
        """Return once *seen* is as expected; fail, and say what it is, when the time is over."""
        with anyio.move_on_after(within):
            while seen() != expected:
                await self.changed.wait()
        seen_last = seen()
        assert seen_last == expected, f"{what}: {seen_last} after {within:.2f} s, not {expected}"


#: The crowds of the running tests, by the name of their database.
crowds: dict[str, Crowd] = {}


@job(name="crowd.play", queue="q")
async def play(crowd: str, *, me: QueuedJob = INJECTED) -> None:
    assert me.worker is not None
    await crowds[crowd].play(me.queue, me.worker)


class Loud(Executor):
    """Awaits the function, like `async`, and has an option: its volume."""

    Options = dict[str, int]
    capabilities = Capability.ASYNC
    default_concurrency = 8
    crowd: Crowd

    async def __aenter__(self) -> Self:
        self.crowd.opened.append(self.options["volume"])
        self.crowd.tell()
        return self

    async def run(self, call: Call) -> Any:
        self.crowd.loud[call.job.worker, self.options["volume"]] += 1
        func, arguments = call.resolve(self.capabilities)
        return await func(**arguments)
