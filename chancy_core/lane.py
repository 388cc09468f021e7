"""The slots of one queue on one worker, and how they follow the queue's settings while they run."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from uuid import UUID

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from chancy_core.events import Events
from chancy_core.executor import Executor
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.plugins import WorkerPlugins
from chancy_core.queue import Queue
from chancy_core.run import Attempt
from chancy_core.store.rows import Claimed

#: Seconds after which plugins that let a lane take nothing are asked again.
AGAIN = 0.25


class Lane:
    """One queue on one worker: its executor, its slots, and what they run.

    A slot is a task that lives as long as the lane; a new task for each job costs three times
    as much. Slots are started when they are first needed, and those that are too many leave when
    they have nothing to do. A lane whose queue had another one before (its executor changed) uses
    those slots that the other does not use any more: *leaving* says how many it uses still.
    """

    def __init__(
        self,
        queue: Queue,
        executor: Executor,
        *,
        holds: Callable[[QueuedJob], bool],
        settled: Callable[[Settlement], None],
        wake: Callable[[], None],
        events: Events,
        plugins: WorkerPlugins,
        leaving: Callable[[], int] = lambda: 0,
    ) -> None:
        self.queue = queue
        #: Whether the queue may hold more than was claimed: nobody asks a queue that ran dry.
        self.hungry = True
        self.next_poll = 0.0
        self.running: set[Attempt] = set()
        self._executor = executor
        self._holds = holds
        self._settled = settled
        self._wake = wake
        self._events = events
        self._plugins = plugins
        self._leaving = leaving
        self._waiting: deque[Claimed] = deque()
        self._idle: list[anyio.Event] = []
        self._slots = 0
        self._tasks: TaskGroup | None = None
        self._quiet = anyio.Event()
        self._retired = anyio.Event()

    @property
    def opened(self) -> bool:
        """Whether the executor is open, and jobs can be run."""
        return self._tasks is not None

    @property
    def busy(self) -> int:
        """How many jobs this lane has."""
        return len(self.running) + len(self._waiting)

    @property
    def free(self) -> int:
        """How many more jobs this lane can take."""
        if self._tasks is None or self._retired.is_set():
            return 0
        return 0 if self.paused else self._executor.concurrency - self.busy - self._leaving()

    async def allowed(self) -> int:
        """Return how many jobs plugins let this lane take; if none, they are asked again soon."""
        free = await self._plugins.budget(self.queue, self.free)
        if not free:
            self.hungry = False
            self.next_poll = min(self.next_poll, anyio.current_time() + AGAIN)
        return free

    @property
    def paused(self) -> bool:
        """Whether nothing is to be claimed for this queue."""
        return self.queue.state is Queue.State.PAUSED

    @property
    def held(self) -> Iterator[Claimed]:
        """What was claimed for this lane and has no outcome yet."""
        yield from (attempt.claimed for attempt in self.running)
        yield from self._waiting

    def change(self, queue: Queue) -> None:
        """Follow new settings of the same executor; what runs is not touched."""
        self.queue = queue
        self._executor.resize(queue.concurrency or type(self._executor).default_concurrency)
        self.hungry = True
        self.next_poll = 0.0
        while self._idle:  # those that are too many by now leave
            self._idle.pop().set()
        self._wake()

    def retire(self) -> None:
        """Take nothing more: hand back what has not begun, let the rest end, and close."""
        self._retired.set()
        self.hand_back()

    def give(self, claims: Iterable[Claimed]) -> None:
        """Hand jobs to the slots; no more than are free."""
        assert self._tasks is not None, "a lane takes jobs only while it runs"
        if self._retired.is_set():  # claimed at the moment when the queue went
            self._waiting.extend(claims)
            self.hand_back()
            return
        for claimed in claims:
            self._waiting.append(claimed)
            if self._idle:
                self._idle.pop().set()
            elif self._slots < self._executor.concurrency:
                self._slots += 1
                self._tasks.start_soon(self._slot)
        if self._events and self.free <= 0:
            self._events.emit("worker.queue.full", self.queue.name, self.queue)

    async def run(self) -> None:
        """Serve the queue until it retires. An executor that cannot be opened is an error here."""
        async with self._executor, anyio.create_task_group() as self._tasks:
            self._events.emit("worker.queue.started", self.queue.name, self.queue)
            self._wake()
            await self._retired.wait()
            await self.drained()
            self._tasks.cancel_scope.cancel()

    async def _slot(self) -> None:
        task = anyio.get_current_task()
        while True:
            while not self._waiting:
                if self._slots > self._executor.concurrency:
                    self._slots -= 1
                    return
                self._quiet.set()
                turn = anyio.Event()
                self._idle.append(turn)
                await turn.wait()
            claimed = self._waiting.popleft()
            if not self._holds(claimed.job):  # we were frozen meanwhile, and it may be another's
                self._hand_back(claimed)
                continue
            attempt = Attempt(claimed, task)
            self.running.add(attempt)
            if self._events:
                self._events.emit("job.started", str(attempt.job.id), attempt.job)
            try:
                outcome = await attempt.run(self._executor, self._plugins)
                verdict = self._plugins.verdict(attempt.job, outcome)
                self._settled(Settlement(attempt.job, outcome, verdict))
            finally:
                self.running.remove(attempt)
                self._quiet.set()
            if self.queue.eager_polling:
                self.hungry = True
            if self.hungry or self._retired.is_set():
                self._wake()
            if task.has_pending_cancellation() and await self._replaced():
                return

    async def _replaced(self) -> bool:
        """Whether a job has cancelled the very task that ran it: the next job gets a fresh one."""
        if anyio.current_effective_deadline() == float("-inf"):
            return False  # it is we who have cancelled it
        with suppress(anyio.get_cancelled_exc_class()):
            await checkpoint()
        assert self._tasks is not None
        self._tasks.start_soon(self._slot)
        return True

    def hand_back(self) -> None:
        """Settle what has not begun: it goes back into the queue, uncounted."""
        while self._waiting:
            self._hand_back(self._waiting.popleft())
        self._quiet.set()

    def _hand_back(self, claimed: Claimed) -> None:
        back = Verdict(State.PENDING, counted=False)
        self._settled(Settlement(claimed.job, Outcome(Kind.SHUTDOWN), back))

    def cancel(self) -> None:
        """End all attempts; what they did not finish goes back into the queue, uncounted."""
        for attempt in self.running:
            attempt.end(Kind.SHUTDOWN)

    def cancel_exclusive(self) -> None:
        """End those attempts that must not run without a lease that is sure."""
        for attempt in self.running:
            if attempt.job.exclusive:
                attempt.end(Kind.SHUTDOWN)

    def cancel_job(self, lease: UUID) -> None:
        """End the attempt under *lease*, if it runs here: somebody wants its job cancelled."""
        for attempt in self.running:
            if attempt.job.lease_id == lease:
                attempt.end(Kind.CANCELLED)

    async def drained(self) -> None:
        """Return when nothing runs here any more. Several may wait: a stop, and a retirement."""
        while self.running or self._waiting:
            if self._quiet.is_set():
                self._quiet = anyio.Event()
            await self._quiet.wait()
