"""What applications record: `count`, `gauge`, `observe`, from whatever runs in a worker.

In a child process there is nobody who writes metrics down. What is recorded there goes to the
worker as a log record, by the way that all of them take, and is taken out of the log there. A child
knows that somebody listens by the level of the logger, which it has from its worker.
"""

import functools
import json
import logging
import math
from collections.abc import Mapping

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue
from chancy_plugins.metrics import process
from chancy_plugins.metrics.key import Key, MetricKind, theirs
from chancy_plugins.metrics.tally import Tally

log = logging.getLogger("chancy.metrics")
_said = logging.getLogger("chancy.metrics.said")
#: The level of what is said by children: below that of any log.
_LEVEL = 1


def count(
    name: str, amount: float = 1, *, unit: str = "", labels: Mapping[str, str] | None = None
) -> None:
    """Add to a counter: *amount*, 0 or more.

        count("acme.mails", labels={"country": "fr"})

    Like `gauge` and `observe` it never raises and never waits: what makes no sense is told of
    once in the log, and left out. It may be called from any thread, on every executor whose
    functions run in the worker or in children of its own.
    """
    record(process.here, MetricKind.COUNTER, name, amount, unit=unit, labels=labels)


def gauge(
    name: str, value: float, *, unit: str = "", labels: Mapping[str, str] | None = None
) -> None:
    """Say how high something is at this moment: the last that was said by anybody holds."""
    record(process.here, MetricKind.GAUGE, name, value, unit=unit, labels=labels)


def observe(
    name: str, value: float, *, unit: str = "", labels: Mapping[str, str] | None = None
) -> None:
    """Add a value to a histogram, whose mean and percentiles are known afterwards."""
    record(process.here, MetricKind.HISTOGRAM, name, value, unit=unit, labels=labels)


def record(
    tally: Tally,
    kind: MetricKind,
    name: str,
    value: float,
    *,
    unit: str,
    labels: Mapping[str, str] | None,
) -> None:
    """Record a value in a tally, or send it to the worker if this is a child of one."""
    try:
        key = theirs(kind, name, unit, labels)
        problem = _problem(kind, value)
    except InvalidValue as exc:
        _tell(str(exc))
        return
    if problem is not None:
        _tell(f"metric {name!r}: {problem}")
    elif _said.level == _LEVEL and not _Ear.listens:
        _say(key, float(value))
    else:
        tally.add(key, float(value))


def _problem(kind: MetricKind, value: object) -> str | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return f"a value is a number, not {shown(value)}"
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        return "its value is not finite"
    if kind is MetricKind.COUNTER and value < 0:
        return f"a counter never falls: {value!r} is less than 0"
    return None


@functools.lru_cache(maxsize=1_000)
def _tell(problem: str) -> None:
    log.error("%s: it is left out", problem)


def _say(key: Key, value: float) -> None:
    text = json.dumps([key.kind, key.name, key.unit, key.labels, value], ensure_ascii=False)
    made = _said.makeRecord(_said.name, _LEVEL, "", 0, "a metric", (), None, None, {"metric": text})
    _said.handle(made)


class _Ear(logging.Filter):
    """Takes what children say out of the log."""

    #: Whether this process is one that writes metrics down.
    listens = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Record it; answers that it is not to be logged."""
        try:
            kind, name, unit, labels, value = json.loads(record.__dict__["metric"])
            key = theirs(MetricKind(kind), name, unit, dict(labels))
            if _problem(key.kind, value) is None:
                process.here.add(key, float(value))
        except (KeyError, ValueError, TypeError) as exc:
            _tell(f"a child said {shown(record.__dict__.get('metric'))}: {exc}")
        return False


def listen() -> None:
    """Take what child processes record from now on; they have to be started afterwards."""
    if not _Ear.listens:
        _said.addFilter(_Ear())
        _said.setLevel(_LEVEL)
        _Ear.listens = True
