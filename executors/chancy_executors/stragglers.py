"""Functions that go on although their calls have ended: of executors that cannot end a function."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import anyio
import attrs

from chancy_core.errors import InvalidValue
from chancy_core.executor import Left

#: Seconds that what was told to end may take when its executor closes, before it is named; and
#: seconds between two looks.
_CLOSING, _LOOK = 0.1, 0.005
#: Seconds after which a function that nobody waits for is stuck, and its end is news.
LATE = 1.0


def not_negative(_: Any, field: "attrs.Attribute[int]", value: int) -> None:
    """Raise `InvalidValue` for an option that is below 0: a validator."""
    if value < 0:
        raise InvalidValue(f"{field.name} must be 0 or more, not {value}")


class Stragglers:
    """What goes on of the calls of one executor, each under whatever it goes on in.

    *most* of them may go on without keeping their slots; each beyond that keeps one until it ends.
    """

    def __init__(self, log: logging.Logger, most: int) -> None:
        #: Held for what the event loop and the threads change: which there are, and who has ended.
        self.lock = threading.Lock()
        self._log = log
        self._most = most
        self._all: dict[object, Left] = {}

    def __iter__(self) -> Iterator[Left]:
        with self.lock:
            return iter(tuple(self._all.values()))

    def __contains__(self, where: object) -> bool:
        return where in self._all

    def room(self, slots: int) -> int:
        """Return how many of so many slots can be used.

        The worker claims no more than that, and others have what this one has no threads for.
        """
        beyond = len(self._all) - self._most
        return slots if beyond <= 0 else max(0, slots - beyond)

    def add(self, where: object, left: Left) -> None:
        """Add what goes on; the caller holds the lock, and knows that it has not ended."""
        self._all[where] = left

    def ended(self, where: object, how: str) -> None:
        """Take note that what goes on there, if anything, has come to its end; in its thread."""
        with self.lock:
            left = self._all.pop(where, None)
        if left is not None:
            self._log.log(
                logging.INFO if left.overdue > LATE else logging.DEBUG,
                "job %s (%s) %s %.1f s after its attempt was closed; that is thrown away",
                left.job.id,
                left.job.func,
                how,
                left.overdue,
            )

    def complain(self, new: Left) -> None:
        """Say it when more are stuck than may be, now that there is a new one."""
        # Those that were told just now may be about to end.
        stuck = Counter(left.job.func for left in self if left is new or left.overdue > LATE)
        beyond = stuck.total() - self._most
        if beyond > 0:
            self._log.error(
                "queue %s: more functions go on although their attempts are closed than its "
                "max_stuck, %d: %s. Until they end it does without so many of its slots: %d",
                new.job.queue,
                self._most,
                ", ".join(f"{number} x {func}" for func, number in stuck.most_common(4)),
                beyond,
            )

    async def close(self, where: str) -> None:
        """Name those that go on, in *where*: from now on nobody looks after them."""
        with anyio.move_on_after(_CLOSING, shield=True):
            while self._all:
                await anyio.sleep(_LOOK)
        for left in self:
            self._log.warning(
                "job %s (%s) goes on in %s, although its queue is not run here any more. "
                "It is here:\n%s",
                left.job.id,
                left.job.func,
                where,
                left.where(),
            )
