"""What wakes a worker: hints from elsewhere, and jobs that become due."""

import logging
import random
from collections.abc import Callable
from math import inf
from uuid import UUID

import anyio

from chancy_core import hint
from chancy_core.assign import CALM
from chancy_core.claim import Claimer
from chancy_core.events import Event, Events
from chancy_core.hint import Hint
from chancy_core.plugins.observing import Observers
from chancy_core.postgres import Listener, Reconnected
from chancy_core.settle import Settler
from chancy_core.store import statements
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.wake")

#: Seconds after which a worker looks, unasked, for jobs that became due, if it has not done so
#: along with looking at its queues.
LOOK_AROUND = 5.0
#: Seconds between two calls of `ensure_partitions`.
PARTITIONS = 6 * 3600.0
#: What changes a queue.
_CHANGES = frozenset({hint.DECLARED, hint.PAUSED, hint.RESUMED, hint.DELETED})


class Waker:
    """The loops that tell a worker's claimer when there is something to do."""

    def __init__(
        self,
        store: Store,
        claimer: Claimer,
        settler: Settler,
        events: Events,
        observers: Observers,
    ) -> None:
        self._store = store
        self._claimer = claimer
        self._settler = settler
        self._events = events
        self._observers = observers
        #: Called when somebody wants to see what the worker runs.
        self.watched: Callable[[], None] = lambda: None
        self._due = False
        self._turn = anyio.Event()
        #: When the next job is due, and until when it is known that none is before; by the loop.
        self._next, self._known = inf, 0.0
        claimer.lanes.looked = self._looked

    def due(self) -> None:
        """Look for jobs that become due: there are new ones."""
        self._due = True
        self._turn.set()

    def _looked(self, due_in: float | None) -> None:
        """Take note of when the next job is due: somebody has looked, along with other things.

        A hint may have told of an earlier one meanwhile, so the time is never put off.
        """
        now = anyio.current_time()
        self._known = now + LOOK_AROUND
        if due_in is not None and now + due_in < self._next:
            self._next = now + due_in
            self._turn.set()

    async def promote(self) -> None:
        """Move jobs into line as they become due."""
        tries = 0
        while True:
            self._due = False
            try:
                queues, until = await self._store.run(statements.promote(self._store.names))
                tries = 0
            except TRANSIENT as exc:
                tries += 1
                log.warning("cannot look for jobs that became due: %s", exc)
                await anyio.sleep(backoff(tries))
                continue
            self._claimer.feed(queues)
            if not queues:
                now = anyio.current_time()
                self._next = inf if until is None else now + until
                self._known = now + LOOK_AROUND * random.uniform(0.9, 1.0)
                await anyio.sleep(min(CALM, max(0.0, self._next - now)))
                await self._until_due()

    async def _until_due(self) -> None:
        """Return when a job is due, when somebody says so, or when nobody has looked for long."""
        while not self._due:
            self._turn = anyio.Event()
            pause = min(self._next, self._known) - anyio.current_time()
            if pause <= 0:
                return
            with anyio.move_on_after(pause):
                await self._turn.wait()

    async def listen(self, listener: Listener) -> None:
        """Take hints; nobody trusts them."""
        async with listener:
            async for event in listener:
                if isinstance(event, Reconnected):  # what was missed meanwhile is looked for
                    self._claimer.feed(self._claimer.lanes.current)
                    self._claimer.holding.audit_soon()
                    self._claimer.lanes.look()
                    self.due()
                    self._tell(Event(hint.LISTENING, ""))
                else:
                    self._take(Hint.read(event.payload))

    def _tell(self, event: Event) -> None:
        self._events.emit(event.name, event.subject)
        self._observers.tell("chancy_notified", event=event)

    def _take(self, told: Hint) -> None:
        if told.fit:
            self._tell(Event(told.name, told.subject))
        if told.name == hint.PUSHED:
            self._claimer.feed([told.subject])
        elif told.name == hint.SCHEDULED:
            self.due()
        elif told.name in _CHANGES:
            self._claimer.lanes.look()
            if told.name == hint.RESUMED:  # after a pause too short to be seen, but found dry in
                self._claimer.feed([told.subject])
        elif told.name == hint.WATCHED:
            self.watched()
        elif told.name == hint.CANCELLED:
            self._claimer.holding.audit_soon()
        elif told.name == hint.AWAITED:
            try:
                self._settler.awaited(UUID(told.subject))
            except ValueError:
                log.debug("a hint of nonsense: %.100r", told)

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
