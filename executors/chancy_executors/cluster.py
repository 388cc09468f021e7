"""Runs functions on a Dask cluster: on the machines that it has, or in processes of this one."""

import importlib.util
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import anyio
import attrs

from chancy_core import perform
from chancy_core.errors import BrokenOffer, InvalidValue, Unprepared
from chancy_core.executor import Call, Capability, Executor, ExecutorHost, Left
from chancy_core.job import QueuedJob
from chancy_executors.connection import PAUSE, Connection, Task
from chancy_executors.crossing import Crossing
from chancy_executors.engine import Engine
from chancy_executors.local import LocalCluster

log = logging.getLogger("chancy.dask")

#: Under how many earlier claims of a job a task of it is looked for.
EARLIER = 50
#: Seconds for which the end of a function is waited for, and for which answers are when we close,
#: until they are written.
ENDING, WRITING = 1.0, 2.0


def _is_address(_: Any, __: Any, value: str | None) -> None:
    if value is not None and not all(value.partition("://")):
        raise InvalidValue(f"address must be like tcp://10.0.0.5:8786, not {value!r}")


@attrs.frozen
class DaskOptions:
    """What a queue can set for this executor."""

    #: Where the scheduler of a cluster listens, such as "tcp://10.0.0.5:8786"; None for a cluster
    #: of the worker's own, which it starts and ends with the queue.
    address: str | None = attrs.field(default=None, validator=_is_address)
    #: How many processes a cluster of its own has; None for as many as the queue's concurrency.
    workers: int | None = attrs.field(default=None)
    #: The fewest and the most processes of such a cluster, which Dask then starts and ends as
    #: there is work for them.
    adaptive: tuple[int, int] | None = attrs.field(default=None)
    #: What of the resources of a Dask worker each job takes, such as {"GPU": 1}.
    resources: Mapping[str, float] = attrs.field(factory=dict)

    @workers.validator
    def _some(self, _: Any, value: int | None) -> None:
        if value is not None and value < 1:
            raise InvalidValue(f"workers must be 1 or more, or None, not {value}")

    @adaptive.validator
    def _in_order(self, _: Any, value: tuple[int, int] | None) -> None:
        if value is not None and not 0 <= value[0] <= max(1, value[0]) <= value[1]:
            raise InvalidValue(
                f"adaptive must be the fewest processes, 0 or more, and the most, 1 or more and no "
                f"fewer than these; not {list(value)}"
            )

    @resources.validator
    def _amounts(self, _: Any, value: Mapping[str, float]) -> None:
        for name, amount in value.items():
            if not 0 < amount < float("inf"):
                raise InvalidValue(
                    f"resources: of {name!r} each job takes more than 0, not {amount}"
                )

    def __attrs_post_init__(self) -> None:
        if self.workers is not None and self.adaptive is not None:
            raise InvalidValue("workers and adaptive exclude each other: give one of them")
        own = [name for name in ("workers", "adaptive") if getattr(self, name) is not None]
        if self.address is not None and own:
            raise InvalidValue(
                f"{own[0]} is about a cluster of the worker's own: leave it out, or the address"
            )
        if self.address is None and self.resources:
            raise InvalidValue(
                "resources are those of the workers of a cluster, which were started with them: "
                "give its address"
            )


class DaskExecutor(Executor):
    """For work that outgrows one machine: each job is one task of a Dask cluster.

    Functions are looked up by their names in the environment of the Dask worker that runs them.
    Calls and answers cross as JSON. The key of a task is the job's id and the number of its claim.
    On a cluster with an address a task outlives the worker that sent it: whoever claims the job
    next waits for the same task. There a function that runs cannot be ended: it is told that it is
    over, and what it returns is thrown away. On a cluster of our own its process is killed.
    """

    Options = DaskOptions
    capabilities = Capability.SYNC | Capability.ASYNC | Capability.REMOTE
    default_concurrency = os.cpu_count() or 1

    def __init__(self, options: DaskOptions, concurrency: int, host: ExecutorHost) -> None:
        if importlib.util.find_spec("distributed") is None:
            raise BrokenOffer(
                "the executor 'dask' needs the package distributed, which is not installed here: "
                "pip install 'chancy[dask]'"
            )
        super().__init__(options, concurrency, host)
        setup = {
            "sources": list(host.sources),
            "plugins": list(host.plugins),
            "backend": host.backend,
            "capabilities": self.capabilities.value,
        }
        own = None
        if options.address is None:
            own = LocalCluster(options.workers or concurrency, options.adaptive)
        told = json.dumps(setup).encode()
        self._engine = Engine(
            Connection(options.address, told, resources=options.resources, local=own)
        )
        #: What has been sent and has not ended.
        self._sent: set[Task] = set()
        #: What has answered and is kept over there until that is written, by job and claim.
        self._kept: dict[tuple[UUID, int], Task] = {}
        self._left: list[tuple[Task, Left]] = []
        self._problem: BaseException | None = None

    @classmethod
    def outlives_worker(cls, options: DaskOptions) -> bool:
        """Return whether the cluster is not the worker's own, which ends with it."""
        return options.address is not None

    @property
    def left(self) -> Iterable[Left]:
        """The functions that go on over there although their attempts are closed."""
        return [left for _, left in self._left if left.where()]

    async def __aenter__(self) -> Self:
        """Start the cluster, or connect to it. Raises `Unprepared` if that fails."""
        self._opened, self._closed = anyio.Event(), anyio.Event()
        self._told = Crossing(_call_all)
        self._thread = threading.Thread(target=self._serve, name="chancy-dask", daemon=True)
        self._thread.start()
        try:
            await self._opened.wait()
        except BaseException:
            await self._leave()
            raise
        if self._closed.is_set():
            await self._leave()
            where = self.options.address or "a cluster of this worker's own"
            raise Unprepared(f"Dask, {where}: {self._problem!r}") from self._problem
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect, and end a cluster of our own with all its processes."""
        with anyio.move_on_after(WRITING, shield=True):
            while self._kept:  # they are about to be written; if not, somebody will find them
                await anyio.sleep(PAUSE)
        await self._leave()

    async def _leave(self) -> None:
        with anyio.CancelScope(shield=True):
            self._engine.stop()
            await self._closed.wait()
        self._thread.join()  # it has nothing left to do

    def _serve(self) -> None:
        """Run the engine: all that the thread does."""
        try:
            anyio.run(self._engine.run, self._told.send, self._opened.set, backend="asyncio")
        except BaseException as exc:  # noqa: BLE001 - told on the worker's loop
            self._problem = exc
        self._told.send(self._over)

    def _over(self) -> None:
        """Note, on the worker's loop, that the thread has ended, and how."""
        opened = self._opened.is_set()
        self._opened.set()
        self._closed.set()
        if opened and self._problem is not None:
            log.critical("the way to Dask has broken down", exc_info=self._problem)
        for task in self._sent:
            task.error = Unprepared(f"the way to Dask has broken down: {self._problem!r}")
            task.ended.set()

    def resize(self, concurrency: int) -> None:
        """Run up to so many calls at once; a cluster of our own grows, and does not shrink."""
        super().resize(concurrency)
        if self.options.workers is None:
            self._engine.resize(concurrency)

    def settled(self, jobs: Sequence[QueuedJob]) -> None:
        """Let go of answers that are written."""
        kept = [self._kept.pop((job.id, job.claims), None) for job in jobs]
        if tasks := [task for task in kept if task is not None]:
            self._engine.let_go(tasks)

    async def run(self, call: Call) -> Any:
        """Have a Dask worker perform the call, and return what it answers."""
        if self._closed.is_set():
            raise Unprepared(f"the way to Dask has broken down: {self._problem!r}")
        job = call.job
        before = range(job.claims - 1, 0, -1)[:EARLIER] if self.options.address else ()
        task = Task(
            f"{job.id}-{job.claims}",
            perform.request(call),
            earlier=tuple(f"{job.id}-{claim}" for claim in before),
            once=job.at_most_once,
        )
        self._sent.add(task)
        self._engine.take(task)
        try:
            await task.ended.wait()
        except BaseException:
            await self._give_up(call, task)
            raise
        finally:
            self._sent.discard(task)
        if task.error is not None:
            raise task.error
        if task.kept:
            self._kept[job.id, job.claims] = task
        return perform.reply(call, task.answer)

    async def _give_up(self, call: Call, task: Task) -> None:
        """Have a task end that nobody waits for, or leave it to the job's next claim."""
        if not call.unwanted and self.options.address and not task.once:
            self._engine.leave(task)
            return
        self._engine.drop(task)
        with anyio.move_on_after(ENDING, shield=True):
            await task.ended.wait()
        left = Left(call.job, lambda: "" if task.gone else task.where, task.where)
        call.left = left if task.where else None  # or it is not known yet
        self._left = [one for one in (*self._left, (task, left)) if not one[0].gone]


def _call_all(calls: list[Callable[[], object]]) -> None:
    for call in calls:
        call()
