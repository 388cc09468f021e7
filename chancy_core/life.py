"""One life of a worker: it announces itself, works until it is told to stop, and leaves in order.

Two nested task groups: inside, the lanes and what feeds them; outside, the settler, which must
outlive them. The heartbeat thread outlives both, unless a job does not end when it is cancelled:
then the worker leaves without it, and the watchdog keeps naming it.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup, TaskStatus
from attrs import evolve

from chancy_core import discovery, heartbeat, hint
from chancy_core.claim import Claimer
from chancy_core.departure import Departure
from chancy_core.errors import InvalidQueue
from chancy_core.health.file import Record
from chancy_core.health.http import Probes, listening
from chancy_core.health.vitals import Vitals
from chancy_core.heartbeat import Heartbeat
from chancy_core.hint import Hint
from chancy_core.hooks import Plugin
from chancy_core.host import Service
from chancy_core.installed import remote
from chancy_core.job import State
from chancy_core.load import Load
from chancy_core.outcome import Settlement
from chancy_core.plugins import WorkerPlugins
from chancy_core.postgres import Listener
from chancy_core.queue import Queue
from chancy_core.report import Report
from chancy_core.settle import Settler
from chancy_core.store import statements
from chancy_core.supervise import supervise, vital
from chancy_core.wake import Waker
from chancy_core.watchdog import Watchdog

if TYPE_CHECKING:
    from chancy_core.worker import Worker

log = logging.getLogger("chancy.worker")

#: Seconds that each call of a worker to the database may take; then its link is taken for dead.
PATIENCE = 6.0
#: Seconds after which services that have not ended are named.
STAYING = 5.0
#: Seconds that jobs may take to end once they are cancelled; then they are given back all the same.
UNWINDING = 0.8

Task = Callable[[], Awaitable[object]]


async def live(worker: "Worker", *, task_status: TaskStatus[None]) -> None:
    """Be *worker* until it is told to stop. Shielded: no cancellation from outside reaches this."""
    chancy = worker.chancy
    with anyio.CancelScope(shield=True):
        heartbeat = Heartbeat(
            chancy.conninfo,
            chancy.names,
            name=worker.name,
            tags=worker.tags,
            crash_limit=chancy.crash_limit,
            facts=_facts(worker),
        )
        async with listening(worker.health_at, lambda: worker.health) as probes:
            await to_thread.run_sync(heartbeat.start)
            log.info("worker %s works as %s", worker.name, heartbeat.incarnation)
            life = _Life(worker, heartbeat)
            worker.vitals = life.vitals
            await life.live(task_status, probes)


def _facts(worker: "Worker") -> dict[str, Any]:
    """Return what others compare: the version of our code, and our settings."""
    chancy = worker.chancy
    return {
        "version": discovery.version(),
        "schema_version": chancy.migrator().lines["core"].newest,
        "settings": {
            "crash_limit": chancy.crash_limit,
            "lease": heartbeat.LEASE,
            "notifications": chancy.notifications,
            "queues": None if worker.only is None else sorted(worker.only),
        },
    }


class _Life:
    """What lives as long as a worker does, and how it is begun and ended."""

    def __init__(self, worker: "Worker", heartbeat: Heartbeat) -> None:
        self._worker = worker
        self._plugins = WorkerPlugins(worker.chancy.plugins, worker)
        self._services: list[str] = []
        self._dying = anyio.Event()
        self._store = evolve(worker.chancy.store, call_timeout=PATIENCE)
        self._settler = Settler(self._store, self._plugins)
        self._claimer = Claimer(
            self._store,
            self._settler,
            heartbeat,
            tags=worker.tags,
            only=worker.only,
            events=worker.events,
            plugins=self._plugins,
        )
        self._load = Load(self._claimer.lanes, hears=worker.chancy.notifications)
        heartbeat.running = self._load.text
        heartbeat.faults = self._plugins.faults.told
        heartbeat.remote = lambda: remote(self._claimer.lanes.known)
        self._watchdog = Watchdog(
            worker.name,
            worker.events,
            self._claimer.holding.attempts,
            left=self._claimer.holding.left,
            whose=self._plugins.beside.whose,
        )
        self.vitals = Vitals(worker, heartbeat, self._claimer, self._settler, self._watchdog)
        self._departure = Departure(
            worker,
            self._settler,
            heartbeat,
            self._plugins.observers,
            self._claimer.holding.hear_of_the_rescued,
        )

    async def live(self, task_status: TaskStatus[None], probes: Probes | None) -> None:
        """Run the services, and within them the lanes, until the worker is told to stop."""
        try:
            async with anyio.create_task_group() as around:
                around.start_soon(self._leave_dying)
                async with anyio.create_task_group() as services:
                    self._serve(services)
                    self._tell(services, probes)
                    try:
                        await self._feed(task_status)
                    finally:
                        await self._departure.leave()
                        services.cancel_scope.cancel()
                        around.start_soon(self._name_who_stays)
                around.cancel_scope.cancel()
        finally:
            await self._departure.leave()  # if not even the services could be started

    async def _name_who_stays(self) -> None:
        """Name the services of plugins that do not end, for as long as they keep us here."""
        pause = STAYING
        while True:
            await anyio.sleep(pause)
            for staying in self._services:
                log.error("worker %s has stopped, but %s does not end", self._worker.name, staying)
            pause *= 2

    async def _vital(self, name: str, run: Task) -> None:
        """Run a task of ours: it may return when the worker stops, and not before."""
        try:
            await vital(self._worker.name, name, run, self._ending)
        except Exception:
            self.vitals.ended.append(name)
            self._dying.set()
            raise

    async def _leave_dying(self) -> None:
        """Leave if a task of ours has died, even if a job does not end and keeps us here."""
        await self._dying.wait()
        await anyio.sleep(UNWINDING)
        await self._departure.leave()

    def _ending(self) -> bool:
        return self._worker.stopping.is_set() or self._departure.begun

    def _serve(self, services: TaskGroup) -> None:
        services.start_soon(self._vital, "settle", self._settler.run)
        services.start_soon(self._vital, "watch", self._watchdog.run)
        if self._plugins.observers:
            services.start_soon(self._vital, "observe", self._plugins.observers.run)
        for plugin, service in self._plugins.services():
            services.start_soon(self._keep, plugin, service)

    def _tell(self, services: TaskGroup, probes: Probes | None) -> None:
        """Let supervisors know how the worker is."""
        worker = self._worker
        if probes is not None:
            worker.health_at = probes.address
            services.start_soon(self._vital, "answer probes", probes.run)
        if worker.health_file is not None:
            record = Record(worker.health_file, lambda: worker.health)
            services.start_soon(self._vital, "write its health", record.run)

    async def _keep(self, plugin: Plugin, service: Service) -> None:
        """Run a service of a plugin, and know that it runs."""
        known = f"service {service.name} of {plugin}"
        self._services.append(known)
        try:
            await supervise(plugin, service)
        finally:
            self._services.remove(known)

    async def _feed(self, task_status: TaskStatus[None]) -> None:
        """Claim and run until told to stop, then let the jobs come to their end."""
        worker, claimer, settler = self._worker, self._claimer, self._settler
        chancy = worker.chancy
        with suppress(InvalidQueue):  # it is there, but full of nonsense: the lanes tell of it
            await self._store.run(
                statements.declare(chancy.names, Queue("default"), upsert=False)  # if it is missing
            )
        waker = Waker(self._store, claimer, settler, worker.events, self._plugins.observers)
        waker.watched = self._load.watch
        settler.written = partial(self._written, waker)
        settler.ended = lambda job: chancy.hint(Hint(hint.FINISHED, str(job)))
        async with anyio.create_task_group() as lanes:
            worker.lanes = claimer.lanes
            async with anyio.create_task_group() as feeders:
                for name, run in self._feeders(waker, lanes):
                    feeders.start_soon(self._vital, name, run)
                task_status.started()
                worker.events.emit("worker.started", worker.name)
                await worker.stopping.wait()
                worker.events.emit("worker.stopping", worker.name)
                feeders.cancel_scope.cancel()
            await self._drain()
            lanes.cancel_scope.cancel()
            if any(claimer.holding.attempts()):  # they would keep us here, with all that we hold
                await self._departure.leave()

    def _feeders(self, waker: Waker, lanes: TaskGroup) -> Iterator[tuple[str, Task]]:
        worker, claimer, chancy = self._worker, self._claimer, self._worker.chancy
        yield "claim", partial(claimer.claim, worker.stopping)
        yield "audit", claimer.holding.audit
        yield "watch the lease", claimer.holding.watch_lease
        yield "report", Report(self._store, claimer.holding.attempts, worker.events).run
        yield "keep the lanes", partial(claimer.lanes.keep, lanes)
        yield "promote", waker.promote
        yield "keep the partitions", waker.keep_partitions
        if chancy.notifications:
            listener = Listener(chancy.listen_conninfo, [chancy.names.channel])
            yield "listen", partial(waker.listen, listener)

    def _written(self, waker: Waker, settled: Sequence[Settlement]) -> None:
        """Tell whomever it concerns of outcomes that have just been written."""
        worker = self._worker
        if settled:
            self._plugins.observers.tell("chancy_jobs_settled", settled=settled)
        if worker.events:
            for s in settled:
                worker.events.emit("job.settled", str(s.job.id), (s.job, s.outcome, s.verdict))
        back = [s for s in settled if not s.verdict.state.finished]
        self._claimer.requeued(back)
        if any(s.verdict.state is State.SCHEDULED for s in back):
            waker.due()
        for name, state in ((hint.PUSHED, State.PENDING), (hint.SCHEDULED, State.SCHEDULED)):
            for queue in {s.job.queue for s in back if s.verdict.state is state}:
                worker.chancy.hint(Hint(name, queue))

    async def _drain(self) -> None:
        """Hand back what has not begun; let the rest end in the grace period, or cancel it."""
        worker, claimer = self._worker, self._claimer
        for lane in claimer.lanes:
            lane.hand_back()
        async with anyio.create_task_group() as race:

            async def hurry() -> None:
                with anyio.move_on_after(worker.grace_period):
                    await worker.hurry.wait()
                running = sum(1 for _ in claimer.holding.attempts())
                worker.drained = running == 0
                worker.events.emit("worker.grace_over", worker.name, running)
                for lane in claimer.lanes:
                    lane.cancel()
                await anyio.sleep(UNWINDING)
                race.cancel_scope.cancel()

            race.start_soon(hurry)
            for lane in claimer.lanes:
                await lane.drained()
            race.cancel_scope.cancel()
