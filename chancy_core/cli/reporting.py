"""What `chancy dev` shows of each attempt that ends: how, how long it took, and why."""

import time
from collections.abc import Callable
from textwrap import shorten

from chancy_core.events import Event
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import Outcome, Verdict
from chancy_core.worker import Worker

#: The most characters of why something failed.
_WIDTH = 100


class Report:
    """Says a line for each attempt that ends on *worker*."""

    def __init__(self, worker: Worker, say: Callable[[str], object]) -> None:
        self._say = say
        self._began: dict[str, float] = {}
        worker.events.on("job.started", self._started)
        worker.events.on("job.settled", self._settled)

    def _started(self, event: Event) -> None:
        self._began[event.subject] = time.perf_counter()

    def _settled(self, event: Event) -> None:
        began = self._began.pop(event.subject, None)
        took = None if began is None else time.perf_counter() - began
        job, outcome, verdict = event.value
        self._say(line(job, outcome, verdict, took))


def line(job: QueuedJob, outcome: Outcome, verdict: Verdict, took: float | None) -> str:
    """Return the line for one attempt, which took so many seconds."""
    if verdict.state is State.SUCCEEDED:
        return f"✓ {_duration(took)}  {job.func}"
    failure = outcome.failure
    why = f"{failure.type}: {failure.message}" if failure else outcome.kind.value
    why = shorten(why, _WIDTH, placeholder="…")
    if verdict.state.finished:
        return f"✗ {_duration(took)}  {job.func}  {verdict.state}  {why}"
    again = f"again in {verdict.delay:g} s" if verdict.delay else "again"
    return f"↻ {_duration(took)}  {job.func}  {again}  {why}"


def _duration(took: float | None) -> str:
    if took is None:
        return f"{'':>7}"
    return f"{took * 1000:>4.0f} ms" if took < 9.9995 else f"{took:>5.1f} s"
