"""Names what blocks a worker's event loop, and what was told to end and does not, by its stack."""

import logging
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from time import monotonic
from types import FrameType

import anyio

from chancy_core.errors import ChancyError
from chancy_core.events import Events
from chancy_core.executor import Left
from chancy_core.run import Attempt

log = logging.getLogger("chancy.watchdog")

#: Seconds between two looks at the event loop, and at the jobs.
TICK, LOOK = 0.25, 1.0
#: Seconds for which a loop may be busy with one thing.
BLOCKED = 1.0
#: Seconds that a job may take to end once it was told to.
STUCK = 5.0


_ADVICE = "What blocks belongs into a queue with the executor `thread` or `process`"
_HEED = "It must let cancellation pass, and not catch BaseException"
_LEFT = (
    "Its attempt is closed, and nobody can end it from here: let it ask `checkpoint()` of its job, "
    "or run it on the executor `process`"
)


class Watchdog:
    """Looks after one worker's event loop, from a thread, and after its jobs, from the loop.

    Each is named when it is first found, and again whenever it has lasted twice as long. A loop
    that is blocked claims nothing and ends no job, but keeps its lease: the heartbeat is a thread.
    """

    def __init__(
        self,
        worker: str,
        events: Events,
        attempts: Callable[[], Iterable[Attempt]],
        *,
        left: Callable[[], Iterable[Left]] = lambda: (),
        whose: Callable[[FrameType | None], str] = lambda _: "",
    ) -> None:
        self._worker = worker
        self._events = events
        self._attempts = attempts
        #: What goes on although its call has ended.
        self._left = left
        #: Says which plugins a stack leads through.
        self._whose = whose
        self._loop = threading.get_ident()
        self._alive_at = monotonic()
        self._named: dict[Attempt | Left, float] = {}

    @property
    def late(self) -> float:
        """For how many seconds the event loop has been blocked; 0 if it turns."""
        late = monotonic() - self._alive_at - TICK
        return late if late > BLOCKED else 0.0

    async def run(self) -> None:
        """Watch until cancelled. Raises `ChancyError` if the thread that watches us has ended."""
        over = threading.Event()
        thread = threading.Thread(
            target=self._watch_loop, args=[over], name="chancy-watchdog", daemon=True
        )
        thread.start()
        looked = monotonic()
        try:
            while True:
                self._alive_at = monotonic()
                await anyio.sleep(TICK)
                late = monotonic() - self._alive_at - TICK
                if late > BLOCKED:
                    log.warning(
                        "worker %s: its event loop runs again after %.1f s", self._worker, late
                    )
                    self._events.emit("worker.blocked", self._worker, late)
                if not thread.is_alive():
                    raise ChancyError("the watchdog's thread has ended: nobody watches the loop")
                if monotonic() - looked >= LOOK:
                    self.look()
                    looked = monotonic()
        finally:
            over.set()

    def look(self) -> None:
        """Name the jobs that should have ended."""
        named: dict[Attempt | Left, float] = {}
        watched: list[Attempt | Left] = [*self._attempts(), *self._left()]
        for one in watched:
            overdue = one.overdue
            if overdue <= STUCK:
                continue
            named[one] = self._named.get(one, 0.0)
            if overdue >= 2 * named[one]:
                named[one] = overdue
                self._name(one, overdue)
        self._named = named

    def _name(self, one: Attempt | Left, overdue: float) -> None:
        log.error(
            "job %s (%s) was told to end %.0f s ago, and does not. %s. It is here:\n%s",
            one.job.id,
            one.job.func,
            overdue,
            _LEFT if isinstance(one, Left) else _HEED,
            one.where(),
        )
        self._events.emit("job.stuck", str(one.job.id), one.job)

    def _watch_loop(self, over: threading.Event) -> None:
        named = 0.0
        looked = monotonic()
        while not over.wait(TICK):
            before, looked = looked, monotonic()
            if looked - before > TICK + BLOCKED:
                continue  # all of the process stood still
            late = looked - self._alive_at - TICK
            if late < BLOCKED:
                named = 0.0
            elif late >= 2 * named:
                named = late
                frame = sys._current_frames().get(self._loop)  # noqa: SLF001 - there is no other way
                plugins = self._whose(frame)
                log.error(
                    "worker %s: its event loop has been blocked for %.1f s, and nothing else runs "
                    "in it. %s. It is here:\n%s",
                    self._worker,
                    late,
                    f"It is blocked by {plugins}" if plugins else _ADVICE,
                    "".join(traceback.format_stack(frame)) if frame else "",
                )
