"""What a worker runs at this moment, and what that takes: told in its row while somebody watches.

Whoever watches says so by a hint, over and over. It is written with the renewal of the lease, which
is written in any case, and by its thread: also while a job blocks the event loop.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Any
from uuid import UUID
from weakref import WeakSet

from chancy_core.executor import Running
from chancy_core.showing import shown

if TYPE_CHECKING:
    from datetime import datetime

    from chancy_core.assign import Lanes
    from chancy_core.job import QueuedJob
    from chancy_core.lane import Lane
    from chancy_core.progress import Progress

log = logging.getLogger("chancy.load")

#: Seconds for which whoever watches is believed to.
WATCHED = 15.0
#: How many jobs of a worker are told of: those that have run for longest.
MOST = 200
#: What is asked of a place: the seconds of processor time, and bytes of memory, that it has taken.
Taken = dict[str, float | int]


class Load:
    """What the lanes of one worker run. May be asked from any thread, and never fails."""

    def __init__(self, lanes: "Lanes", *, hears: bool) -> None:
        """A worker that *hears* no hints tells of it always, since nobody can ask it to."""
        self._lanes = lanes
        self._until = 0.0 if hears else inf
        #: Those whose executors cannot say where their calls run, which was logged.
        self._mute: WeakSet[Lane] = WeakSet()

    def watch(self) -> None:
        """Tell of it for a while: somebody watches."""
        self._until = time.monotonic() + WATCHED

    def text(self) -> str | None:
        """Return it as JSON, as `roster` reads it; None while nobody watches."""
        if time.monotonic() > self._until:
            return None
        try:
            return json.dumps(self._told())
        except Exception:  # a look at it must not cost the lease
            log.exception("cannot tell what the worker runs")
            return None

    def _told(self) -> dict[str, Any]:
        jobs = sorted(self._jobs(), key=lambda found: found[0])
        taken = _meter()
        shown = [
            {
                "id": str(job.id),
                "func": job.func,
                "queue": job.queue,
                "started_at": began.isoformat(),
                "pid": place.pid,
                "thread": place.thread,
                "progress": said and said.plain(),
                **(taken(place) if place.pid or place.thread else {}),
            }
            for began, job, place, said in islice(jobs, MOST)
        ]
        return {"jobs": shown, "more": max(0, len(jobs) - MOST), **taken(None)}

    def _jobs(self) -> "Iterator[tuple[datetime, QueuedJob, Running, Progress | None]]":
        for lane in tuple(self._lanes):
            attempts = tuple(lane.running)
            places = self._places(lane) if attempts else {}
            for attempt in attempts:
                job = attempt.job
                if job.started_at is not None:
                    place = places.get(job.id, Running(job.id))
                    yield job.started_at, job, place, attempt.progress

    def _places(self, lane: "Lane") -> dict[UUID, Running]:
        """Ask an executor, which may be anybody's: what it cannot say is missing for its queue."""
        try:
            return {each.job: each for each in map(_checked, lane.executor.running())}
        except Exception:
            if lane not in self._mute:
                self._mute.add(lane)
                log.exception(
                    "queue %s: its executor, %s, cannot say where its calls run; what they take "
                    "is not told",
                    lane.queue.name,
                    type(lane.executor).__qualname__,
                )
            return {}


def _checked(told: Any) -> Running:
    """Return what an executor has told, if it can be measured, and written."""
    if isinstance(told, Running) and _is_number(told.pid) and _is_number(told.thread):
        return told
    raise TypeError(
        "running() has to answer with values of chancy_core.executor.Running, whose pid and thread "
        f"are whole numbers or None, and not with {shown(told)}"
    )


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int) and value >= 0)


def _meter() -> Callable[[Running | None], Taken]:
    """Return what measures a place, or this process, where psutil is installed."""
    try:
        import psutil
    except ImportError:
        return lambda _: {}
    here = psutil.Process()
    threads = {each.id: each.user_time + each.system_time for each in here.threads()}

    def taken(place: Running | None) -> Taken:
        if place is not None and place.pid is None:
            cpu = threads.get(place.thread) if place.thread else None
            return {} if cpu is None else {"cpu": cpu}
        try:
            process = here if place is None else psutil.Process(place.pid)
            with process.oneshot():
                times = process.cpu_times()
                return {"cpu": times.user + times.system, "memory": process.memory_info().rss}
        except psutil.Error:  # it has just ended
            return {}

    return taken
