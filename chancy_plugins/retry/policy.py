"""How long a job waits after each failure, and which failures end it: policies, as values."""

import builtins
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_args

from attrs import Attribute, evolve, field, frozen

from chancy_core import errors
from chancy_core.codec import shown
from chancy_core.errors import InvalidJob
from chancy_core.perform import class_name

#: Under which name the meta of a job has its policy.
KEY = "retry"
Jitter = Literal["full", "equal", "none"]
#: The shortest and the longest pauses that can be asked for, in seconds; the longest is a year.
_LEAST, _YEAR = 0.001, errors.LONGEST_WAIT
#: How a class is called: by its module, and by what it stands in.
_NAME = re.compile(r"[^\W\d]\w*(\.([^\W\d]\w*|<locals>))*")

#: Classes of exceptions: one, or several as `except` takes them, or their names.
Classes = type[BaseException] | str | tuple[type[BaseException] | str, ...]


def _within(least: float, most: float, unit: str = "") -> Callable[[Any, Any, float], None]:
    def check(_: "Policy", attribute: "Attribute[float]", value: float) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            raise InvalidJob(
                f"retry: {attribute.name} must be {least:,} to {most:,}{unit}, not {shown(value)}"
            )

    return check


def _seconds(least: float = _LEAST) -> Callable[[Any, Any, float], None]:
    return _within(least, _YEAR, " seconds")


@frozen(kw_only=True)
class Policy:
    """How long a job waits after each failure before it is tried again, and when it is given up.

    After n failures that is `initial * factor ** (n - 1) + step * (n - 1)` seconds, *most* seconds
    at most, and less by lot if there is *jitter*. Made best by `constant`, `linear` and
    `exponential`, and changed by the methods, each of which gives another policy.

    Raises `InvalidJob` when a setting makes no sense.
    """

    #: Seconds after the first failure.
    initial: float = field(default=1.0, validator=_seconds())
    #: How much longer after each further one: so many times, and so many seconds.
    factor: float = field(default=2.0, validator=_within(1, 1000))
    step: float = field(default=0.0, validator=_seconds(0))
    #: The most seconds, after however many.
    most: float = field(default=300.0, validator=_seconds())
    #: `full`: anything from nothing to the time that it would be, so that what failed together is
    #: not tried again together. `equal`: from half of it. `none`: just that time.
    jitter: Jitter = field(default="full")
    #: What holds instead for exceptions of some classes, by their names; None gives the job up.
    by_class: "Mapping[str, Policy | None]" = field(factory=dict)
    #: Seconds after its push from which on a job is not tried again; None for no end.
    lifetime: float | None = field(default=None)

    @jitter.validator
    def _known(self, _: "Attribute[str]", value: object) -> None:
        if value not in get_args(Jitter):
            raise InvalidJob(f'retry: jitter must be "full", "equal" or "none", not {shown(value)}')

    @by_class.validator
    def _of_classes(self, _: Any, rules: "Mapping[str, Policy | None]") -> None:
        if not isinstance(rules, Mapping):
            raise InvalidJob(f"retry: by_class must be a mapping of names, not {shown(rules)}")
        for name, rule in rules.items():
            _check_name(name)
            if rule is not None and (not isinstance(rule, Policy) or rule.by_class):
                raise InvalidJob(
                    f"retry: for {name} there must be a policy without classes of its own, such as "
                    f"constant(5), or None, not {shown(rule)}"
                )

    @lifetime.validator
    def _bounded(self, attribute: "Attribute[float]", value: float | None) -> None:
        if value is not None:
            _seconds()(self, attribute, value)

    def on(self, raised: Classes, policy: "Policy") -> "Policy":
        """Return this policy with another one for exceptions of some classes.

            exponential(10).on((TimeoutError, "requests.ConnectionError"), constant(5))

        A class stands for all that are derived from it, and of several that fit, the nearest
        holds, in whichever order they were named. A name is that which errors of jobs have:
        `acme.mail.Refused`; `acme.Refused` is that class wherever the package `acme` has it.
        """
        if not isinstance(policy, Policy):
            raise InvalidJob(f"retry: on(…, policy) takes such as constant(5), not {shown(policy)}")
        return evolve(self, by_class={**self.by_class, **dict.fromkeys(_names(raised), policy)})

    def give_up_on(self, *raised: Classes) -> "Policy":
        """Return this policy for jobs that are not tried again after exceptions of some classes.

        exponential(10).give_up_on(ValueError, "acme.Fatal")
        """
        return evolve(self, by_class={**self.by_class, **dict.fromkeys(_names(raised))})

    def give_up_after(self, seconds: float) -> "Policy":
        """Return this policy for jobs that are not begun again so many seconds after their push.

        By the database's clock, and up to a year. Measured when an attempt begins: one more may
        begin that much too late as the last one took.
        """
        return evolve(self, lifetime=seconds)

    def chosen(self, classes: Iterable[str]) -> "Policy | None":
        """Return what holds after an exception of these classes, the nearest first.

        None gives the job up.
        """
        for full in classes:
            found = [name for name in self.by_class if _stands_for(name, full)]
            if found:
                return self.by_class[max(found, key=len)]
        return self

    def delay(self, failures: int, chance: Callable[[], float] = random.random) -> float:
        """Return the seconds to wait after so many failures; *chance* answers from 0 to 1."""
        try:
            grown = self.initial * float(self.factor) ** (failures - 1)
        except OverflowError:
            grown = math.inf
        longest = min(self.most, grown + self.step * (failures - 1))
        if self.jitter == "none":
            return longest
        return longest * chance() if self.jitter == "full" else longest / 2 * (1 + chance())

    def written(self) -> dict[str, Any]:
        """Return this policy as plain JSON data, as the meta of a job has it."""
        plain: dict[str, Any] = {
            name: getattr(self, name) for name in ("initial", "factor", "most", "jitter")
        }
        if self.step:
            plain["step"] = self.step
        if self.by_class:
            rules = self.by_class.items()
            plain["by_class"] = {name: rule and rule.written() for name, rule in rules}
        if self.lifetime is not None:
            plain["lifetime"] = self.lifetime
        return plain


def _names(raised: Classes | tuple[Classes, ...]) -> list[str]:
    """Return the names of classes. Raises `InvalidJob` for what is no class of exceptions."""
    if isinstance(raised, tuple):
        return [name for one in raised for name in _names(one)]
    if isinstance(raised, str):
        _check_name(raised)
        return [raised]
    if isinstance(raised, type) and issubclass(raised, BaseException):
        return [class_name(raised)]
    raise InvalidJob(f"retry: {shown(raised)} is no class of exceptions, nor the name of one")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidJob(
            f"retry: {shown(name)} is no name of a class; errors of jobs have them, such as "
            "'acme.mail.Refused'"
        )
    if "." not in name and not hasattr(builtins, name) and not hasattr(errors, name):
        raise InvalidJob(
            f"retry: {name} is neither built in nor an error of Chancy's own: write its package "
            f"too, such as 'acme.{name}', or the class itself"
        )


def _stands_for(name: str, full: str) -> bool:
    """Whether this is the name of a class: in full, or by its package and its last name."""
    package, _, last = name.rpartition(".")
    if not package:
        return name == full
    return name == full or (full.startswith(f"{package}.") and full.endswith(f".{last}"))


def constant(seconds: float, *, jitter: Jitter = "none") -> Policy:
    """Return the policy of waiting for so many seconds after each failure.

    Raises `InvalidJob` when a setting makes no sense, as do the others.
    """
    return Policy(initial=seconds, factor=1, most=seconds, jitter=jitter)


def linear(
    seconds: float, *, step: float | None = None, most: float = 300, jitter: Jitter = "none"
) -> Policy:
    """Return the policy of waiting for so many seconds more after each failure: 10, 20, 30.

    With another *step* after the first: `linear(10, step=5)` waits for 10, 15, 20.
    """
    added = seconds if step is None else step
    made = Policy(initial=seconds, factor=1, step=added, most=most, jitter=jitter)
    return _check_most(made)


def exponential(
    seconds: float, *, factor: float = 2, most: float = 300, jitter: Jitter = "full"
) -> Policy:
    """Return the policy of waiting *factor* times as long after each failure: 10, 20, 40."""
    return _check_most(Policy(initial=seconds, factor=factor, most=most, jitter=jitter))


def _check_most(policy: Policy) -> Policy:
    if policy.most < policy.initial:
        raise InvalidJob(
            f"retry: most must be at least the {policy.initial:,} seconds to begin with, "
            f"not {policy.most:,}"
        )
    return policy


def retry(policy: Policy) -> dict[str, Any]:
    """Return the meta of a job that has this policy, to be merged with whatever else that has.

    `meta={"tenant": 7} | retry(exponential(10))`. `max_attempts` says how often it is tried.
    """
    if not isinstance(policy, Policy):
        raise InvalidJob(f"retry(…) takes a policy, such as constant(5), not {shown(policy)}")
    return {KEY: policy.written()}


def backoff(
    *, initial: float = 1, factor: float = 2, most: float = 300, jitter: Jitter = "full"
) -> dict[str, Any]:
    """Return the meta of a job that waits before it is tried again, longer after each failure.

    Up to *initial* seconds after the first failure, *factor* times as long after each further
    one, *most* seconds at most; with `jitter="none"` just as long. It is `retry` of such a policy.

    Raises `InvalidJob` when a setting makes no sense.
    """
    return retry(Policy(initial=initial, factor=factor, most=most, jitter=jitter))
