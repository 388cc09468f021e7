"""One life of a worker: it announces itself, works until it is told to stop, and leaves in order.

Two nested task groups: inside, the lanes and what feeds them; outside, the settler, which must
outlive them. The heartbeat thread outlives both.
"""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from anyio.abc import TaskStatus

from chancy_core import hint
from chancy_core.claim import Claimer
from chancy_core.heartbeat import Heartbeat
from chancy_core.hint import Hint
from chancy_core.job import State
from chancy_core.postgres import Listener
from chancy_core.queue import Queue
from chancy_core.settle import Settler
from chancy_core.store import statements
from chancy_core.store.statements import Settlement
from chancy_core.store.store import TRANSIENT, Store
from chancy_core.wake import Waker

if TYPE_CHECKING:
    from chancy_core.worker import Worker

log = logging.getLogger("chancy.worker")

#: Seconds that the last outcomes may take to be written when a worker stops.
FLUSH = 10.0


async def live(
    worker: "Worker", *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Be *worker* until it is told to stop. Shielded: no cancellation from outside reaches this."""
    chancy = worker.chancy
    with anyio.CancelScope(shield=True):
        heartbeat = Heartbeat(chancy.conninfo, chancy.names, name=worker.name, tags=worker.tags)
        await to_thread.run_sync(heartbeat.start)
        log.info("worker %s works as %s", worker.name, heartbeat.incarnation)
        try:
            async with anyio.create_task_group() as services:
                settler = Settler(chancy.store)
                services.start_soon(settler.run)
                try:
                    await _feed(worker, settler, heartbeat, task_status)
                finally:
                    await _leave(chancy.store, settler, heartbeat)
                    services.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(heartbeat.stop)
        log.info("worker %s has stopped", worker.name)


async def _feed(
    worker: "Worker", settler: Settler, heartbeat: Heartbeat, task_status: TaskStatus[None]
) -> None:
    """Claim and run until told to stop, then let the jobs come to their end."""
    chancy = worker.chancy
    await chancy.store.run(
        statements.declare(chancy.names, Queue("default"), upsert=False)  # if it is missing
    )
    claimer = Claimer(chancy.store, settler, heartbeat, tags=worker.tags)
    waker = Waker(chancy.store, claimer, settler)

    def written(settled: Sequence[Settlement]) -> None:
        settled = [s for s in settled if not s.verdict.state.finished]
        claimer.requeued(settled)
        if any(s.verdict.state is State.SCHEDULED for s in settled):
            waker.due()
        for name, state in ((hint.PUSHED, State.PENDING), (hint.SCHEDULED, State.SCHEDULED)):
            for queue in {s.job.queue for s in settled if s.verdict.state is state}:
                chancy.hint(Hint(name, queue))

    settler.written = written
    settler.ended = lambda job: chancy.hint(Hint(hint.FINISHED, str(job)))
    async with anyio.create_task_group() as lanes:
        async with anyio.create_task_group() as feeders:
            feeders.start_soon(claimer.claim, worker.stopping)
            feeders.start_soon(claimer.audit)
            feeders.start_soon(claimer.watch_lease)
            feeders.start_soon(claimer.lanes.keep, lanes)
            feeders.start_soon(waker.promote)
            feeders.start_soon(waker.keep_partitions)
            if chancy.notifications:
                listener = Listener(chancy.listen_conninfo, [chancy.names.channel])
                feeders.start_soon(waker.listen, listener)
            task_status.started()
            await worker.stopping.wait()
            feeders.cancel_scope.cancel()
        await _drain(worker, claimer)
        lanes.cancel_scope.cancel()


async def _drain(worker: "Worker", claimer: Claimer) -> None:
    """Hand back what has not begun; let the rest end in the grace period, or cancel it."""
    for lane in claimer.lanes:
        lane.hand_back()
    async with anyio.create_task_group() as race:

        async def hurry() -> None:
            with anyio.move_on_after(worker.grace_period):
                await worker.hurry.wait()
            for lane in claimer.lanes:
                worker.drained &= not lane.running
                lane.cancel()

        race.start_soon(hurry)
        for lane in claimer.lanes:
            await lane.drained()
        race.cancel_scope.cancel()


async def _leave(store: Store, settler: Settler, heartbeat: Heartbeat) -> None:
    """Write the last outcomes and give back whatever is still held, even when all is falling."""
    with anyio.move_on_after(FLUSH, shield=True):
        await settler.flush()
    with anyio.move_on_after(FLUSH, shield=True):
        try:
            left = await store.run(statements.give_back(store.names, heartbeat.incarnation))
        except TRANSIENT as exc:
            log.error("jobs are left to be rescued: %s", exc)
        else:
            if left:
                log.warning("gave back %d jobs that had not ended", len(left))
