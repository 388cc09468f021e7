"""How a worker claims: one statement for all of its queues that may have work.

A queue that gave less than was asked for has run dry, and is not asked again until something
says otherwise: a hint from a producer, jobs that became due, or the queue's polling interval,
which holds whether hints arrive or not. A queue with a rate limit is asked behind its lock.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from functools import partial

import anyio
import psycopg

from chancy_core.assign import Lanes
from chancy_core.events import Events
from chancy_core.health.asked import Asked
from chancy_core.heartbeat import Heartbeat
from chancy_core.holding import Holding
from chancy_core.job import State
from chancy_core.lane import Lane
from chancy_core.outcome import Settlement
from chancy_core.place import Places
from chancy_core.plugins import WorkerPlugins
from chancy_core.settle import Settler
from chancy_core.store import statements
from chancy_core.store.rows import Claimed
from chancy_core.store.running import run_on
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.claim")

#: Seconds that one claim may take.
CLAIM = 10.0


class Claimer:
    """Feeds the lanes of one worker, and looks after what it holds."""

    def __init__(
        self,
        store: Store,
        settler: Settler,
        heartbeat: Heartbeat,
        *,
        tags: Iterable[str],
        only: frozenset[str] | None = None,
        events: Events,
        plugins: WorkerPlugins,
    ) -> None:
        self.lanes = Lanes(
            store,
            tags=tags,
            only=only,
            holds=heartbeat.holds,
            settled=settler.put,
            wake=self.wake,
            events=events,
            plugins=plugins,
        )
        self._plugins = plugins
        self._events = events
        self._store = store
        self._settler = settler
        settler.let_go = self._let_go
        self._heartbeat = heartbeat
        self._work = anyio.Event()
        self.holding = Holding(
            store, settler, heartbeat, self.lanes, feed=self.feed, events=events, plugins=plugins
        )
        self._places = Places()
        #: How the last claim went.
        self.asked = Asked()

    def wake(self) -> None:
        """Look for work in whatever lanes may have some."""
        self._work.set()

    def feed(self, queues: Collection[str], *, back: bool = False) -> None:
        """Look for work in these queues; for jobs that went *back* to where they were in line."""
        if back:
            self._places.leave(queues)
        self.lanes.feed(queues)

    def requeued(self, settled: Iterable[Settlement]) -> None:
        """Look for jobs that went back, to be tried again: here or elsewhere."""
        self.feed({s.job.queue for s in settled if s.verdict.state is State.PENDING}, back=True)

    def _let_go(self, settled: Sequence[Settlement]) -> None:
        self.lanes.tell(settled)
        if any(s.job.crashes for s in settled):  # the next suspect may come
            self.feed(self.lanes.current)

    async def claim(self, stopping: anyio.Event) -> None:
        """Claim while there are free slots and queues that may have work, until *stopping*."""
        tries = 0
        while not stopping.is_set():
            wait = self.lanes.poll()
            hungry = self.lanes.hungry()
            held_up = self._settler.full or not self._heartbeat.sure
            if not hungry or held_up:
                with anyio.move_on_after(0.05 if held_up else wait):
                    await self._work.wait()
                self._work = anyio.Event()
                continue
            try:
                with self.asked:  # and so it says if it waits behind an audit
                    async with self.holding.claiming:
                        await self._claim_for(hungry)
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                self.holding.doubt()
                log.warning("cannot claim: %s", exc)
                await anyio.sleep(backoff(tries))

    async def _claim_for(self, hungry: Sequence[Lane]) -> None:
        self.holding.check_lease()
        open_ = [lane for lane in hungry if lane.queue.rate_limit is None]
        asked = {lane: most for lane in open_ if (most := await lane.allowed())}
        if asked:
            free = {lane: min(most, max(0, lane.free)) for lane, most in asked.items()}
            claims = await self._take(list(asked), partial(self._claim, asked, free))
            now = anyio.current_time()
            for lane, mine in _sorted_out(asked, claims):
                self._learn(lane, free[lane], asked[lane], mine, now)
                self._hand_over(lane, mine)
        for lane in hungry:
            if lane.queue.rate_limit is not None and lane.free > 0:
                claims = await self._take([lane], partial(self._claim_behind_limit, lane))
                self._hand_over(lane, claims)

    def _hand_over(self, lane: Lane, claims: list[Claimed]) -> None:
        """Give a lane what was claimed for it, or the lane that has followed it meanwhile."""
        self._plugins.beside.rouse()
        current = self.lanes.current.get(lane.queue.name, lane)
        room = 0 if current is lane else max(0, current.free)
        if room:
            current.give(claims[:room])
        lane.give(claims[room:])

    async def _take(
        self, lanes: Sequence[Lane], claim: Callable[[], Awaitable[list[Claimed]]]
    ) -> list[Claimed]:
        """Claim for lanes that are hungry; on failure they still are."""
        for lane in lanes:
            lane.hungry = False
        claims: list[Claimed] = []
        try:
            # Shielded: what was claimed while we are told to stop must reach its lane, which
            # hands it back. If even that takes too long, an audit finds it, or it is given back
            # when the worker leaves.
            with anyio.move_on_after(CLAIM, shield=True) as late:
                claims = await claim()
            if late.cancelled_caught:
                self.holding.doubt()
        except BaseException:
            self.feed([lane.queue.name for lane in lanes])
            raise
        return claims

    def _learn(
        self, lane: Lane, free: int, asked: int, claims: Sequence[Claimed], now: float
    ) -> None:
        """Learn from what a claim has given whether, when and where in line to claim again."""
        more = lane.ahead.answered(free, asked, len(claims))
        lane.hungry = more or lane.hungry
        passed = ((c.job.priority, c.seq) for c in claims if not c.job.crashes)
        again = self._places.passed(lane.queue.name, passed)
        if free <= len(claims) < asked:  # what is left may be such as is never claimed ahead
            self._places.leave([lane.queue.name])
        lane.next_poll = min(lane.next_poll, now + again)

    async def _claim(self, asked: dict[Lane, int], free: dict[Lane, int]) -> list[Claimed]:
        return await self._store.run(
            statements.claim(
                self._store.names,
                self.holding.known_as,
                {lane.queue.name: number for lane, number in free.items()},
                ahead={lane.queue.name: asked[lane] - free[lane] for lane in asked},
                suspect=not self.holding.has_suspect(),
                places=self._places.of([lane.queue.name for lane in asked]),
            )
        )

    async def _claim_behind_limit(self, lane: Lane) -> list[Claimed]:
        """Claim for a queue with a rate limit; one that cannot be counted costs its own queue."""
        try:
            return await self._claim_limited(lane)
        except TRANSIENT:
            raise
        except psycopg.Error as exc:
            log.error("queue %r: its rate limit cannot be counted: %s", lane.queue.name, exc)
            return []

    async def _claim_limited(self, lane: Lane) -> list[Claimed]:
        """Claim what the rate limit of a queue allows, which is counted under its lock."""
        names, queue = self._store.names, lane.queue
        claims: list[Claimed] = []
        free = await lane.allowed()
        if not free:
            return claims
        async with self._store.connection() as conn, conn.transaction():
            budget = await run_on(conn, statements.rate_lock(names, queue.name))
            if budget is None:  # the limit, or the queue, has just gone
                self.lanes.look()
                return []
            allowed, wait = budget
            asked = min(allowed, free)
            if asked:
                claims = await run_on(
                    conn,
                    statements.claim(
                        names,
                        self.holding.known_as,
                        {queue.name: asked},
                        suspect=not self.holding.has_suspect(),
                        limited=True,
                    ),
                )
            if claims:
                await run_on(conn, statements.rate_charge(names, queue.name, len(claims)))
        if len(claims) == asked:  # there may be more, once the limit allows it
            assert queue.rate_limit is not None
            assert queue.rate_limit_window is not None
            pause = queue.rate_limit_window / queue.rate_limit if asked else wait
            lane.next_poll = min(lane.next_poll, anyio.current_time() + pause)
        return claims


def _sorted_out(
    lanes: Iterable[Lane], claims: list[Claimed]
) -> Iterator[tuple[Lane, list[Claimed]]]:
    """Yield for each lane what was claimed of its queue, in this order."""
    found: dict[str, list[Claimed]] = {lane.queue.name: [] for lane in lanes}
    for claimed in claims:
        found[claimed.job.queue].append(claimed)
    yield from ((lane, found[lane.queue.name]) for lane in lanes)
