"""The plugin `workflow`, as workers find it: what is done when a step's job ends, and a sweep."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from chancy_core.hookspecs import hookimpl
from chancy_core.host import Service, WorkerHost
from chancy_core.outcome import Rescued, Settlement
from chancy_core.statement import Names, Statement
from chancy_plugins.workflow import statements
from chancy_plugins.workflow.going import Going
from chancy_plugins.workflow.record import META
from chancy_plugins.workflow.statements import Gone
from chancy_plugins.workflow.sweep import PATIENCE, Sweeper

#: How many jobs are remembered whose end was recorded, until somebody is told of it.
REMEMBERED = 20_000

#: What came of recording the ends of jobs, by these: a hint, since it may have been rolled back.
_gone: dict[UUID, Gone] = {}


def _is_step(settlement: Settlement) -> bool:
    return settlement.verdict.state.finished and META in settlement.job.meta


@hookimpl
def chancy_settling(settled: Sequence[Settlement], names: Names) -> Iterable[Statement[Any]] | None:
    """Go on with workflows in the transaction that settles their steps."""
    ended = [one for one in settled if one.job.meta and _is_step(one)]  # most have no meta
    if not ended:
        return None
    jobs = [one.job.id for one in ended]

    def note(gone: Gone) -> None:
        _gone.update(dict.fromkeys(jobs, gone))
        while len(_gone) > REMEMBERED:
            _gone.pop(next(iter(_gone)), None)

    return [statements.settle(names, ended, note)]


def heeds_settled(settled: Sequence[Settlement]) -> bool:
    """Whether there are steps among these jobs."""
    return any(_is_step(one) for one in settled if one.job.meta)


@hookimpl
async def chancy_jobs_settled(settled: Sequence[Settlement], worker: WorkerHost) -> None:
    """Wake workers for what was queued; record what could not be in that transaction."""
    jobs = [one.job.id for one in settled if _is_step(one)]
    if not jobs:
        return
    found = {job: _gone.pop(job, None) for job in jobs}
    queues: set[str] = set()
    more: dict[UUID, None] = {}
    for gone in {id(one): one for one in found.values() if one is not None}.values():
        queues |= gone.queues
        more |= dict.fromkeys(gone.more)
    going = Going(worker.chancy, worker)
    await going.follow(Gone(frozenset(queues), tuple(more)))
    if left := [job for job, gone in found.items() if gone is None]:
        await going.look_again(left)


@hookimpl
async def chancy_jobs_rescued(rescued: Sequence[Rescued], worker: WorkerHost) -> None:
    """Record that steps have ended with their workers."""
    if ended := [one.job for one in rescued if one.state.finished]:
        await Going(worker.chancy, worker).look_again(ended)


@hookimpl
def chancy_worker_services(worker: WorkerHost) -> Iterable[Service]:
    """Look after workflows for as long as the worker works."""
    sweeper = Sweeper(worker.chancy)

    async def sweep() -> None:  # written here, so that a stack that leads here is the plugin's
        await sweeper.run()

    service = Service("workflow", sweep, patience=PATIENCE)
    sweeper.beat = service.beat
    return [service]
