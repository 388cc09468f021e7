"""The slots of one queue on one worker, and how they follow the queue's settings while they run."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from uuid import UUID

import anyio
from anyio.abc import TaskGroup

from chancy_core.ahead import Ahead
from chancy_core.events import Events
from chancy_core.executor import Executor
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.plugins import WorkerPlugins
from chancy_core.queue import Queue
from chancy_core.run import Attempt
from chancy_core.slot import Slot
from chancy_core.store.rows import Claimed

#: Seconds after which plugins that let a lane take nothing are asked again.
AGAIN = 0.25
#: Seconds after which what was claimed and has not begun goes back.
LATE = 1.0
#: How many slots are roused at once for jobs that wait: each rouses others when it takes one.
ROUSED = 8


class Lane:
    """One queue on one worker: its executor, its slots, and what they run.

    Slots are started when they are first needed, and those that are too many leave when they have
    nothing to do. A lane whose queue had another one before (its executor changed) uses those slots
    that the other does not use any more: *leaving* says how many it uses still.
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
        self.executor = executor
        self.plugins = plugins
        #: Whether the queue may hold more than was claimed: nobody asks a queue that ran dry.
        self.hungry = True
        self.next_poll = 0.0
        self.running: set[Attempt] = set()
        #: What may be claimed before there is a slot for it.
        self.ahead = Ahead()
        self._holds = holds
        self._settled = settled
        self._wake = wake
        self._events = events
        self._leaving = leaving
        #: What was claimed and has not begun, and since when, by the monotonic clock.
        self._waiting: deque[tuple[Claimed, float]] = deque()
        self._idle: list[anyio.Event] = []
        self._slots = 0
        self._roused = 0
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
        """How many more jobs this lane has slots for: below 0, if some were claimed ahead."""
        if self._closed:
            return 0
        return self.executor.concurrency - self.busy - self._leaving()

    @property
    def _closed(self) -> bool:
        return (
            self._tasks is None or self.queue.state is Queue.State.PAUSED or self._retired.is_set()
        )

    @property
    def room(self) -> int:
        """How many jobs are worth a claim now: for free slots at once, ahead of them in bulk."""
        free = self.free
        if self._closed or self.gated:
            return max(0, free)
        ahead = self.ahead.most(self.executor.concurrency)
        room = free + ahead
        return max(0, room) if free > 0 or 2 * room >= ahead else 0

    @property
    def gated(self) -> bool:
        """Whether somebody counts how many jobs of the queue begin, so that none is held back."""
        return self.queue.rate_limit is not None or self.plugins.budgets

    async def allowed(self) -> int:
        """Return how many jobs plugins let this lane take; if none, they are asked again soon."""
        if not self.plugins.budgets:
            return self.room
        free = await self.plugins.budget(self.queue, self.free)
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
        yield from (claimed for claimed, _ in self._waiting)

    def change(self, queue: Queue) -> None:
        """Follow new settings of the same executor; what runs is not touched."""
        self.queue = queue
        self.executor.resize(queue.concurrency or type(self.executor).default_concurrency)
        self.hungry = True
        self.next_poll = 0.0
        if self.paused or self.gated:
            self.hand_back()
        while self._idle:  # those that are too many by now leave
            self._rouse_one()
        self._wake()

    def retire(self) -> None:
        """Take nothing more: hand back what has not begun, let the rest end, and close."""
        self._retired.set()
        self.hand_back()

    def give(self, claims: Iterable[Claimed]) -> None:
        """Hand jobs to the slots, in this order."""
        assert self._tasks is not None, "a lane takes jobs only while it runs"
        now = monotonic()
        self._waiting.extend((claimed, now) for claimed in claims)
        if self._retired.is_set() or self.paused:  # claimed at the moment when that came
            self.hand_back()
            return
        self._rouse()
        if self._events and self.free <= 0:
            self._events.emit("worker.queue.full", self.queue.name, self.queue)

    async def run(self) -> None:
        """Serve the queue until it retires. An executor that cannot be opened is an error here."""
        async with self.executor, anyio.create_task_group() as self._tasks:
            self._events.emit("worker.queue.started", self.queue.name, self.queue)
            self._wake()
            await self._retired.wait()
            await self.drained()
            self._tasks.cancel_scope.cancel()

    # -- for the slots -----------------------------------------------------------------------------

    def take(self) -> Claimed | None:
        """Return the next job that is surely still ours; None if a slot has nothing to do."""
        if self._slots > self.executor.concurrency:
            return None
        while self._waiting:
            claimed, _ = self._waiting.popleft()
            if self._holds(claimed.job):
                if self._waiting:
                    self._rouse()
                return claimed
            self._hand_back(claimed)  # we were frozen meanwhile, and it may be another's
        return None

    async def turn(self) -> Claimed | None:
        """Wait for a job; None says that there is a slot too many, which leaves."""
        while True:
            if self._slots > self.executor.concurrency:
                self._slots -= 1
                return None
            self._quiet.set()
            turn = anyio.Event()
            self._idle.append(turn)
            try:
                await turn.wait()
            finally:
                if turn.is_set():
                    self._roused -= 1
                else:
                    self._idle.remove(turn)
            claimed = self.take()
            if claimed is not None:
                return claimed

    def begin(self, attempt: Attempt) -> None:
        """Note that an attempt begins."""
        self.running.add(attempt)
        if self._events:
            self._events.emit("job.started", str(attempt.job.id), attempt.job)

    def end(self, attempt: Attempt, outcome: Outcome, seconds: float | None = None) -> None:
        """Decide what becomes of a job whose attempt ended after *seconds*, and have it written."""
        try:
            verdict = self.plugins.verdict(attempt.job, outcome)
            self._settled(Settlement(attempt.job, outcome, verdict, seconds))
        finally:
            self.leave(attempt)
        if self.queue.eager_polling:
            self.hungry = True
        if self.hungry or self._retired.is_set():
            self._wake()

    def leave(self, attempt: Attempt) -> None:
        """Note that an attempt is over, whether it has an outcome or not."""
        self.running.discard(attempt)
        self._quiet.set()

    def start(self) -> None:
        """Start a slot: one more, or in place of one whose task a job has cancelled."""
        assert self._tasks is not None
        self._roused += 1
        self._tasks.start_soon(Slot(self).run)

    def started(self) -> None:
        """Note that a slot has started."""
        self._roused -= 1

    def _rouse(self) -> None:
        """Have slots take what waits: some, since one may do where jobs wait for nothing."""
        while self._roused < min(ROUSED, len(self._waiting)):
            if self._idle:
                self._rouse_one()
            elif self._slots < self.executor.concurrency:
                self._slots += 1
                self.start()
            else:
                return

    def _rouse_one(self) -> None:
        self._roused += 1
        self._idle.pop().set()

    # -- ending ------------------------------------------------------------------------------------

    def hand_back(self) -> None:
        """Settle what has not begun: it goes back into the queue, uncounted."""
        while self._waiting:
            self._hand_back(self._waiting.popleft()[0])
        self._quiet.set()

    def hand_back_late(self) -> None:
        """Hand back what has waited here for too long, so that others can have it."""
        late = monotonic() - LATE
        while self._waiting and self._waiting[0][1] < late:
            self._hand_back(self._waiting.popleft()[0])
            self.ahead.stop()
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
        for waiting in tuple(self._waiting):
            if waiting[0].job.lease_id == lease:  # it is finished as it is handed back
                self._waiting.remove(waiting)
                self._hand_back(waiting[0])
        self._quiet.set()

    async def drained(self) -> None:
        """Return when nothing runs here any more. Several may wait: a stop, and a retirement."""
        while self.running or self._waiting:
            if self._quiet.is_set():
                self._quiet = anyio.Event()
            await self._quiet.wait()
