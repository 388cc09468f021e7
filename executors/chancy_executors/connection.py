"""What is said to Dask: to a scheduler somewhere, or to one of our own with its processes here.

`distributed` runs on asyncio alone, so all of this happens on an event loop of its own.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from attrs import define, field

from chancy_core.errors import Unprepared
from chancy_executors import remote

log = logging.getLogger("chancy.dask")

#: Seconds that one attempt to connect may take, and all attempts together.
CONNECT, PATIENCE = 5.0, 30.0
#: Seconds between two looks at what tells nobody when it changes.
PAUSE = 0.05
#: Seconds for which a failed attempt waits until the scheduler has forgotten its task.
FORGETTING = 2.0
#: Who wants a task, besides those who wait for it: so that it outlives us, until it is released.
HOLDER = "chancy"
#: The same in Dask's own words, for a task whose result nobody is to find later.
NOBODY = "fire-and-forget"
#: States of a task that is not there, or not any more.
GONE = frozenset({None, "released", "forgotten"})
#: How often processes of our own cluster may die of others before a call has begun in them.
DEATHS = 10


@define(eq=False)
class Task:
    """One call on its way: the key that Dask knows it by, its bytes, and what came of it."""

    key: str
    message: bytes = field(repr=False)
    #: The keys of the job's earlier claims, the latest first: a task of theirs may be left.
    earlier: tuple[str, ...] = ()
    #: Whether it must never be begun again.
    once: bool = False
    #: Set on the worker's loop, when there is an answer or an error.
    ended: anyio.Event = field(factory=anyio.Event, repr=False)
    answer: bytes = field(default=b"", repr=False)
    error: Exception | None = None
    #: Whether nobody waits for it any more.
    dropped: bool = False
    #: Dask's future.
    future: Any = field(default=None, repr=False)
    #: Whether it was found over there, and not sent by us.
    found: bool = False


class Connection:
    """A client of a Dask scheduler, made anew when it is lost; and the cluster, if it is ours."""

    def __init__(
        self,
        address: str | None,
        setup: bytes,
        *,
        size: int,
        adaptive: tuple[int, int] | None = None,
        resources: Mapping[str, float],
    ) -> None:
        #: How many processes a cluster of our own is to have.
        self.size = size
        self._address = address
        self._where = address or "a cluster of the worker's own"
        self._setup = setup
        self._adaptive = adaptive
        self._resources = dict(resources) or None
        self._folder = ""
        self._cluster: Any = None
        self._client: Any = None
        #: What is wanted over there for us, and has to be released.
        self.held: set[Task] = set()

    async def open(self) -> None:
        """Start the cluster, if it is ours, and connect. Raises what Dask raises."""
        self._dask: Any = import_module("distributed")
        self._spec_of: Any = import_module("dask._task_spec").Task
        self._connecting = anyio.Lock()
        if self._address is None:
            await self._start_cluster()
        self._client = await self._connect()

    async def _start_cluster(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="chancy-dask-")
        (Path(self._folder) / "begun").mkdir()
        least = self.size if self._adaptive is None else self._adaptive[0]
        self._cluster = self._dask.LocalCluster(
            n_workers=least,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            local_directory=self._folder,
            dashboard_address=None,
            scheduler_kwargs={"allowed_failures": DEATHS, "dashboard_address": "127.0.0.1:0"},
            asynchronous=True,
        )
        with import_module("dask.config").set({"distributed.scheduler.worker-saturation": 1.0}):
            await self._cluster  # a process has the job that it runs, and none behind it
        if self._adaptive is not None:
            least, most = self._adaptive
            self._cluster.adapt(minimum=least, maximum=most)

    async def _connect(self) -> Any:
        where = self._address or self._cluster
        client = self._dask.Client(
            where, asynchronous=True, set_as_default=False, name="chancy", timeout=CONNECT
        )
        try:
            return await client
        except BaseException:
            with anyio.CancelScope(shield=True), suppress(Exception):
                await client.close()
            raise

    async def close(self) -> None:
        """Let go of all that was opened, however far that came."""
        try:
            if self._client is not None:
                self.let_go(self.held)
                await self._client.close()
            if self._cluster is not None:
                await self._cluster.close()
        finally:
            if self._folder:
                shutil.rmtree(self._folder, ignore_errors=True)

    def grow(self) -> None:
        """Have a cluster of our own grow to its size. Nothing is taken from what may run."""
        if self._cluster is not None and self._adaptive is None:
            self._cluster.scale(max(self.size, len(self._cluster.worker_spec)))

    async def client(self) -> Any:
        """Return the client, when it is connected. Raises `Unprepared` if it does not get there."""
        if self._client.status != "running":
            with anyio.move_on_after(PATIENCE):
                async with self._connecting:
                    while self._client.status != "running":
                        await self._connect_again()
        if self._client.status != "running":
            raise Unprepared(f"the Dask scheduler at {self._where} cannot be reached")
        return self._client

    async def _connect_again(self) -> None:
        if self._client.status not in {"closing", "closed"}:
            await anyio.sleep(PAUSE)  # it tries by itself
            return
        try:
            self._client = await self._connect()
        except OSError as exc:
            log.debug("the Dask scheduler at %s is not there: %s", self._where, exc)
            await anyio.sleep(PAUSE)

    # -- tasks -------------------------------------------------------------------------------------

    def submit(self, client: Any, tasks: list[Task]) -> None:
        """Send tasks, and have them held."""
        # Who produces data waits on the scheduler for a free thread. Others are given to workers at
        # once, and wait there behind what may take hours, while other workers have nothing to do.
        graph = {task.key: self._spec(task) for task in tasks}
        futures = client.get(graph, list(graph), sync=False, retries=0, resources=self._resources)
        for task, future in zip(tasks, futures, strict=True):
            task.future = future
        self.held.update(tasks)
        self._hold("client-desires-keys", tasks)

    def _spec(self, task: Task) -> Any:
        told = (self._setup, self._fence(task), task.key, task.message)
        return self._spec_of(task.key, remote.perform_call, *told, _data_producer=True)

    def _fence(self, task: Task) -> str:
        if self._folder:
            return f"{self._folder}/begun"
        return remote.BY_SCHEDULER if task.once else ""

    def adopt(self, client: Any, task: Task) -> None:
        """Wait for a task that is over there already."""
        task.future = self._dask.Future(task.key, client)
        task.found = True
        self.held.add(task)
        self._send(client, {"op": "client-desires-keys", "keys": [task.key], "client": client.id})

    def _hold(self, op: str, tasks: Iterable[Task]) -> None:
        keys: dict[str, list[str]] = {}
        for task in tasks:
            keys.setdefault(NOBODY if task.once else HOLDER, []).append(task.key)
        for holder, held in keys.items():
            self._send(self._client, {"op": op, "keys": held, "client": holder})

    def _send(self, client: Any, message: dict[str, Any]) -> None:
        # As `fire_and_forget` does, which knows no other holder than nobody. The scheduler reads in
        # order: what was submitted before is there when this is read.
        client._send_to_scheduler(message)  # noqa: SLF001

    def let_go(self, tasks: Iterable[Task]) -> None:
        """Release tasks, so that the scheduler forgets them. What runs runs on, for nobody."""
        held = self.held.intersection(tasks)
        if not held:
            return
        with suppress(Exception):  # the client is closed, and nothing can be sent
            self._hold("client-releases-keys", held)
        for task in held:
            self.held.discard(task)
            task.future.release()
            self._unfence(task)

    def _unfence(self, task: Task) -> None:
        if self._folder:
            (Path(self._folder) / "begun" / task.key).unlink(missing_ok=True)
        elif task.once:
            self._client.loop.add_callback(self._unpublish, remote.fence_name(task.key))

    async def _unpublish(self, name: str) -> None:
        await self._client.unpublish_dataset(name)
        # It was wanted by a client of its own, which Dask would keep.
        self._send(self._client, {"op": "close-client", "client": f"published-{name}"})

    async def states(self, keys: Iterable[str]) -> dict[str, str | None]:
        """Return what the scheduler makes of each key; None of those that it does not know.

        Raises `Unprepared` if it cannot be asked.
        """
        with anyio.move_on_after(PATIENCE):
            while True:
                client = await self.client()
                try:
                    found: dict[str, str | None] = await client.scheduler.get_task_status(
                        keys=list(keys)
                    )
                except OSError:
                    await anyio.sleep(PAUSE)
                else:
                    return found
        raise Unprepared(f"the Dask scheduler at {self._where} does not answer")

    async def forgotten(self, key: str) -> None:
        """Wait until the scheduler has forgotten a task, so that nobody takes it for a later one.

        Not for long: if it cannot be reached, it has lost us, and what we alone wanted.
        """
        with anyio.move_on_after(FORGETTING), suppress(Exception):
            while self._client.status == "running":
                found = await self._client.scheduler.get_task_status(keys=[key])
                if found.get(key) in GONE:
                    return
                await anyio.sleep(PAUSE)

    async def gather(self, keys: list[str]) -> dict[str, Any]:
        """Return what these finished tasks have returned, by key; lost results are left out.

        Raises `OSError` where the scheduler is lost.
        """
        missing: set[str] = set()
        while keys := [key for key in keys if key not in missing]:
            # `Client.gather` would wait until what is lost has been run again.
            said = await self._client.scheduler.gather(keys=keys)
            if said["status"] == "OK":
                found: dict[str, Any] = said["data"]
                return found
            missing = set(said["keys"])
            if missing.isdisjoint(keys):
                break
        return {}
