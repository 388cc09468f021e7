"""Values: which jobs gain priority while they wait, and how much of it."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from attrs import Attribute, field, frozen

from chancy_core import codec
from chancy_core.errors import InvalidPlugin
from chancy_core.function import JobFunction
from chancy_core.priority import FARTHEST, HIGHEST, LOWEST

#: The most bytes of a rule's key that is written out.
_LONGEST = 200
#: The most seconds that a rule can have: a year.
_YEAR = 366 * 86_400
#: The most jobs that one transaction looks at.
_BATCH = 10_000

Named = str | JobFunction[..., Any]


def _names(given: Any) -> tuple[str, ...] | None:
    """Return the names that are meant, in order; what makes no sense is left for the validator."""
    if given is None:
        return None
    several = [given] if isinstance(given, str | JobFunction) else given
    if not isinstance(several, Iterable):
        return (given,)
    named = [one.name if isinstance(one, JobFunction) else one for one in several]
    return tuple(sorted(named) if all(isinstance(one, str) for one in named) else named)


@frozen(kw_only=True)
class Ageing:
    """Has jobs that wait come earlier, the longer they wait.

        Ageing(queue="mail", after=60, every=60, by=5, most=50)

    A job that has waited for longer than *after* seconds has its priority raised by *by*, and once
    more for each further *every* seconds, to *most* at most. It holds for the jobs of these queues
    and functions, one or several, which are named or given themselves; of all where none is given.

    Raises `InvalidPlugin` for what makes no sense.
    """

    queue: tuple[str, ...] | None = field(default=None, converter=_names)
    func: tuple[str, ...] | None = field(default=None, converter=_names)
    #: Seconds that a job waits before the first step.
    after: float = 300.0
    #: By how much each step raises it.
    by: int = 1
    #: Seconds from one step to the next.
    every: float = 300.0
    #: To which priority steps lead at most.
    most: int = 100
    #: How many jobs one transaction looks at.
    batch: int = 1000

    @queue.validator
    @func.validator
    def _are_names(self, attribute: "Attribute[Any]", given: tuple[Any, ...] | None) -> None:
        for name in given or ():
            problem = codec.unstorable(name) if isinstance(name, str) else "it is no name"
            if problem is not None:
                raise InvalidPlugin(
                    f"reprioritize: {attribute.name} must be a name or several, "
                    f"not {codec.shown(name)}: {problem}"
                )
        if given == ():
            raise InvalidPlugin(
                f"reprioritize: {attribute.name} names none: leave it out where all are meant"
            )

    def __attrs_post_init__(self) -> None:
        _number("after", self.after, 0, _YEAR)
        _number("every", self.every, 1, _YEAR)
        for name, least, most in (
            ("by", 1, FARTHEST),
            ("most", LOWEST, HIGHEST),
            ("batch", 1, _BATCH),
        ):
            given = getattr(self, name)
            if not isinstance(given, int):
                _refuse(name, "a whole number", given)
            _number(name, given, least, most)

    @property
    def key(self) -> str:
        """Of which jobs it is, as the table has it: another rule of the same goes on from there."""
        written = json.dumps({"queue": self.queue, "func": self.func}, ensure_ascii=False)
        if len(written.encode()) <= _LONGEST:
            return written
        return f"blake2b {hashlib.blake2b(written.encode(), digest_size=16).hexdigest()}"


def _number(name: str, given: Any, least: float, most: float) -> None:
    number = isinstance(given, int | float) and not isinstance(given, bool)
    if not number or not least <= given <= most:
        _refuse(name, f"{least:,} to {most:,}", given)


def _refuse(name: str, right: str, given: Any) -> None:
    raise InvalidPlugin(f"reprioritize: {name} must be {right}, not {codec.shown(given)}")
