"""Which finished jobs are kept, and for how long: values, as code and the environment say them."""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Self

from attrs import evolve, field, frozen

from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.function import JobFunction
from chancy_core.state import State

Duration = float | timedelta | None

#: The least and the most seconds for which a job is kept: whoever waits for it reads it there.
LEAST, MOST = 60.0, 36_500 * 86_400.0
#: How long finished jobs are kept if nobody says otherwise, in seconds.
USUAL = 30 * 86_400.0
#: The most rules that a policy may have.
LONGEST = 100
#: What stands for ever in a text.
NONE = "none"

_FINISHED = tuple(str(state) for state in State if state.finished)
_ASKED = ("state", "queue", "func")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def days(number: float) -> timedelta:
    """Return so many days."""
    return timedelta(days=number)


def hours(number: float) -> timedelta:
    """Return so many hours."""
    return timedelta(hours=number)


def seconds(given: Any) -> float | None:
    """Return a duration in seconds; None is for ever. Raises `InvalidValue`."""
    if given is None:
        return None
    value = given.total_seconds() if isinstance(given, timedelta) else given
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not LEAST <= value <= MOST:
        raise InvalidValue(
            "a finished job is kept for 60 seconds to 100 years, as seconds or a timedelta such as "
            f"days(30), or for ever, which is None; not for {codec.shown(given)}"
        )
    return float(value)


def _several(given: Any) -> Any:
    """Return what a rule asks for as a tuple; what makes no sense is left to the validator."""
    if given is None or isinstance(given, tuple):
        return given
    if isinstance(given, str | JobFunction):
        given = [given]
    if not isinstance(given, Iterable):
        return given
    return tuple(one.name if isinstance(one, JobFunction) else one for one in given)


@frozen(kw_only=True)
class Keep:
    """How long certain finished jobs are kept: by their state, their queue, their function.

        Keep(state="succeeded", queue="mail", for_=days(1))
        Keep(func="acme.reports.*", for_=None)

    What is left out may be anything, and `*` stands for any text in the names of queues and
    functions. *for_* counts from when a job finished: seconds, a timedelta, or None, which is for
    ever. Raises `InvalidValue` for what makes no sense.
    """

    for_: float | None = field(converter=seconds)
    state: tuple[str, ...] | None = field(default=None, converter=_several)
    queue: tuple[str, ...] | None = field(default=None, converter=_several)
    func: tuple[str, ...] | None = field(default=None, converter=_several)

    @state.validator
    @queue.validator
    @func.validator
    def _are_names(self, attribute: Any, given: Any) -> None:
        if given is None:
            return
        named = isinstance(given, tuple) and all(isinstance(one, str) for one in given)
        if not named or not given or any(map(codec.unstorable, given)):
            raise InvalidValue(
                f"a rule of retention: {attribute.name} must be a name, or several, "
                f"not {codec.shown(given)}"
            )
        wrong = set(given) - set(_FINISHED) if attribute.name == "state" else ()
        if wrong:
            raise InvalidValue(
                f"a rule of retention: finished jobs are {', '.join(_FINISHED)}, "
                f"and never {codec.shown(min(wrong))}"
            )

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "state", self.state and tuple(map(str, self.state)))
        if self.state is self.queue is self.func is None:
            raise InvalidValue(
                "a rule of retention names a state, a queue or a func: for all jobs there is "
                "Retention(keep=...)"
            )

    def __str__(self) -> str:
        asked = (
            f"{name}={','.join(getattr(self, name))}" for name in _ASKED if getattr(self, name)
        )
        return f"{' '.join(asked)} {in_words(self.for_)}"


def _rules(given: Any) -> Any:
    return tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else given


@frozen
class RetentionPolicy:
    """How long finished jobs are kept: by the first of *rules* that is for them, else *keep*."""

    keep: float | None = field(default=USUAL, converter=seconds)
    rules: tuple[Keep, ...] = field(default=(), converter=_rules)

    @rules.validator
    def _are_rules(self, _: Any, given: Any) -> None:
        if not isinstance(given, tuple) or not all(isinstance(one, Keep) for one in given):
            raise InvalidValue(
                "rules of retention are such as [Keep(state='succeeded', for_=days(1))], "
                f"not {codec.shown(given)}"
            )
        if len(given) > LONGEST:
            raise InvalidValue(f"there may be {LONGEST} rules of retention, and not {len(given)}")

    @property
    def steps(self) -> list[float]:
        """After how many seconds some jobs may go, each time once."""
        kept = {self.keep, *(rule.for_ for rule in self.rules)}
        return sorted(one for one in kept if one is not None)

    @property
    def longest(self) -> float | None:
        """After how many seconds all of them may; None if some are kept for ever."""
        kept = [self.keep, *(rule.for_ for rule in self.rules)]
        return None if None in kept else max(one for one in kept if one is not None)

    def pack(self) -> dict[str, Any]:
        """Return it as JSON data."""
        rules = [
            {"for": rule.for_} | {name: list(getattr(rule, name) or ()) for name in _ASKED}
            for rule in self.rules
        ]
        return {"keep": self.keep, "rules": rules}

    @classmethod
    def unpack(cls, packed: Any) -> Self:
        """Return what `pack` has packed. Raises `InvalidValue` for anything else."""
        try:
            return cls(
                packed["keep"],
                [
                    Keep(for_=one["for"], **{name: one[name] or None for name in _ASKED})
                    for one in packed["rules"]
                ],
            )
        except (TypeError, LookupError, AttributeError) as exc:
            raise InvalidValue(f"no rules of retention: {codec.shown(packed)}") from exc

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what CHANCY_RETENTION says: `30d; state=failed 90d; func=acme.reports.* none`.

        Raises `InvalidValue`.
        """
        kept: list[float | None] = []
        rules: list[Keep] = []
        for part in filter(None, map(str.strip, text.split(";"))):
            *asked, last = part.split()
            for_ = _duration(last)
            if asked:
                rules.append(Keep(for_=for_, **_conditions(asked)))
            else:
                kept.append(for_)
        if len(kept) > 1 or not (kept or rules):
            raise InvalidValue(f"{codec.shown(text)} must say once how long all else is kept")
        policy = cls(rules=rules)
        return evolve(policy, keep=kept[0]) if kept else policy

    def __str__(self) -> str:
        return "; ".join([in_words(self.keep), *map(str, self.rules)])


def _conditions(words: Iterable[str]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if name not in _ASKED or name in found or not equals:
            raise InvalidValue(
                f"{codec.shown(word)}: a rule is such as 'state=succeeded queue=mail 1d'"
            )
        found[name] = values.split(",")
    return found


def _duration(text: str) -> float | None:
    if text.lower() == NONE:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return seconds(float(text))
    if not _WHOLE.fullmatch(text):
        raise InvalidValue(f"{codec.shown(text)} is no duration, such as 30d, 12h, 1h30m or none")
    total = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return seconds(total)


def in_words(kept: float | None) -> str:
    """Return a duration as the environment says it: `30d`, `1h30m`, `90.5`, `none`."""
    if kept is None:
        return NONE
    if kept != math.floor(kept):
        return repr(kept)
    left, words = int(kept), ""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, size)
        words += f"{number}{unit}" if number else ""
    return words
