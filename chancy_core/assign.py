"""Which queues this worker runs: its lanes, kept as the rows of the queues say."""

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

import anyio
from anyio.abc import TaskGroup

from chancy_core import tags
from chancy_core.errors import ChancyError
from chancy_core.events import Events
from chancy_core.executor import Executor
from chancy_core.installed import open_executor
from chancy_core.job import QueuedJob
from chancy_core.lane import Lane
from chancy_core.outcome import Settlement
from chancy_core.plugins import WorkerPlugins
from chancy_core.queue import Queue
from chancy_core.store import statements
from chancy_core.store.rows import Queues
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.assign")

#: Seconds after which a worker looks, unasked, for queues that are new or have changed.
LOOK_AROUND = 4.2
#: What part of an interval passes before it is looked again, at least: workers do not go in step.
EARLY = 0.9
#: Seconds between two looks at the same thing, however many hints ask for one.
CALM = 0.05


class Lanes:
    """The lanes of one worker, by their queues' names."""

    def __init__(
        self,
        store: Store,
        *,
        tags: Iterable[str],
        only: frozenset[str] | None,
        holds: Callable[[QueuedJob], bool],
        settled: Callable[[Settlement], None],
        wake: Callable[[], None],
        events: Events,
        plugins: WorkerPlugins,
    ) -> None:
        #: Called with the seconds until the next job is due, whenever that was looked at.
        self.looked: Callable[[float | None], None] = lambda _: None
        self.current: dict[str, Lane] = {}
        #: All queues that there are, whoever runs them.
        self.known: list[Queue] = []
        self._leaving: set[Lane] = set()
        #: Those whose executors keep what has come of a call until it is written.
        self._keeping: set[Lane] = set()
        self._store = store
        self._tags = frozenset(tags)
        self._only = only
        self._holds = holds
        self._settled = settled
        self._wake = wake
        self._events = events
        self._plugins = plugins
        self._skipped: dict[str, str] = {}
        self._look = anyio.Event()

    def __iter__(self) -> Iterator[Lane]:
        """All lanes that may run something: also those whose queues have gone or changed."""
        yield from (*self.current.values(), *self._leaving)

    def hungry(self) -> list[Lane]:
        """Return the lanes that have room for more jobs, and may have work."""
        return [lane for lane in tuple(self.current.values()) if lane.hungry and lane.room]

    def poll(self) -> float:
        """Make lanes hungry whose polling interval is over; return the seconds until the next.

        Lanes that have waited for half of theirs go along: one claim serves them all, and from then
        on they come together.
        """
        now = anyio.current_time()
        lanes = self.current.values()
        if any(lane.next_poll <= now for lane in lanes):
            early = random.uniform(EARLY, 1.0)
            for lane in lanes:
                interval = lane.queue.polling_interval
                if lane.next_poll <= now + interval / 2:
                    lane.hungry = True
                    lane.next_poll = now + interval * early
        return min((lane.next_poll - now for lane in lanes), default=LOOK_AROUND)

    def tell(self, settled: Sequence[Settlement]) -> None:
        """Tell executors that want to know it which outcomes are not unwritten any more."""
        for lane in self._keeping:
            jobs = [each.job for each in settled if each.job.queue == lane.queue.name]
            if jobs:
                lane.executor.settled(jobs)

    def feed(self, queues: Iterable[str]) -> None:
        """Look for work in these queues."""
        for name in queues:
            if name in self.current:
                self.current[name].hungry = True
        self._wake()

    def look(self) -> None:
        """Read the queues soon: one of them may have changed."""
        self._look.set()

    async def keep(self, tasks: TaskGroup) -> None:
        """Keep the lanes, in *tasks*, as the rows of the queues say."""
        tries = 0
        while True:
            self._look = anyio.Event()
            pause = LOOK_AROUND * random.uniform(EARLY, 1.0)
            try:
                found = await self._look_around()
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot read the queues: %s", exc)
                pause = backoff(tries)
            else:
                tries = 0
                self._follow(found, tasks)
                if found.resumes_in is not None:
                    pause = min(pause, found.resumes_in + 0.01)
            await anyio.sleep(min(CALM, pause))
            with anyio.move_on_after(pause - CALM):
                await self._look.wait()

    async def _look_around(self) -> Queues:
        """Read the queues, and in the same breath ask what would be asked before the next look.

        To see that nothing waits in a queue is to poll it, without a claim.
        """
        began = anyio.current_time()
        dry = [
            lane
            for lane in self.current.values()
            if not (lane.hungry or lane.busy) and lane.next_poll < began + LOOK_AROUND
        ]
        names = [lane.queue.name for lane in dry]
        found = await self._store.run(statements.look(self._store.names, names))
        self.looked(found.due_in)
        early = random.uniform(EARLY, 1.0)
        for lane in dry:
            if lane.queue.name not in found.waiting:
                lane.next_poll = began + lane.queue.polling_interval * early
            elif lane.queue.rate_limit is None:  # else it knows best when it may be asked
                lane.hungry = True
                self._wake()
        return found.queues

    def _follow(self, found: Queues, tasks: TaskGroup) -> None:
        self.known = found.sound
        wanted = {q.name: q for q in found.sound if self.wants(q)}
        for name, problem in found.unsound.items():
            if self._may_run(name):
                self._skip(name, problem)
        for name in self.current.keys() - wanted.keys():
            self._retire(name)
        for queue in wanted.values():
            lane = self.current.get(queue.name)
            if lane is None:
                self._open(queue, tasks)
            elif lane.queue != queue:
                self._change(lane, queue, tasks)

    def _may_run(self, name: str) -> bool:
        return self._only is None or name in self._only

    def wants(self, queue: Queue) -> bool:
        """Whether a queue is one that this worker is to run."""
        return self._may_run(queue.name) and tags.matches(queue.tags, self._tags)

    def _change(self, lane: Lane, queue: Queue, tasks: TaskGroup) -> None:
        same = lane.queue.executor == queue.executor
        if same and lane.queue.executor_options == queue.executor_options:
            lane.change(queue)
            self._events.emit("worker.queue.changed", queue.name, queue)
            return
        self._retire(queue.name)
        self._open(queue, tasks)

    def _retire(self, name: str) -> None:
        lane = self.current.pop(name)
        if lane.opened:
            self._leaving.add(lane)
        lane.retire()

    def _skip(self, name: str, problem: str) -> None:
        if self._skipped.get(name) != problem:
            log.error("queue %r is not run here: %s", name, problem)
            self._events.emit("worker.queue.skipped", name, problem)
        self._skipped[name] = problem

    def _open(self, queue: Queue, tasks: TaskGroup) -> None:
        try:
            executor = open_executor(queue, self._plugins.beside.paths)
        except ChancyError as exc:
            self._skip(queue.name, str(exc))
            return
        self._skipped.pop(queue.name, None)
        lane = Lane(
            queue,
            executor,
            holds=self._holds,
            settled=self._settled,
            wake=self._wake,
            events=self._events,
            plugins=self._plugins,
            leaving=partial(self._still_running, queue.name),
        )
        self.current[queue.name] = lane
        if type(executor).settled is not Executor.settled:
            self._keeping.add(lane)
        tasks.start_soon(self._serve, lane, name=f"queue {queue.name}")

    def _still_running(self, name: str) -> int:
        """Count the jobs of a queue from before its executor changed, or it left and came back."""
        return sum(lane.busy for lane in self._leaving if lane.queue.name == name)

    async def _serve(self, lane: Lane) -> None:
        try:
            await lane.run()
        except Exception as exc:
            if lane.opened:  # a defect of ours: it ends the worker, and never quietly
                log.critical("queue %r: its lane has died, and ends the worker", lane.queue.name)
                raise
            log.exception("queue %r is not run here: its executor failed to open", lane.queue.name)
            self._events.emit("worker.queue.skipped", lane.queue.name, repr(exc))
            await anyio.sleep(LOOK_AROUND)
            if self.current.get(lane.queue.name) is lane:
                del self.current[lane.queue.name]
        finally:
            self._leaving.discard(lane)
            self._keeping.discard(lane)
            if lane.opened:
                self._events.emit("worker.queue.stopped", lane.queue.name, lane.queue)
