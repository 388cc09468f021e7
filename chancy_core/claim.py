"""How a worker claims: one statement for all of its queues that may have work.

A queue that gave less than was asked for has run dry, and is not asked again until something
says otherwise: a hint from a producer, jobs that became due, or the queue's polling interval,
which holds whether hints arrive or not. A queue with a rate limit is asked behind its lock.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from uuid import UUID

import anyio
import psycopg

from chancy_core.assign import CALM, Lanes
from chancy_core.events import Events
from chancy_core.health.asked import Asked
from chancy_core.heartbeat import Heartbeat
from chancy_core.job import State
from chancy_core.lane import Lane
from chancy_core.outcome import Settlement
from chancy_core.place import Places
from chancy_core.plugins import WorkerPlugins
from chancy_core.run import Attempt
from chancy_core.settle import Settler
from chancy_core.store import statements
from chancy_core.store.rows import Claimed
from chancy_core.store.running import run_on
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.claim")

#: Seconds that one claim may take.
CLAIM = 10.0
#: Seconds between two audits, if nothing asks for one; and how many of them are spared, one after
#: the other, while the worker holds nothing and no claim has failed for as long.
AUDIT, SPARED = 4.0, 14
#: Seconds before the end of its lease at which a worker ends what needs a sure one.
MARGIN = 1.0


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
        self._known_as = heartbeat.incarnation
        self._work = anyio.Event()
        self._audit = anyio.Event()
        #: How many audits are not to be spared, since a claim has failed.
        self._doubt = 0
        #: Held while a claim is under way: an audit must know all that was claimed.
        self._claiming = anyio.Lock()
        self._places = Places()
        #: How the last claim went.
        self.asked = Asked()

    def wake(self) -> None:
        """Look for work in whatever lanes may have some."""
        self._work.set()

    def attempts(self) -> Iterator[Attempt]:
        """All that run here at this moment."""
        for lane in self.lanes:
            yield from tuple(lane.running)

    def audit_soon(self) -> None:
        """Look soon whether a running job is wanted cancelled."""
        self._audit.set()

    def feed(self, queues: Collection[str], *, back: bool = False) -> None:
        """Look for work in these queues; for jobs that went *back* to where they were in line."""
        if back:
            self._places.leave(queues)
        for name in queues:
            if name in self.lanes.current:
                self.lanes.current[name].hungry = True
        self.wake()

    def requeued(self, settled: Iterable[Settlement]) -> None:
        """Look for jobs that went back, to be tried again: here or elsewhere."""
        self.feed({s.job.queue for s in settled if s.verdict.state is State.PENDING}, back=True)

    def _let_go(self, settled: Iterable[Settlement]) -> None:
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
                async with self._claiming:
                    with self.asked:
                        await self._claim_for(hungry)
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                self._doubt_claim()
                log.warning("cannot claim: %s", exc)
                await anyio.sleep(backoff(tries))

    async def _claim_for(self, hungry: Sequence[Lane]) -> None:
        self._check_lease()
        open_ = [lane for lane in hungry if lane.queue.rate_limit is None]
        asked = {lane: most for lane in open_ if (most := await lane.allowed())}
        if asked:
            free = {lane: min(most, max(0, lane.free)) for lane, most in asked.items()}
            claims = await self._take(list(asked), partial(self._claim, asked, free))
            for lane, mine in _sorted_out(asked, claims):
                self._learn(lane, free[lane], asked[lane], mine)
                self._hand_over(lane, mine)
        for lane in hungry:
            if lane.queue.rate_limit is not None and lane.free > 0:
                claims = await self._take([lane], partial(self._claim_behind_limit, lane))
                self._hand_over(lane, claims)

    def _hand_over(self, lane: Lane, claims: list[Claimed]) -> None:
        """Give a lane what was claimed for it, or the lane that has followed it meanwhile."""
        current = self.lanes.current.get(lane.queue.name, lane)
        room = 0 if current is lane else current.free
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
                self._doubt_claim()
        except BaseException:
            self.feed([lane.queue.name for lane in lanes])
            raise
        return claims

    def _learn(self, lane: Lane, free: int, asked: int, claims: Sequence[Claimed]) -> None:
        """Learn from what a claim has given whether, when and where in line to claim again."""
        more = lane.ahead.answered(free, asked, len(claims))
        lane.hungry = more or lane.hungry
        passed = ((c.job.priority, c.seq) for c in claims if not c.job.crashes)
        again = self._places.passed(lane.queue.name, passed)
        if free <= len(claims) < asked:  # what is left may be such as is never claimed ahead
            self._places.leave([lane.queue.name])
        lane.next_poll = min(lane.next_poll, anyio.current_time() + again)

    async def _claim(self, asked: dict[Lane, int], free: dict[Lane, int]) -> list[Claimed]:
        return await self._store.run(
            statements.claim(
                self._store.names,
                self._known_as,
                {lane.queue.name: number for lane, number in free.items()},
                ahead={lane.queue.name: asked[lane] - free[lane] for lane in asked},
                suspect=not self._has_suspect(),
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
                        self._known_as,
                        {queue.name: asked},
                        suspect=not self._has_suspect(),
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

    def _has_suspect(self) -> bool:
        """Whether a suspect would be charged if this worker died now."""
        held = any(claimed.job.crashes for lane in self.lanes for claimed in lane.held)
        return held or any(settlement.job.crashes for settlement in self._settler.unwritten)

    async def watch_lease(self) -> None:
        """Follow the heartbeat, whose thread does not call us: a blocked loop would hold it up."""
        while True:
            await anyio.sleep(0.5)
            self._heartbeat.check()
            self._check_lease()
            if time.monotonic() > self._heartbeat.sure_until - MARGIN:
                for lane in self.lanes:
                    lane.cancel_exclusive()
            for lane in self.lanes:
                lane.hand_back_late()
            self.hear_of_the_rescued()

    def hear_of_the_rescued(self) -> None:
        """Tell whoever looks on of the jobs that were taken back since the last call."""
        if rescued := self._heartbeat.rescued():
            self._plugins.observers.tell("chancy_jobs_rescued", rescued=rescued)
            self.feed({one.queue for one in rescued}, back=True)
        for one in rescued:
            self._events.emit("job.rescued", str(one.job), one.state)

    def _check_lease(self) -> None:
        """Cancel all that runs under an incarnation that others declared dead."""
        if self._known_as != self._heartbeat.incarnation:
            self._known_as = self._heartbeat.incarnation
            self._events.emit("worker.lease_lost", self._heartbeat.name)
            for lane in self.lanes:
                lane.cancel()
            self.feed(self.lanes.current, back=True)

    async def audit(self) -> None:
        """End what is wanted cancelled, and give back what is marked as ours without our knowing.

        A claim that was committed, but whose answer was lost, leaves such rows.
        """
        tries = spared = 0
        while True:
            with anyio.move_on_after(backoff(tries) if tries else AUDIT):
                await self._audit.wait()
            asked = self._audit.is_set() or tries
            if not (asked or self._doubt or self._holds_some or spared >= SPARED):
                spared += 1
                continue
            spared, self._doubt = 0, max(0, self._doubt - 1)
            self._audit = anyio.Event()
            try:
                async with self._claiming:
                    await self._look_after()
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot look after what is held: %s", exc)
            await anyio.sleep(CALM)

    @property
    def _holds_some(self) -> bool:
        return any(lane.busy for lane in self.lanes) or any(self._settler.unwritten)

    def _doubt_claim(self) -> None:
        """Audit now and for a while on: a claim may be committed after it was given up."""
        self._doubt = SPARED
        self._audit.set()

    async def _look_after(self) -> None:
        known = {claimed.job.lease_id for lane in self.lanes for claimed in lane.held}
        known |= {settlement.job.lease_id for settlement in self._settler.unwritten}
        names = self._store.names
        leases = [lease for lease in known if lease is not None]
        found = await self._store.run(statements.audit(names, self._known_as, leases))
        unknown: list[UUID] = []
        for _, lease, cancelling in found:
            if lease not in known:
                unknown.append(lease)
            elif cancelling:
                for lane in self.lanes:
                    lane.cancel_job(lease)
        if unknown:
            back = await self._store.run(statements.give_back(names, self._known_as, unknown))
            log.warning("gave back %d jobs whose claim's answer was lost", len(back))
            self.feed({queue for queue, _ in back.values()}, back=True)


def _sorted_out(
    lanes: Iterable[Lane], claims: list[Claimed]
) -> Iterator[tuple[Lane, list[Claimed]]]:
    """Yield for each lane what was claimed of its queue, in this order."""
    found: dict[str, list[Claimed]] = {lane.queue.name: [] for lane in lanes}
    for claimed in claims:
        found[claimed.job.queue].append(claimed)
    yield from ((lane, found[lane.queue.name]) for lane in lanes)
