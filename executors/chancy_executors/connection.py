"""What is said to the scheduler of a Dask cluster.

`distributed` runs on asyncio alone, so all of this happens on an event loop of its own.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from time import monotonic
from typing import Any

import anyio
from attrs import define, field

from chancy_core.errors import Unprepared
from chancy_executors import remote
from chancy_executors.local import LocalCluster

log = logging.getLogger("chancy.dask")

#: Seconds that one attempt to connect may take, and all attempts together.
CONNECT, PATIENCE = 5.0, 30.0
#: Seconds between two looks at what tells nobody when it changes.
PAUSE = 0.05
#: Seconds for which a failed attempt waits until the scheduler has forgotten its task, and for
#: which Dask workers are waited for that are asked about their functions.
FORGETTING, ASKING = 2.0, 10.0
#: Who wants a task, besides those who wait for it: so that it outlives us, until it is released.
HOLDER = "chancy"
#: The same in Dask's own words, for a task whose result nobody is to find later.
NOBODY = "fire-and-forget"
#: States of a task that is not there, or not any more.
GONE = frozenset({None, "released", "forgotten"})


@define(eq=False)
class Task:
    """One call on its way: the key that Dask knows it by, its bytes, and what came of it."""

    key: str
    message: bytes = field(repr=False)
    #: The keys of the job's earlier claims, the latest first: a task of theirs may be left.
    earlier: tuple[str, ...] = ()
    #: When it was made, by `time.monotonic()`.
    since: float = field(factory=monotonic, repr=False)
    #: Whether it must never be begun again.
    once: bool = False
    #: Set on the worker's loop: when there is an answer or an error, or nobody wants one.
    ended: anyio.Event = field(factory=anyio.Event, repr=False)
    answer: bytes = field(default=b"", repr=False)
    error: Exception | None = None
    #: Whether nobody waits for it any more.
    dropped: bool = False
    #: Where its function was when it was told that it is over, while it goes on all the same.
    where: str = field(default="", repr=False)
    #: Whether the answer stays on the cluster until somebody says that it is written.
    kept: bool = False
    #: Whether all of it was let go of.
    gone: bool = False
    #: Dask's future.
    future: Any = field(default=None, repr=False)
    #: Whether it was found over there, and not sent by us.
    found: bool = False


class Connection:
    """A client of a Dask scheduler, made anew when it is lost."""

    def __init__(
        self,
        address: str | None,
        setup: bytes,
        *,
        resources: Mapping[str, float],
        local: LocalCluster | None,
    ) -> None:
        #: The cluster, if it is ours.
        self.local = local
        #: What is held over there for us, and has to be released.
        self.held: set[Task] = set()
        self._address = address
        self._setup = setup
        self._resources = dict(resources) or None
        self._client: Any = None

    async def open(self) -> None:
        """Connect; first start the cluster, if it is ours. Raises what Dask raises."""
        self._dask: Any = import_module("distributed")
        self._spec_of: Any = import_module("dask._task_spec").Task
        self._connecting = anyio.Lock()
        self._where = self._address or await self.local.start()  # type: ignore[union-attr]
        self._client = await self._connect()

    async def _connect(self) -> Any:
        client = self._dask.Client(
            self._where, asynchronous=True, set_as_default=False, name="chancy", timeout=CONNECT
        )
        try:
            return await client
        except BaseException:
            with anyio.CancelScope(shield=True), suppress(Exception):
                await client.close()
            raise

    async def close(self) -> None:
        """Let go of all that was opened, however far that came, but for answers to be kept."""
        try:
            if self._client is not None:
                self.let_go([task for task in self.held if not task.kept])
                await self._client.close()
        finally:
            if self.local is not None:
                await self.local.close()

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

    @property
    def threads(self) -> int:
        """How many threads the cluster has, as of the last look at it: each two seconds."""
        return int(self._client.scheduler_info().get("total_threads", 0))

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

    def submit(self, client: Any, tasks: Sequence[Task]) -> None:
        """Send tasks, and have them held."""
        graph = {task.key: self._spec(task) for task in tasks}
        told = {"resources": self._resources, "fifo_timeout": 0}  # those that came first go first
        futures = client.get(graph, list(graph), sync=False, **told)
        for task, future in zip(tasks, futures, strict=True):
            task.future = future
        self._hold(tasks)

    def _spec(self, task: Task) -> Any:
        told = (self._setup, task.once, task.key, task.message)
        # Who produces data waits on the scheduler for a free thread. Others are given to workers at
        # once, and wait there behind what may take hours, while other workers have nothing to do.
        return self._spec_of(task.key, remote.perform_call, *told, _data_producer=True)

    def adopt(self, client: Any, task: Task) -> None:
        """Wait for a task that is over there already."""
        task.future = self._dask.Future(task.key, client)
        task.found = True
        client._send_to_scheduler(_message("desires", [task.key], client.id))  # noqa: SLF001
        self._hold([task])

    def let_go(self, tasks: Iterable[Task]) -> None:
        """Release tasks, so that the scheduler forgets them. What runs runs on, for nobody."""
        fresh = [task for task in tasks if not task.gone]
        for task in fresh:
            task.gone = True
        sent = [task for task in fresh if task.future is not None]
        self._unhold(sent)
        for task in sent:
            task.future.release()
            if task.once:
                self._client.loop.add_callback(self._forget_beginning, task.key)

    def leave(self, task: Task) -> None:
        """Wait no more for a task that is held, and let whoever claims its job next find it."""
        self.held.discard(task)
        if task.future is not None:
            task.future.release()

    async def kill(self, key: str) -> None:
        """Kill the process of our own that runs a task, if one does."""
        assert self.local is not None
        await self.local.kill(key, self._client.id)

    def tell_nobody(self, task: Task) -> None:
        """Let nobody else find a task, whose function goes on; its thread is not free before."""
        self._unhold([task])

    def _hold(self, tasks: Sequence[Task]) -> None:
        if self.local is None:
            self.held.update(tasks)
            self._send("desires", tasks)

    def _unhold(self, tasks: Sequence[Task]) -> None:
        held = self.held.intersection(tasks)
        self.held -= held
        if held:
            self._send("desires", [])  # a scheduler that was started anew has not heard of us
            self._send("releases", held)

    def _send(self, verb: str, tasks: Iterable[Task]) -> None:
        """Tell what is wanted by no client, as `fire_and_forget` does, which knows only nobody.

        The scheduler reads in order: what was submitted before is there when this is read.
        """
        keys: dict[str, list[str]] = {HOLDER: []}
        for task in tasks:
            keys.setdefault(NOBODY if task.once else HOLDER, []).append(task.key)
        with suppress(Exception):  # the client is closed, and nothing can be sent
            for holder, held in keys.items():
                self._client._send_to_scheduler(_message(verb, held, holder))  # noqa: SLF001

    async def _forget_beginning(self, key: str) -> None:
        with suppress(Exception):  # the scheduler is away, and forgets it all
            await self._client.unpublish_dataset(name := remote.begun(key))
            # It was wanted by a client of its own, which Dask would keep.
            message = {"op": "close-client", "client": f"published-{name}"}
            self._client._send_to_scheduler(message)  # noqa: SLF001

    # -- questions ---------------------------------------------------------------------------------

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

    async def look(self, keys: Sequence[str], *, end: bool) -> dict[str, tuple[bool, str]]:
        """Ask those workers that have tasks about them: see `remote.look`.

        Whoever does not answer in time has nothing to say.
        """
        found: dict[str, tuple[bool, str]] = {}
        with anyio.move_on_after(ASKING), suppress(Exception):
            theirs = await self._client.processing()
            asked = [worker for worker, has in theirs.items() if not set(keys).isdisjoint(has)]
            if asked:
                told = {"workers": asked, "on_error": "ignore"}
                answers = await self._client.run(remote.look, keys, end, **told)
                for answer in answers.values():
                    found |= answer
        return found

    async def forgotten(self, keys: Sequence[str]) -> None:
        """Wait until the scheduler has forgotten tasks, so that nobody takes them for later ones.

        Not for long: if it cannot be reached, it has lost us, and what we alone wanted.
        """
        if self.local is not None:
            return  # nobody looks
        with anyio.move_on_after(FORGETTING), suppress(Exception):
            while self._client.status == "running":
                found = await self._client.scheduler.get_task_status(keys=keys)
                if GONE.issuperset(found.values()):
                    return
                await anyio.sleep(PAUSE)

    async def gather(self, keys: Sequence[str]) -> dict[str, Any]:
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


def _message(verb: str, keys: list[str], client: str) -> dict[str, Any]:
    return {"op": f"client-{verb}-keys", "keys": keys, "client": client}
