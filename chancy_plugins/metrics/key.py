"""What a metric is called: `Key`, and the kinds of metrics."""

import enum
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Self

from attrs import field, frozen

from chancy_core.codec import shown, unstorable
from chancy_core.errors import InvalidValue

#: What the names of our own metrics begin with.
OURS = ("jobs.", "outcomes.", "workers.", "tables.")
#: The label that is not written down with a metric, but known of who writes it.
WORKER = "worker"
#: The most bytes of all labels of a metric, as JSON; the most characters of a unit.
LABELS, UNIT = 600, 20

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,199}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


class MetricKind(enum.StrEnum):
    """What a metric says."""

    COUNTER = "counter"  #: how much was added up
    GAUGE = "gauge"  #: what was the last that was said
    HISTOGRAM = "histogram"  #: how values are spread


@frozen
class Key:
    """A metric with its labels: what has a row of points of its own."""

    kind: MetricKind
    name: str
    #: What its values are of, such as `s` or `bytes`; it tells no two metrics apart.
    unit: str = field(default="", eq=False)
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, kind: MetricKind, name: str, unit: str = "", /, **labels: str) -> Self:
        """Return a key of ours, whose parts are known to be sound."""
        return cls(kind, name, unit, tuple(sorted(labels.items())))

    def text(self) -> str:
        """Return the labels as JSON."""
        return json.dumps(dict(self.labels), ensure_ascii=False)


def theirs(kind: MetricKind, name: str, unit: str, labels: Mapping[str, str] | None) -> Key:
    """Return the key of what an application records. Raises `InvalidValue` for no such key."""
    if not isinstance(labels, Mapping | None):
        raise InvalidValue(f"metric {shown(name)}: labels are a mapping, not {shown(labels)}")
    pairs = tuple(sorted(labels.items())) if labels else ()
    try:
        return _checked(kind, name, unit, pairs)
    except TypeError as exc:  # what has no hash is no text
        raise InvalidValue(f"metric {shown(name)}: names, units and labels are texts") from exc


@lru_cache(maxsize=4_096)
def _checked(kind: MetricKind, name: str, unit: str, labels: tuple[tuple[str, str], ...]) -> Key:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidValue(
            f"metric {shown(name)}: a name has 1 to 200 letters, digits and _ . : -, and begins "
            "with a letter"
        )
    if name.startswith(OURS):
        raise InvalidValue(f"metric {name!r}: {', '.join(OURS)} begin the names of Chancy's own")
    if not isinstance(unit, str) or len(unit) > UNIT or unstorable(unit):
        raise InvalidValue(f"metric {name!r}: a unit has up to {UNIT} characters, unlike {unit!r}")
    for label, value in labels:
        if not isinstance(label, str) or not _LABEL.fullmatch(label) or label == WORKER:
            raise InvalidValue(
                f"metric {name!r}: a label has 1 to 40 letters, digits and _, begins with no "
                f"digit and is not 'worker', unlike {shown(label)}"
            )
        if not isinstance(value, str) or unstorable(value):
            raise InvalidValue(f"metric {name!r}: {label} is to be a text, not {shown(value)}")
    key = Key(kind, name, unit, labels)
    if labels and len(key.text().encode()) > LABELS:
        raise InvalidValue(f"metric {name!r}: its labels have more than {LABELS} bytes")
    return key
