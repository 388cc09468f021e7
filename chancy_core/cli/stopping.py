"""How a worker in a terminal is stopped: Ctrl-C asks it, Ctrl-C again hurries it."""

import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterable

from chancy_core.cli.failing import LEFT_BEHIND
from chancy_core.events import Event
from chancy_core.job import QueuedJob
from chancy_core.worker import Worker


class Stopping:
    """Stops *worker* when the process is told to, and says what is waited for."""

    def __init__(self, worker: Worker, say: Callable[[str], object]) -> None:
        self._worker = worker
        self._say = say
        #: Whether somebody pressed Ctrl-C.
        self.interrupted = False
        worker.events.on("worker.stopped", self._leave_behind)

    def signalled(self, number: signal.Signals) -> None:
        """Stop the worker; told again, skip the rest of its grace period."""
        again, running = self._worker.stopping.is_set(), self._worker.running
        if number is signal.SIGINT:
            self.interrupted = True
            if not running:
                self._say("stopping")
            elif again:
                self._say(f"cancelling {shown(running)}")
            else:
                self._say(f"stopping: waiting for {shown(running)}; Ctrl-C again cancels")
        self._worker.stop()

    def _leave_behind(self, _: Event) -> None:
        """Leave without the jobs that do not end: all is written, and they have been given back.

        They would keep the event loop, and the process, for as long as they please.
        """
        if left := self._worker.running:
            leave_behind(self._say, shown(left))


def leave_behind(say: Callable[[str], object], what: str) -> None:
    """End the process here and now, although *what* has not ended."""
    say(f"left behind {what}, which did not end when told to and may run elsewhere now")
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(LEFT_BEHIND)


def shown(jobs: Iterable[QueuedJob]) -> str:
    """Return how many jobs these are, and of which functions."""
    counted = Counter(job.func for job in jobs)
    names = [func if n == 1 else f"{n} x {func}" for func, n in counted.most_common(4)]
    more = ["…"] if len(counted) > len(names) else []
    number = counted.total()
    return f"{number} job{'' if number == 1 else 's'} ({', '.join(names + more)})"
