"""Tries a job again after a while that grows with each failure: for jobs that ask for it.

from chancy_plugins.retry import backoff

@job(max_attempts=5, meta=backoff(initial=10, most=3600))
async def fetch(url: str) -> None: ...
"""

import functools
import logging
import random
from collections.abc import Callable
from typing import Any, Literal, get_args

from attrs import Attribute, asdict, field, frozen

from chancy_core import codec
from chancy_core.errors import InvalidJob, InvalidValue
from chancy_core.hookspecs import hookimpl
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import Outcome, Verdict, settle

log = logging.getLogger("chancy.retry")

#: Under which name the meta of a job has its policy.
KEY = "retry"
Jitter = Literal["full", "none"]
#: The shortest and the longest pauses that can be asked for, in seconds; the longest is a year.
_LEAST, _YEAR = 0.001, 366 * 86_400
#: What `outcome.settle` says of a job that is to be tried again.
_AT_ONCE = Verdict(State.PENDING)


def _within(least: float, most: float, unit: str = "") -> Callable[[Any, Any, float], None]:
    def check(_: "Policy", attribute: "Attribute[float]", value: float) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            raise InvalidJob(
                f"backoff: {attribute.name} must be {least:,} to {most:,}{unit}, "
                f"not {codec.shown(value)}"
            )

    return check


@frozen(kw_only=True)
class Policy:
    """How long a job waits after each failure, before it is tried again.

    Raises `InvalidJob` when a setting makes no sense.
    """

    #: Seconds after the first failure.
    initial: float = field(default=1.0, validator=_within(_LEAST, _YEAR, " seconds"))
    #: How much longer after each further one.
    factor: float = field(default=2.0, validator=_within(1, 1000))
    #: The most seconds, after however many.
    most: float = field(default=300.0, validator=_within(_LEAST, _YEAR, " seconds"))
    #: `full`: anything from nothing to the time that it would be, so that what failed together is
    #: not tried again together. `none`: just that time.
    jitter: Jitter = field(default="full")

    @jitter.validator
    def _known(self, _: "Attribute[str]", value: object) -> None:
        if value not in get_args(Jitter):
            raise InvalidJob(f'backoff: jitter must be "full" or "none", not {codec.shown(value)}')


def backoff(
    *, initial: float = 1, factor: float = 2, most: float = 300, jitter: Jitter = "full"
) -> dict[str, Any]:
    """Return the meta of a job that waits before it is tried again, longer after each failure.

    Up to *initial* seconds after the first failure, *factor* times as long after each further
    one, *most* seconds at most; with `jitter="none"` just as long. To be merged with whatever
    else the meta has: `meta={"tenant": 7} | backoff(most=60)`. `max_attempts` says how often.

    Raises `InvalidJob` when a setting makes no sense.
    """
    return {KEY: asdict(Policy(initial=initial, factor=factor, most=most, jitter=jitter))}


def delay(policy: Policy, failures: int, chance: Callable[[], float] = random.random) -> float:
    """Return the seconds to wait after so many failures; *chance* answers from 0 to 1."""
    try:
        longest = min(policy.most, policy.initial * float(policy.factor) ** (failures - 1))
    except OverflowError:
        longest = policy.most
    return longest * chance() if policy.jitter == "full" else longest


@hookimpl
def chancy_verdict(job: QueuedJob, outcome: Outcome) -> Verdict | None:
    """Put a job off that has a policy, and would be tried again at once."""
    if KEY not in job.meta or settle(job, outcome) != _AT_ONCE:
        return None
    return Verdict(State.SCHEDULED, delay=delay(_policy(job), job.attempts + 1))


def _policy(job: QueuedJob) -> Policy:
    try:
        return codec.structured(KEY, job.meta[KEY], Policy)  # type: ignore[no-any-return]
    except InvalidValue as exc:
        _tell(job.func, str(exc))
        return Policy()


@functools.lru_cache(maxsize=1_000)
def _tell(func: str, problem: str) -> None:
    """Say, once, that the jobs of a function have a policy that makes no sense."""
    log.warning("%s has jobs whose meta makes no sense, and waits as usual: %s", func, problem)
