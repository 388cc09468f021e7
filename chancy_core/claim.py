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
from chancy_core.place import Pace, Places
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
#: Seconds between two audits, if nothing asks for one.
AUDIT = 4.0
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
        #: Held while a claim is under way: an audit must know all that was claimed.
        self._claiming = anyio.Lock()
        self._places = Places()
        self._pace = Pace()
        #: How the last claim went.
        self.asked = Asked()

    def wake(self) -> None:
        """Look for work in whatever lanes may have some."""
        self._work.set()

    def attempts(self) -> Iterator[Attempt]:
        """All that run here at this moment."""
        for lane in self.lanes:
            yield from tuple(lane.running)

    def audit_soon(self, *, doubt: bool = False) -> None:
        """Look soon whether a running job is wanted cancelled, and in *doubt* what else is ours."""
        if doubt:
            self._pace.hurry()
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
                self.audit_soon(doubt=True)
                log.warning("cannot claim: %s", exc)
                await anyio.sleep(backoff(tries))

    async def _claim_for(self, hungry: Sequence[Lane]) -> None:
        self._check_lease()
        open_ = [lane for lane in hungry if lane.queue.rate_limit is None]
        free = {lane.queue.name: most for lane in open_ if (most := await lane.allowed())}
        if free:
            open_ = [lane for lane in open_ if lane.queue.name in free]
            claims = await self._take(open_, partial(self._claim, free))
            for lane in open_:
                mine = [claimed for claimed in claims if claimed.job.queue == lane.queue.name]
                lane.hungry = len(mine) >= free[lane.queue.name] or lane.hungry
                passed = ((c.job.priority, c.seq) for c in mine if not c.job.crashes)
                again = anyio.current_time() + self._places.passed(lane.queue.name, passed)
                lane.next_poll = min(lane.next_poll, again)
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
                self.audit_soon(doubt=True)
        except BaseException:
            self.feed([lane.queue.name for lane in lanes])
            raise
        return claims

    async def _claim(self, free: dict[str, int]) -> list[Claimed]:
        names, places, suspect = self._store.names, self._places.of(free), not self._has_suspect()
        return await self._store.run(
            statements.claim(names, self._known_as, free, suspect=suspect, places=places)
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
        """End what is wanted cancelled, and give back what is ours without our knowing."""
        tries = 0
        while True:
            with anyio.move_on_after(backoff(tries) if tries else AUDIT):
                await self._audit.wait()
            self._audit = anyio.Event()
            try:
                async with self._claiming:
                    with self._pace as thorough:
                        await self._look_after(thorough)
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot look after what is held: %s", exc)
            await anyio.sleep(CALM)

    async def _look_after(self, thorough: bool) -> None:
        jobs = [claimed.job for lane in self.lanes for claimed in lane.held]
        jobs += [settlement.job for settlement in self._settler.unwritten]
        known = {job.lease_id: job.id for job in jobs if job.lease_id is not None}
        names, unknown = self._store.names, list[UUID]()
        audit = statements.audit(names, self._known_as, known, thorough=thorough)
        for _, lease, cancelling in await self._store.run(audit):
            if lease not in known:
                unknown.append(lease)
            elif cancelling:
                for lane in self.lanes:
                    lane.cancel_job(lease)
        if unknown:
            back = await self._store.run(statements.give_back(names, self._known_as, unknown))
            log.warning("gave back %d jobs whose claim's answer was lost", len(back))
            self.feed({queue for queue, _ in back.values()}, back=True)
