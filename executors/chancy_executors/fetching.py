"""When results are worth a fetch, which costs the same for one as for many."""

import math
from time import monotonic

import anyio

#: Seconds for which a result may wait for others, as long as more tasks wait for a thread than have
#: ended; else for such a part of the time that its own task has taken.
MOST, PART = 0.25, 0.05


class Pace:
    """Has results wait for each other, as long as no thread goes without a task for that."""

    def __init__(self) -> None:
        #: How many tasks run over there, for all that is known here.
        self.running = 0
        self._ended = 0
        self._due = math.inf
        self._sooner = anyio.Event()

    def ended(self, since: float, threads: int) -> None:
        """Count a task that has ended, and was sent at *since*, on so many threads."""
        self._ended += 1
        now = monotonic()
        waiting = self.running - threads
        may = MOST if waiting > self._ended else min(MOST, PART * (now - since))
        if now + may < self._due or not self.running:
            self._due = min(self._due, now + may)
            self._sooner.set()

    async def turn(self) -> None:
        """Wait until it is time for a fetch, of all that has ended by then."""
        await self._sooner.wait()
        self._sooner = anyio.Event()
        while self.running and (left := self._due - monotonic()) > 0:
            with anyio.move_on_after(left):
                await self._sooner.wait()
                self._sooner = anyio.Event()
        self._due, self._ended = math.inf, 0
