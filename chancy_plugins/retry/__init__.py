"""Tries a job again after a while, and says when it is not tried again: for jobs that ask for it.

    from chancy_plugins.retry import constant, exponential, retry

    patient = exponential(10, most=3600).on(TimeoutError, constant(5)).give_up_on(ValueError)

    @job(max_attempts=5, meta=retry(patient))
    async def fetch(url: str) -> None: ...

`Chancy(plugins=[Retry(queues={"mail": patient})])` has policies for jobs that bring none, and
budgets for queues. Without it, what is installed keeps to the policies of jobs, and to what an
exception asks for by its `retry_after`.
"""

from chancy_core.hookspecs import hookimpl
from chancy_core.job import QueuedJob
from chancy_core.outcome import Outcome, Verdict
from chancy_plugins.retry.budget import Budget as Budget
from chancy_plugins.retry.budget import per_minute as per_minute
from chancy_plugins.retry.budget import percent as percent
from chancy_plugins.retry.plugin import Retry as Retry
from chancy_plugins.retry.policy import Policy as Policy
from chancy_plugins.retry.policy import backoff as backoff
from chancy_plugins.retry.policy import constant as constant
from chancy_plugins.retry.policy import exponential as exponential
from chancy_plugins.retry.policy import linear as linear
from chancy_plugins.retry.policy import retry as retry

_installed = Retry()
heeds_success = _installed.heeds_success


@hookimpl
def chancy_verdict(job: QueuedJob, outcome: Outcome) -> Verdict | None:
    """Put off, or give up, a job that has a policy, or whose exception asks for it."""
    return _installed.chancy_verdict(job, outcome)
