"""The plugin itself: whose policy holds for a job, and what becomes of the job by it."""

import functools
import logging
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from chancy_core import codec, registry
from chancy_core.errors import InvalidPlugin, InvalidValue
from chancy_core.function import JobFunction
from chancy_core.hookspecs import hookimpl
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import COUNTED, Outcome, Verdict, settle
from chancy_plugins.retry.budget import Budget, Calendar
from chancy_plugins.retry.policy import KEY, Policy

log = logging.getLogger("chancy.retry")

#: What `outcome.settle` says of a job that is to be tried again.
_AT_ONCE = Verdict(State.PENDING)


def _named(given: Any) -> Any:
    """Return a mapping by names, where functions may stand for theirs."""
    if not isinstance(given, Mapping):
        return given
    return {key.name if isinstance(key, JobFunction) else key: given[key] for key in given}


@define(eq=False, kw_only=True)
class Retry:
    """The plugin `retry`, with policies for jobs that bring none, and budgets for queues.

        Chancy(plugins=[Retry(queues={"mail": exponential(10)}, budgets={"mail": percent(20)})])

    What a job brings in its meta holds, else what its function has here, else its queue, else
    *default*. Without any, a job is tried again at once, or when its exception asks to be.

    Raises `InvalidPlugin` for what is no policy, and no budget.
    """

    #: Policies by function, which is named as its jobs name it, or given itself.
    functions: Mapping[str | JobFunction[..., Any], Policy] = field(factory=dict, converter=_named)
    #: Policies by the names of queues.
    queues: Mapping[str, Policy] = field(factory=dict)
    default: Policy | None = field(default=None)
    #: How many retries may begin in a minute, by the names of queues.
    budgets: Mapping[str, Budget] = field(factory=dict)
    _calendars: dict[str, Calendar] = field(init=False, factory=dict, repr=False)

    @functions.validator
    @queues.validator
    @budgets.validator
    def _are_such(self, attribute: Any, given: Any) -> None:
        budgets = attribute.name == "budgets"
        kind: type = Budget if budgets else Policy
        such = "budgets, such as per_minute(60)" if budgets else "policies, such as exponential(10)"
        named = isinstance(given, Mapping) and all(isinstance(key, str) for key in given)
        if not named or not all(isinstance(value, kind) for value in given.values()):
            raise InvalidPlugin(
                f"retry: {attribute.name} must be a mapping of names to {such}, "
                f"not {codec.shown(given)}"
            )

    @default.validator
    def _is_one(self, _: Any, given: Any) -> None:
        if given is not None and not isinstance(given, Policy):
            raise InvalidPlugin(
                "retry: default must be a policy, such as exponential(10), or None, "
                f"not {codec.shown(given)}"
            )

    def __attrs_post_init__(self) -> None:
        self._calendars.update((queue, Calendar(one)) for queue, one in self.budgets.items())

    @property
    def heeds_success(self) -> bool:
        """Whether it is asked about jobs that succeed: only budgets count them."""
        return bool(self._calendars)

    @hookimpl
    def chancy_verdict(self, job: QueuedJob, outcome: Outcome) -> Verdict | None:
        """Put off, or give up, a job that would be tried again at once."""
        calendar = self._calendars.get(job.queue)
        if calendar is not None and outcome.kind in COUNTED:
            calendar.count()
        if settle(job, outcome) != _AT_ONCE:
            return None
        policy = self.policy(job)
        pause = _pause(policy, job, outcome)
        if pause is None:
            return Verdict(State.FAILED)
        if calendar is not None:
            pause = calendar.place(pause)
        if pause:
            return Verdict(State.SCHEDULED, delay=pause)
        return None if policy is None else _AT_ONCE

    def policy(self, job: QueuedJob) -> Policy | None:
        """Return the policy that holds for a job, or None."""
        if KEY in job.meta:
            return _brought(job)
        names = (job.func, registry.canonical(job.func))
        found = (*map(self.functions.get, names), self.queues.get(job.queue))
        return next((policy for policy in found if policy is not None), self.default)


def _pause(policy: Policy | None, job: QueuedJob, outcome: Outcome) -> float | None:
    """Return for how many seconds a job waits that has failed once more; None gives it up."""
    asked = outcome.retry_after or 0.0
    if policy is None:
        return asked
    rule = policy.chosen(outcome.classes)
    if rule is None:
        what = outcome.classes[0] if outcome.classes else str(outcome.kind)
        log.info("job %s (%s) is given up, by its policy, on %s", job.id, job.func, what)
        return None
    pause = max(asked, rule.delay(job.attempts + 1))
    lifetime = policy.lifetime if rule.lifetime is None else rule.lifetime
    if lifetime is not None and _age(job) + pause > lifetime:
        log.info(
            "job %s (%s) is given up, by its policy: its %g s are over", job.id, job.func, lifetime
        )
        return None
    return pause


def _age(job: QueuedJob) -> float:
    """Return how many seconds after its push the attempt at a job began: by one clock for both."""
    began = job.started_at or job.created_at
    return (began - job.created_at).total_seconds()


def _brought(job: QueuedJob) -> Policy:
    try:
        return codec.structured(KEY, job.meta[KEY], Policy)  # type: ignore[no-any-return]
    except InvalidValue as exc:
        _tell(job.func, str(exc))
        return Policy()


@functools.lru_cache(maxsize=1_000)
def _tell(func: str, problem: str) -> None:
    """Say, once, that the jobs of a function have a policy that makes no sense."""
    log.warning("%s has jobs whose meta makes no sense, and waits as usual: %s", func, problem)
