"""How many attempts of a queue may be retries, so that a storm of them does not drown the rest."""

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable

from attrs import Attribute, field, frozen

from chancy_core.codec import shown
from chancy_core.errors import LONGEST_WAIT, InvalidPlugin

#: The most retries in a minute that can be asked for: more than any queue makes.
_MOST = 10_000_000
#: How much a budget grows before what was full is looked at once more, within a second.
_GROWN = 1.1
#: After how many seconds of the clock what lies behind is forgotten.
_FORGET = 60


@frozen(kw_only=True)
class Budget:
    """How many retries of a queue may begin in a minute. Made by `per_minute` and `percent`.

    Raises `InvalidPlugin` when a setting makes no sense.
    """

    #: So many, however little else there is to be done; 1 or more.
    least: float = field(default=10.0)
    #: So many of a hundred attempts that ended in the last minute, if that is more; 0 to 100.
    percent: float = field(default=0.0)

    @least.validator
    @percent.validator
    def _sensible(self, attribute: "Attribute[float]", value: float) -> None:
        least, most = (1, _MOST) if attribute.name == "least" else (0, 100)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            raise InvalidPlugin(
                f"budget: {attribute.name} must be {least} to {most:,}, not {shown(value)}"
            )

    def allowed(self, attempts: int) -> float:
        """Return how many retries a minute has, of which the last one had so many attempts."""
        return max(self.least, attempts * self.percent / 100)


def per_minute(retries: float) -> Budget:
    """Return the budget of so many retries in a minute, evenly; 1 or more.

    Raises `InvalidPlugin` for what is no such number.
    """
    return Budget(least=retries)


def percent(share: float, *, least: float = 10) -> Budget:
    """Return the budget of so many retries among a hundred attempts, more than 0 and at most 100.

    In a minute there may be *least*, even if nothing else is to be done: else a quiet queue would
    never try anything again. Raises `InvalidPlugin` for what are no such numbers.
    """
    if share == 0:
        raise InvalidPlugin("budget: percent(0) is per_minute(10): write that, or more than 0")
    return Budget(percent=share, least=least)


class Minute:
    """How often something has happened in the last minute, to the second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()
        self._total = 0

    def add(self, second: int) -> None:
        """Note that it happens now."""
        before = 0
        if self._seconds and self._seconds[-1][0] == second:
            before = self._seconds.pop()[1]
        self._seconds.append((second, before + 1))
        self._total += 1

    def total(self, second: int) -> int:
        """Return how often it did."""
        while self._seconds and self._seconds[0][0] <= second - 60:
            self._total -= self._seconds.popleft()[1]
        return self._total


class Calendar:
    """When the retries of one queue begin: each second has room for its share of the budget.

    What finds no room goes to the next second that has some, so that nothing is lost, and no
    second has more than its share. It is kept in memory: by one process, for its own workers.
    """

    def __init__(
        self,
        budget: Budget,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._budget = budget
        self._clock = clock
        self._chance = chance
        self._attempts = Minute()
        self._rate = 0.0
        #: How many retries are to begin in a second, and where to look on after one that is full.
        self._taken: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._now = self._forgot = math.floor(clock())
        self._lock = threading.Lock()

    def count(self) -> None:
        """Note that an attempt of the queue has ended."""
        with self._lock:
            self._attempts.add(math.floor(self._clock()))

    def place(self, pause: float) -> float:
        """Return for how many seconds a retry waits that would wait for *pause*: not less."""
        with self._lock:
            now = self._clock()
            self._go_on(math.floor(now))
            wanted = math.floor(now + pause)
            second = self._with_room(wanted)
            self._taken[second] = self._taken.get(second, 0) + 1
        if second == wanted:
            return pause
        return min(second + self._chance() - now, LONGEST_WAIT)

    def _go_on(self, now: int) -> None:
        """Follow the clock: what the budget is now, and what lies behind."""
        rate = self._budget.allowed(self._attempts.total(now))
        if now == self._now and rate < self._rate * _GROWN:
            return
        self._now = now
        if rate > self._rate:  # what was full may have room
            self._next.clear()
        self._rate = rate
        if now >= self._forgot + _FORGET:
            self._forgot = now
            self._taken = {at: count for at, count in self._taken.items() if at >= now}
            self._next = {at: after for at, after in self._next.items() if at >= now}

    def _with_room(self, second: int) -> int:
        """Return the first second that has room, from this one on."""
        full = []
        while self._taken.get(second, 0) >= self._room(second):
            full.append(second)
            second = self._next.get(second, second + 1)
        self._next.update(dict.fromkeys(full, second))
        return second

    def _room(self, second: int) -> int:
        """Return how many retries begin in a second: the whole ones of its share."""
        return math.floor((second + 1) * self._rate / 60) - math.floor(second * self._rate / 60)
