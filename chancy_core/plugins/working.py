"""The plugins as one worker has them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import anyio

from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.hooks import FAULTS, Implementation, Plugin, answered
from chancy_core.host import Service, WorkerHost
from chancy_core.job import QueuedJob
from chancy_core.outcome import REFUSED, Kind, Outcome, Settlement, Verdict, settle
from chancy_core.plugins.application import Plugins
from chancy_core.plugins.contexts import AttemptContexts, contexts_of
from chancy_core.plugins.faults import Faults
from chancy_core.plugins.observing import Observers
from chancy_core.queue import Queue
from chancy_core.state import State
from chancy_core.statement import Names, Statement

#: Seconds that a budget may take, and for which one that took longer is not asked again.
BUDGET, REST = 1.0, 30.0
#: The most seconds by which a verdict may put a job off: 100 years.
LONGEST = 100 * 365.25 * 24 * 3600
#: Endings that somebody else has decided on.
_SETTLED = frozenset({Kind.CANCELLED, Kind.SHUTDOWN, Kind.UNREADABLE})


class WorkerPlugins:
    """What the plugins of an application do in one of its workers."""

    def __init__(self, plugins: Plugins, worker: WorkerHost) -> None:
        self.beside = plugins
        self.observers = Observers(plugins, worker)
        self._worker = worker
        self._services: list[tuple[Plugin, Service]] = []
        self.faults = Faults(lambda: plugins.plugins, lambda: self._services)
        self._resting: dict[Plugin, float] = {}

    @property
    def worker_name(self) -> str:
        """What the worker is called."""
        return self._worker.name

    def verdict(self, job: QueuedJob, outcome: Outcome) -> Verdict:
        """Decide what becomes of a job."""
        hook = "chancy_verdict"
        success = outcome.kind is Kind.SUCCESS  # as of most jobs
        implementations = self.beside.of_success if success else self.beside.implemented(hook)
        if implementations and outcome.kind not in _SETTLED:
            given = {"job": job, "outcome": outcome}
            for one in implementations:
                try:
                    answer = one.call(given)
                except FAULTS as exc:
                    one.plugin.blame(hook, exc)
                    continue
                if answer is None:
                    continue
                problem = _problem(job, outcome, answer)
                if problem is None:
                    return answer  # type: ignore[no-any-return]
                one.plugin.blame(hook, problem)
        return settle(job, outcome)

    def contexts(self, job: QueuedJob) -> AttemptContexts | None:
        """Return what stands around an attempt; None if nothing does."""
        implementations = self.beside.around_jobs("chancy_job_context")
        if not implementations:
            return None
        asked = contexts_of(implementations, {"job": job, "worker": self._worker})
        return AttemptContexts(asked) if asked else None

    @property
    def budgets(self) -> bool:
        """Whether any plugin says how many jobs may be claimed."""
        return bool(self.beside.implemented("chancy_fetch_budget"))

    async def budget(self, queue: Queue, free: int) -> int:
        """Return how many jobs of a queue may be claimed, when *free* of its slots are."""
        for one in self.beside.implemented("chancy_fetch_budget"):
            if self._resting.get(one.plugin, 0.0) > anyio.current_time():
                continue
            answer = await self._ask(one, {"queue": queue, "worker": self._worker, "free": free})
            if answer is not None:
                free = min(free, answer)
        return free

    async def _ask(self, one: Implementation, given: dict[str, Any]) -> int | None:
        hook = "chancy_fetch_budget"
        answer = None
        try:
            with anyio.move_on_after(BUDGET) as scope:
                answer = await one.call(given)
        except FAULTS as exc:
            one.plugin.blame(hook, exc)
            return None
        if scope.cancelled_caught:
            self._resting[one.plugin] = anyio.current_time() + REST
            one.plugin.blame(hook, f"it took longer than {BUDGET} s; asked again in {REST} s")
        if answer is None or (isinstance(answer, int) and answer >= 0 and answer is not True):
            return answer
        one.plugin.blame(hook, answered(answer, "a number of jobs, 0 or more"))
        return None

    def services(self) -> list[tuple[Plugin, Service]]:
        """Return what is to run as long as the worker does."""
        hook = "chancy_worker_services"
        found: list[tuple[Plugin, Service]] = []
        for plugin, answer in self.beside.each(hook, worker=self._worker):
            with plugin.blamed(hook):
                found += [(plugin, service) for service in _several(answer, Service)]
        self._services += found
        return found

    @property
    def settles(self) -> bool:
        """Whether any plugin has statements to run where jobs are settled."""
        return bool(self.beside.implemented("chancy_settling"))

    def settling(
        self, settled: Sequence[Settlement], names: Names
    ) -> list[tuple[Plugin, list[Statement[Any]]]]:
        """Return what each plugin wants to run in the transaction that settles these jobs."""
        hook = "chancy_settling"
        found: list[tuple[Plugin, list[Statement[Any]]]] = []
        for plugin, answer in self.beside.each(hook, settled=settled, names=names):
            with plugin.blamed(hook):
                if several := _several(answer, Statement):
                    found.append((plugin, several))
        return found


def _several(answer: Any, kind: type[Any]) -> list[Any]:
    """Return an answer that must be several of a kind. Raises `TypeError`."""
    made = list(answer) if isinstance(answer, Iterable) else [answer]
    for one in made:
        if not isinstance(one, kind):
            raise TypeError(answered(one, f"an iterable of {kind.__name__}"))
    return made


def _problem(job: QueuedJob, outcome: Outcome, answer: Any) -> str | None:
    """Return what is wrong with a verdict, or None."""
    if not isinstance(answer, Verdict) or not isinstance(answer.state, State):
        return answered(answer, "a Verdict")
    back = answer.state in {State.PENDING, State.SCHEDULED}
    if not back and not answer.state.finished:
        return f"it answered that the job is {answer.state}: to send it back, say scheduled"
    delay = answer.delay
    number = isinstance(delay, int | float) and math.isfinite(delay) and 0 <= delay <= LONGEST
    if not number or not isinstance(answer.counted, bool):
        return answered(answer, f"a delay of 0 to {LONGEST:,.0f} seconds, counted or not")
    if delay and answer.state is not State.SCHEDULED:
        return f"it answered a delay for a job that is {answer.state}, and not scheduled"
    if back and job.at_most_once and outcome.kind not in REFUSED:
        return "it sent a job back that is to be run at most once"
    return None if answer.meta is None else _unfit(answer.meta)


def _unfit(meta: Any) -> str | None:
    """Return what is wrong with entries for a job's meta, or None."""
    if not isinstance(meta, Mapping):
        return f"it answered a verdict whose meta is {type(meta).__name__}, and no mapping"
    try:
        codec.encode(meta, "the meta of its verdict")
    except InvalidValue as exc:
        return str(exc)
    return None
