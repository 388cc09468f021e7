"""The hooks: what a plugin can do, and when it is asked.

A plugin is a module, or an object, whose functions are marked with `hookimpl`; it is found by its
entry point in the group `chancy.plugins`, or given to `Chancy(plugins=...)`:

    from chancy_core.hookspecs import hookimpl

    @hookimpl
    def chancy_job_meta(job):
        return {"tenant": current_tenant.get()}

An implementation names those arguments that it wants, and is written with `def` or `async def` as
its hook is here. What decides is a `def`; what only looks on is an `async def`. None is always
an answer: nothing to say. Whatever a plugin does, no job is lost and no worker ends: an
implementation that raises, or answers what makes no sense, is named in the log with its
distribution, and left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pluggy

from chancy_core.events import Event
from chancy_core.host import Application, Service, WorkerHost
from chancy_core.job import Job, QueuedJob, Reference
from chancy_core.outcome import Outcome, Rescued, Settlement, Verdict
from chancy_core.queue import Queue
from chancy_core.statement import Names, Statement

#: Marks the functions of a plugin that implement hooks.
hookimpl = pluggy.HookimplMarker("chancy")
hookspec = pluggy.HookspecMarker("chancy")


# -- the application -------------------------------------------------------------------------------


@hookspec
def chancy_configure(app: Application) -> None:
    """Set the application up: called once for each, before it does anything.

    It is not open yet: there is no database. A plugin that is registered later is called then.
    """


# -- where jobs are pushed -------------------------------------------------------------------------


@hookspec
def chancy_job_meta(job: Job) -> Mapping[str, Any] | None:
    """Return entries for the meta of a job that is about to be stored.

    The job's own entries win, then those of the plugin whose name comes first. What has no JSON
    form is left out. Nobody is asked while all who could be have an `awake()` that is false.
    """


@hookspec
def chancy_jobs_pushed(references: Sequence[Reference], jobs: Sequence[Job]) -> None:
    """Hear of jobs that have been stored, after the commit; it must not block.

    *references* are those of *jobs*, in this order; one that is not `new` was not stored, but
    stands for a live job with the same unique key. Not told of what `push_ex` stores, which may yet
    be rolled back.
    """


# -- the worker ------------------------------------------------------------------------------------


@hookspec
async def chancy_fetch_budget(queue: Queue, worker: WorkerHost, free: int) -> int | None:
    """Return how many jobs of a queue may be claimed now, when *free* of its slots are.

    The least answer holds. It has a second; after that it is not asked for half a minute. A
    budget keeps work away from here; it is no limit that must hold, since nobody counts across
    workers.
    """


@hookspec
def chancy_worker_services(worker: WorkerHost) -> Iterable[Service] | None:
    """Return what is to run as long as the worker does.

    Each is supervised: one that raises is named, and begins again, at first after a moment, at
    last after a minute.
    """


@hookspec
async def chancy_notified(event: Event, worker: WorkerHost) -> None:
    """Hear what other processes said: `queue.*`, `job.*`, and what `Chancy.notify` sends.

    A hint: some are lost, some come twice. `worker.listening` says that the worker hears them from
    now on, when it starts and after each interruption: look then for what was missed.
    """


@hookspec
async def chancy_jobs_rescued(rescued: Sequence[Rescued], worker: WorkerHost) -> None:
    """Hear of the jobs that this worker took back from workers that had died."""


# -- one attempt -----------------------------------------------------------------------------------


@hookspec(firstresult=True)
def chancy_resolve_function(name: str) -> Callable[..., Any] | None:
    """Return the function that a job names and that no `@job` has registered; first answer wins.

    Called beside the function: in the child process, if it runs in one.
    """


@hookspec
def chancy_job_kwargs(job: QueuedJob, func: Callable[..., Any]) -> Mapping[str, Any] | None:
    """Return arguments to call the job's function with, such as a connection or a client.

    They fill keyword-only parameters whose default is `INJECTED`; the job's own win. An attempt
    for which such a parameter stays open is given back, uncounted, for a while. Called beside
    the function.
    """


@hookspec
def chancy_call_context(job: QueuedJob) -> AbstractContextManager[Any] | None:
    """Return a context to call the function in, beside it.

    It sees what the function raises, and cannot change it. One that fails on entry is left out;
    if its plugin says `required = True`, the attempt is given back instead, uncounted, for a while.
    """


@hookspec
def chancy_job_context(
    job: QueuedJob, worker: WorkerHost
) -> AbstractAsyncContextManager[Any] | None:
    """Return a context for the attempt, in the worker, wherever the function runs.

    As with `chancy_call_context`; entering and leaving have five seconds each. All plugins are
    asked before the first context is entered. One with a plain function `awake()` beside these two
    hooks is asked about jobs only while that returns true: it is looked at as jobs are claimed.
    """


@hookspec(firstresult=True)
def chancy_verdict(job: QueuedJob, outcome: Outcome) -> Verdict | None:
    """Decide what becomes of a job after an attempt; first answer wins, else `outcome.settle` does.

    With the verdict's *meta* it writes into that of the job, for whoever looks, or for itself.

    Not asked when somebody cancelled the job, its worker stopped, or its row is unreadable; about
    jobs that have succeeded not where the plugin has `heeds_success = False` beside it. A job
    that is to be run at most once cannot be sent back.
    """


@hookspec
def chancy_settling(settled: Sequence[Settlement], names: Names) -> Iterable[Statement[Any]] | None:
    """Return statements to run in the transaction that settles these jobs: with them, or never.

    They run once the outcomes are known to count, before they are committed, while the jobs' rows
    are locked; those of one plugin that fail, or take longer than two seconds, are rolled back
    alone. Each is read: a `read` of your own sees its rows.

    It is asked before, and once more if some outcomes came too late, with the rest: so it only
    answers, and does nothing. Where nobody answers anything, jobs are settled by one statement and
    no transaction is opened: answer None where no job is of yours. Not told of jobs that settle
    themselves by `complete_ex`.
    """


@hookspec
async def chancy_jobs_settled(settled: Sequence[Settlement], worker: WorkerHost) -> None:
    """Hear of outcomes after they were committed, in their order, each plugin at its own pace.

    One that cannot keep up misses some, and is named. One call has half a minute. Being told costs
    a worker some 30 µs: a plugin of few jobs has a plain function `heeds_settled(settled)` beside
    it, and is told only where that returns true.
    """
