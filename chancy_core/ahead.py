"""How many jobs a lane may claim before it has slots for them."""

from time import monotonic

#: Mean seconds that jobs may take for more of them to be claimed than there are slots.
QUICK = 0.05
#: How much the newest job weighs in that mean.
WEIGHT = 0.05
#: Seconds for which a lane that always has something to do claims ahead of its slots. Then it has
#: free ones once, to which those jobs come that are never claimed ahead.
STRETCH = 1.0


class Ahead:
    """Claiming ahead, for jobs that are over sooner than the next can be asked for.

    Nothing is known of a queue whose jobs have not run here yet: it is not claimed ahead of.
    """

    def __init__(self) -> None:
        self._mean: float | None = None
        self._until = 0.0

    def most(self, concurrency: int) -> int:
        """How many jobs may wait for slots: as many as there are slots, or none."""
        quick = self._mean is not None and self._mean < QUICK
        return concurrency if quick and monotonic() < self._until else 0

    def took(self, seconds: float) -> None:
        """Learn how long a job has taken."""
        mean = self._mean
        self._mean = seconds if mean is None else mean + (seconds - mean) * WEIGHT

    def answered(self, free: int, asked: int, got: int) -> bool:
        """Learn what a claim has given, and say whether the queue may hold more.

        *asked* counts those for *free* slots too. A queue that gave less may have run dry, or hold
        what is never claimed ahead: only what it has for free slots tells.
        """
        if got < asked:
            self.stop()
            return free <= got
        if free > 0:
            self._until = monotonic() + STRETCH
        return True

    def stop(self) -> None:
        """Claim nothing ahead until free slots were filled once more."""
        self._until = 0.0
