"""What wakes a worker, and how it claims: one statement for all of its queues that may have work.

A queue that gave less than was asked for has run dry, and is not asked again until something
says otherwise: a hint from a producer, jobs that became due, or the queue's polling interval,
which holds whether hints arrive or not.
"""

import logging
import random
from collections.abc import Callable, Iterable
from uuid import UUID

import anyio
from anyio.abc import TaskGroup

from chancy_core import hint, tags
from chancy_core.errors import ChancyError
from chancy_core.hint import Hint
from chancy_core.installed import open_executor
from chancy_core.job import State
from chancy_core.postgres import Listener, Reconnected
from chancy_core.queue import Queue
from chancy_core.run import Lane
from chancy_core.settle import Settler
from chancy_core.store import statements
from chancy_core.store.rows import Claimed
from chancy_core.store.statements import Settlement
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.claim")

#: Seconds after which a worker looks, unasked, for new queues and for jobs that became due.
LOOK_AROUND = 5.0
#: Seconds that one claim may take.
CLAIM = 10.0
#: Seconds between two calls of `ensure_partitions`.
PARTITIONS = 6 * 3600.0


class Claimer:
    """The lanes of one worker, and the loops that keep them fed."""

    def __init__(
        self,
        store: Store,
        settler: Settler,
        *,
        tags: Iterable[str],
        incarnation: Callable[[], UUID],
    ) -> None:
        self.lanes: dict[str, Lane] = {}
        self._store = store
        self._settler = settler
        self._tags = frozenset(tags)
        self._incarnation = incarnation
        self._known_as = incarnation()
        self._skipped: set[str] = set()
        self._work = anyio.Event()
        self._due = anyio.Event()
        self._look = anyio.Event()

    def wake(self) -> None:
        """Look for work in whatever lanes may have some."""
        self._work.set()

    def requeued(self, settled: Iterable[Settlement]) -> None:
        """Look for jobs that went back: to be tried again, here or elsewhere."""
        for settlement in settled:
            if settlement.verdict.state is State.SCHEDULED:
                self._due.set()
            else:
                self._feed([settlement.job.queue])

    def _feed(self, queues: Iterable[str]) -> None:
        for name in queues:
            if name in self.lanes:
                self.lanes[name].hungry = True
        self.wake()

    async def claim(self, stopping: anyio.Event) -> None:
        """Claim while there are free slots and queues that may have work, until *stopping*."""
        tries = 0
        while not stopping.is_set():
            wait = self._poll_lanes()
            hungry = [lane for lane in self.lanes.values() if lane.hungry and lane.free > 0]
            if not hungry or self._settler.full:
                with anyio.move_on_after(0.05 if self._settler.full else wait):
                    await self._work.wait()
                self._work = anyio.Event()
                continue
            try:
                await self._claim_for({lane.queue.name: lane.free for lane in hungry})
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot claim: %s", exc)
                await anyio.sleep(backoff(tries))

    def _poll_lanes(self) -> float:
        """Make lanes hungry whose polling interval is over; return the seconds until the next."""
        now = anyio.current_time()
        for lane in self.lanes.values():
            if lane.next_poll <= now:
                lane.hungry = True
                lane.next_poll = now + lane.queue.polling_interval * random.uniform(0.8, 1.0)
        return min((lane.next_poll - now for lane in self.lanes.values()), default=LOOK_AROUND)

    async def watch_lease(self) -> None:
        """Notice, even when there is nothing to claim, that this worker was declared dead.

        The heartbeat's thread does not call us: a blocked event loop would then hold it up.
        """
        while True:
            await anyio.sleep(0.5)
            self._check_lease()

    def _check_lease(self) -> None:
        """Cancel all that runs under an incarnation that others declared dead."""
        if self._known_as != self._incarnation():
            self._known_as = self._incarnation()
            for lane in self.lanes.values():
                lane.cancel()
            self._feed(self.lanes)

    async def _claim_for(self, free: dict[str, int]) -> None:
        self._check_lease()
        for name in free:
            self.lanes[name].hungry = False
        claims: list[Claimed] = []
        try:
            # Shielded: what was claimed while we are told to stop must reach its lane, which
            # hands it back. If even that takes too long, it is given back when the worker leaves.
            with anyio.move_on_after(CLAIM, shield=True):
                claims = await self._store.run(
                    statements.claim(self._store.names, self._known_as, free)
                )
        except BaseException:
            self._feed(free)
            raise
        for name, asked in free.items():
            mine = [claimed for claimed in claims if claimed.job.queue == name]
            self.lanes[name].give(mine)
            if len(mine) >= asked:
                self.lanes[name].hungry = True

    async def promote(self) -> None:
        """Move jobs into line as they become due."""
        tries = 0
        while True:
            self._due = anyio.Event()
            try:
                queues, until = await self._store.run(statements.promote(self._store.names))
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot look for jobs that became due: %s", exc)
                await anyio.sleep(backoff(tries))
                continue
            self._feed(queues)
            if not queues:
                soonest = LOOK_AROUND * random.uniform(0.8, 1.0)
                with anyio.move_on_after(min(soonest, soonest if until is None else until)):
                    await self._due.wait()

    async def listen(self, listener: Listener) -> None:
        """Take hints (`pushed:`, `scheduled:`, `declared:` and a queue); nobody trusts them."""
        async with listener:
            async for event in listener:
                if isinstance(event, Reconnected):  # what was missed meanwhile is looked for
                    self._feed(self.lanes)
                    self._due.set()
                    self._look.set()
                    continue
                told = Hint.read(event.payload)
                if told.name == hint.PUSHED:
                    self._feed([told.subject])
                elif told.name == hint.SCHEDULED:
                    self._due.set()
                elif told.name == hint.DECLARED:
                    self._look.set()

    async def look_around(self, tasks: TaskGroup) -> None:
        """Open a lane, in *tasks*, for each queue that this worker is to run."""
        tries = 0
        while True:
            self._look = anyio.Event()
            try:
                for queue in (
                    await self._store.run(statements.all_queues(self._store.names))
                ).sound:
                    if queue.name not in self.lanes and tags.matches(queue.tags, self._tags):
                        self._open(queue, tasks)
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot read the queues: %s", exc)
            with anyio.move_on_after(backoff(tries) if tries else LOOK_AROUND):
                await self._look.wait()

    def _open(self, queue: Queue, tasks: TaskGroup) -> None:
        try:
            executor = open_executor(queue)
        except ChancyError as exc:
            if queue.name not in self._skipped:
                log.error("queue %r is not run here: %s", queue.name, exc)
            self._skipped.add(queue.name)
            return
        self._skipped.discard(queue.name)
        lane = Lane(queue, executor, settled=self._settler.put, wake=self.wake)
        self.lanes[queue.name] = lane
        tasks.start_soon(self._serve, lane, name=f"queue {queue.name}")

    async def _serve(self, lane: Lane) -> None:
        try:
            await lane.run()
        except Exception:
            if lane.opened:
                raise  # a defect of ours: it ends the worker, and never quietly
            log.exception("queue %r is not run here: its executor failed to open", lane.queue.name)
            await anyio.sleep(LOOK_AROUND)
            del self.lanes[lane.queue.name]

    async def keep_partitions(self) -> None:
        """See to it that the history has a partition for each of the coming days."""
        tries = 0
        while True:
            try:
                await self._store.run(statements.ensure_partitions(self._store.names))
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot make partitions of the history: %s", exc)
            await anyio.sleep(backoff(tries) if tries else PARTITIONS * random.uniform(0.8, 1.0))
