"""What a worker holds: it follows its lease, and what others want of its jobs."""

import logging
import time
from collections.abc import Collection, Iterator
from typing import Protocol
from uuid import UUID

import anyio

from chancy_core.assign import CALM, Lanes
from chancy_core.events import Events
from chancy_core.executor import Left
from chancy_core.heartbeat import Heartbeat
from chancy_core.place import Pace
from chancy_core.plugins import WorkerPlugins
from chancy_core.run import Attempt
from chancy_core.settle import Settler
from chancy_core.store import statements
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.claim")

#: Seconds between two audits, if nothing asks for one; and how many of them are spared, one after
#: the other, while the worker holds nothing and no claim has failed for as long.
AUDIT, SPARED = 4.0, 14
#: Seconds before the end of its lease at which a worker ends what needs a sure one.
MARGIN = 1.0


class Feed(Protocol):
    """Has somebody look for work in queues; *back* says that jobs went back to their places."""

    def __call__(self, queues: Collection[str], *, back: bool = False) -> None:
        """Look for work in these."""


class Holding:
    """Looks after what one worker holds under its lease."""

    def __init__(
        self,
        store: Store,
        settler: Settler,
        heartbeat: Heartbeat,
        lanes: Lanes,
        *,
        feed: Feed,
        events: Events,
        plugins: WorkerPlugins,
    ) -> None:
        self._store = store
        self._settler = settler
        self._heartbeat = heartbeat
        self._lanes = lanes
        self._feed = feed
        self._events = events
        self._plugins = plugins
        #: The incarnation under which it claims, and holds what it has.
        self.known_as = heartbeat.incarnation
        #: Held while a claim is under way: an audit must know all that was claimed.
        self.claiming = anyio.Lock()
        self._audit = anyio.Event()
        #: How many audits are not to be spared, since a claim has failed.
        self._doubt = 0
        self._pace = Pace()

    def attempts(self) -> Iterator[Attempt]:
        """All that run here at this moment."""
        for lane in self._lanes:
            yield from tuple(lane.running)

    def left(self) -> Iterator[Left]:
        """All that goes on here although its attempt is closed."""
        for lane in self._lanes:
            yield from lane.executor.left

    def has_suspect(self) -> bool:
        """Whether a suspect would be charged if this worker died now."""
        held = any(claimed.job.crashes for lane in self._lanes for claimed in lane.held)
        return held or any(settlement.job.crashes for settlement in self._settler.unwritten)

    async def watch_lease(self) -> None:
        """Follow the heartbeat, whose thread does not call us: a blocked loop would hold it up."""
        while True:
            await anyio.sleep(0.5)
            self._heartbeat.check()
            self.check_lease()
            if time.monotonic() > self._heartbeat.sure_until - MARGIN:
                for lane in self._lanes:
                    lane.cancel_exclusive()
            for lane in self._lanes:
                lane.hand_back_late()
            self.hear_of_the_rescued()

    def hear_of_the_rescued(self) -> None:
        """Tell whoever looks on of the jobs that were taken back since the last call."""
        if rescued := self._heartbeat.rescued():
            self._plugins.observers.tell("chancy_jobs_rescued", rescued=rescued)
            self._feed({one.queue for one in rescued}, back=True)
        for one in rescued:
            self._events.emit("job.rescued", str(one.job), one.state)

    def check_lease(self) -> None:
        """Cancel all that runs under an incarnation that others declared dead."""
        if self.known_as != self._heartbeat.incarnation:
            self.known_as = self._heartbeat.incarnation
            self._events.emit("worker.lease_lost", self._heartbeat.name)
            for lane in self._lanes:
                lane.cancel()
            self._feed(self._lanes.current, back=True)

    def audit_soon(self) -> None:
        """Look soon whether a running job is wanted cancelled."""
        self._audit.set()

    async def audit(self) -> None:
        """End what is wanted cancelled, and give back what is ours without our knowing.

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
                async with self.claiming:
                    with self._pace as thorough:
                        await self._look_after(thorough)
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot look after what is held: %s", exc)
            await anyio.sleep(CALM)

    @property
    def _holds_some(self) -> bool:
        return any(lane.busy for lane in self._lanes) or any(self._settler.unwritten)

    def doubt(self) -> None:
        """Audit now and for a while on: a claim may be committed after it was given up."""
        self._doubt = SPARED
        self._pace.hurry()
        self._audit.set()

    async def _look_after(self, thorough: bool) -> None:
        jobs = [claimed.job for lane in self._lanes for claimed in lane.held]
        jobs += [settlement.job for settlement in self._settler.unwritten]
        known = {job.lease_id: job.id for job in jobs if job.lease_id is not None}
        names, unknown = self._store.names, list[UUID]()
        audit = statements.audit(names, self.known_as, known, thorough=thorough)
        for _, lease, cancelling in await self._store.run(audit):
            if lease not in known:
                unknown.append(lease)
            elif cancelling:
                for lane in self._lanes:
                    lane.cancel_job(lease)
        if unknown:
            back = await self._store.run(statements.give_back(names, self.known_as, unknown))
            log.warning("gave back %d jobs whose claim's answer was lost", len(back))
            self._feed({queue for queue, _ in back.values()}, back=True)
