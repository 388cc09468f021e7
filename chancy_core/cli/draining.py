"""`chancy worker --drain`: a worker that stops by itself once nothing is due in its queues."""

import os
from collections import Counter

import anyio

from chancy_core.events import Event
from chancy_core.job import State
from chancy_core.queue import Queue
from chancy_core.store import statements
from chancy_core.store.store import TRANSIENT
from chancy_core.worker import Worker

#: Seconds between two looks at what is left: at least, and at most.
CALM, LOOK = 0.1, 2.0


class Drain:
    """What a worker has finished, and whether anything is left for it to do."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        #: How many jobs have finished, by how.
        self.finished: Counter[State] = Counter()
        #: Whether nothing was left.
        self.dry = False
        self._skipped: set[str] = set()
        worker.events.on("job.settled", self._settled)
        worker.events.on("worker.queue.skipped", lambda event: self._skipped.add(event.subject))
        worker.events.on("worker.queue.started", lambda e: self._skipped.discard(e.subject))

    def _settled(self, event: Event) -> None:
        _, _, verdict = event.value
        if verdict.state.finished:
            self.finished[verdict.state] += 1

    async def run(self) -> None:
        """Stop the worker once it has nothing left to do.

        What its queues hold for later, retries among it, stays there, and so does what a paused
        queue holds, or one that cannot be run here. What other workers run is not waited for.
        """
        with self.worker.events.subscribe("job.settled") as settled:
            while await self._left():
                await anyio.sleep(CALM)
                with anyio.move_on_after(LOOK if self.worker.running else 0):
                    await settled.next()
        self.dry = not self.worker.stopping.is_set()
        self.worker.stop()

    async def _left(self) -> bool:
        """Whether there is anything to do. A database that is away for a moment is waited for."""
        if self.worker.lanes is None:
            return True
        store = self.worker.chancy.store
        try:
            found = await store.run(statements.all_queues(store.names))
            queues = [
                queue.name
                for queue in found.sound
                if self.worker.lanes.wants(queue)
                and queue.state is not Queue.State.PAUSED
                and queue.name not in self._skipped
            ]
            return await store.run(
                statements.left_to_do(store.names, queues, name=self.worker.name, pid=os.getpid())
            )
        except TRANSIENT:
            return True
