"""The part of the exam about the class: what a queue reads of it before anything is run."""

import inspect
from typing import Any

import attrs

from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.executor import Capability, Executor
from chancy_core.testing.exam.mistake import Mistake, expect

#: What an executor has that runs functions: one of these, or both.
FUNCTIONS = Capability.SYNC | Capability.ASYNC


def declares(made: type[Executor], options: Any) -> Any:
    """It says what it can, how much it does at once, and what can be set; returns its options.

    Raises `Mistake`.
    """
    expect(
        inspect.isclass(made) and issubclass(made, Executor),
        "it should be a subclass of chancy_core.executor.Executor",
        f"it is {made!r}",
    )
    missing = ", ".join(sorted(made.__abstractmethods__))
    expect(not missing, "it should define all that is abstract", f"{missing} is missing")
    able = getattr(made, "capabilities", None)
    expect(
        isinstance(able, Capability) and able & (FUNCTIONS | Capability.COMMAND),
        "capabilities should be of Capability, with SYNC, ASYNC or COMMAND",
        f"they are {able!r}",
    )
    number = made.default_concurrency
    expect(
        isinstance(number, int) and not isinstance(number, bool) and number >= 1,
        "default_concurrency should be a whole number from 1",
        f"it is {number!r}",
    )
    return _options(made, options)


def _options(made: type[Executor], given: Any) -> Any:
    expect(
        inspect.isclass(made.Options) and attrs.has(made.Options),
        "Options should be an attrs class",
        f"it is {made.Options!r}",
    )
    try:
        codec.structured("executor_options", {"chancy_no_such_option": 1}, made.Options)
    except InvalidValue:
        pass
    else:
        raise Mistake("an option that it does not have should be refused; it was taken")
    try:
        return codec.structured("executor_options", given, made.Options)
    except InvalidValue as exc:
        should = "its defaults should do" if not given else "the options should fit"
        raise Mistake(f"{should}; {exc}") from exc
