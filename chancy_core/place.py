"""Where a worker is in the line of a queue: up to where it has claimed already.

PostgreSQL keeps the index entries of claimed jobs until no transaction can see them any more and
VACUUM has been there. They lie at the front of the line, where each claim would walk over all of
them: 300,000 of them make a claim six times as dear. A claim that goes on at a place does not.

A place is a hint. It hides jobs that come to lie before it later: of transactions that were
committed late, and those that went back and keep their place in line. So nobody relies on it for
long: `Places` has each queue looked through from the front over and over, as often as that is
cheap, and each second at least.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from math import inf

from attrs import field, frozen

#: The priorities that the database can store.
LOWEST, HIGHEST = -(2**15), 2**15 - 1
#: The first `seq` of all, and the last.
FIRST, LAST = -(2**63), 2**63 - 1
#: How many priorities a place knows; of more, the higher ones.
KNOWN = 16
#: Seconds that a claim may take without anybody having to ask what it walks over.
CHEAP = 0.002
#: What part of the time claims from the front may take beyond that.
SHARE = 0.05
#: Seconds after which a queue is looked through from the front, however long that takes.
LONGEST = 1.0
#: What part of the time anything else may take that walks over dead entries.
SMALL = 0.01


@frozen
class Range:
    """A part of a line: the priorities from *high* down to *low*, each from a `seq` on."""

    high: int = HIGHEST
    low: int = LOWEST
    seq: int = FIRST


@frozen
class Place:
    """A place in a line: for some priorities, the last `seq` that was claimed."""

    claimed: Mapping[int, int] = field(factory=dict)

    def beyond(self, jobs: Iterable[tuple[int, int]]) -> "Place":
        """Return the place behind these jobs, too, each given as (priority, seq)."""
        claimed = dict(self.claimed)
        for priority, seq in jobs:
            claimed[priority] = max(seq, claimed.get(priority, seq))
        if len(claimed) == len(self.claimed):
            return Place(claimed)
        return Place({known: claimed[known] for known in sorted(claimed, reverse=True)[:KNOWN]})

    def ranges(self) -> list[Range]:
        """Return the rest of the line, in its order: each job that is not hidden is in one."""
        rest = []
        high = HIGHEST
        for priority in sorted(self.claimed, reverse=True):
            if high > priority:
                rest.append(Range(high, priority + 1))
            rest.append(Range(priority, priority, min(self.claimed[priority] + 1, LAST)))
            high = priority - 1
        if high >= LOWEST:
            rest.append(Range(high, LOWEST))
        return rest


#: Before all jobs.
FRONT = Place()


class Pace:
    """How often to do what may be dear: so that it takes a small part of the time.

        with pace as thorough:      # whether it may be done now, however dear
            ...

    What raises an error is not done.
    """

    def __init__(self, longest: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = longest
        self._clock = clock
        self._again = self._began = 0.0
        self._due = True

    def hurry(self) -> None:
        """Do it the next time, even if it is under way."""
        self._again = -inf
        self._due = False

    def __enter__(self) -> bool:
        self._began = self._clock()
        self._due = self._began >= self._again
        if self._due:
            self._again = -inf
        return self._due

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._due and kind is None:
            now = self._clock()
            self._again = now + min((now - self._began) / SMALL, self._longest)


class Places:
    """The places of one worker in the lines of its queues, and when each is to be left.

    places.of(queues)       # where to claim next
    places.passed("mail", [(job.priority, seq), ...])
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[str, Place] = {}
        #: When a queue is to be looked through from the front.
        self._again: dict[str, float] = {}
        #: Since when a queue is being looked through from the front.
        self._since: dict[str, float] = {}

    def of(self, queues: Iterable[str]) -> dict[str, Place]:
        """Return where the next claim may go on, for those queues that have such a place."""
        now = self._clock()
        found = {}
        for queue in queues:
            if queue in self._places and now < self._again.get(queue, now):
                found[queue] = self._places[queue]
                self._since.pop(queue, None)
            else:
                self._since[queue] = now
        return found

    def passed(self, queue: str, jobs: Iterable[tuple[int, int]]) -> float:
        """Note what such a claim gave; answers in how many seconds to claim once more.

        A queue that gave too few has run dry only if it was looked through from the front: then
        the answer is never.
        """
        now = self._clock()
        if (since := self._since.pop(queue, None)) is None:
            if queue in self._places:
                self._places[queue] = self._places[queue].beyond(jobs)
            return max(self._again.get(queue, now) - now, 0.0)
        self._places[queue] = self._places.get(queue, FRONT).beyond(jobs)
        self._again[queue] = now + min((now - since - CHEAP) / SHARE, LONGEST)
        return inf

    def leave(self, queues: Iterable[str]) -> None:
        """Claim from the front next: jobs of these queues have gone back into line."""
        for queue in queues:
            self._places.pop(queue, None)
            self._again.pop(queue, None)
            self._since.pop(queue, None)  # what is under way may not have seen them
