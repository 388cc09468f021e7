"""Metrics as a person reads and types them: sparklines, numbers with units, spans of time."""

import itertools
import math
import re
from collections.abc import Sequence
from datetime import timedelta

from chancy_core.codec import shown
from chancy_core.errors import InvalidValue

_BARS = "▁▂▃▄▅▆▇█"
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SIZES = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))
#: The longest span that can be typed: 100 years.
_LONGEST = 36_525 * 86_400


def span(text: str) -> timedelta:
    """Return a span of time, such as `90s`, `30min`, `6h`, `2d` or `1w`. Raises `InvalidValue`."""
    match = _SPAN.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        raise InvalidValue(f"a span of time is such as 30min, 6h or 2d, not {shown(text)}")
    return timedelta(seconds=seconds)


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """Draw values as a line of bars from 0, or from the least if that is below, to the greatest.

    Where there is none it is blank. Of several that share a place the greatest is drawn.
    """
    if not values:
        return ""
    groups = min(width, len(values))
    ends = [len(values) * n // groups for n in range(groups + 1)]
    drawn = [
        max((value for value in values[a:b] if value is not None), default=None)
        for a, b in itertools.pairwise(ends)
    ]
    there = [value for value in drawn if value is not None]
    low, high = min([0.0, *there]), max([0.0, *there])
    return "".join(" " if value is None else _bar(value, low, high) for value in drawn)


def _bar(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else 0.0
    return _BARS[min(len(_BARS) - 1, math.floor(share * len(_BARS)))]


def number(value: float | None, unit: str) -> str:
    """Write a value with its unit, short: `1.2 s`, `34 ms`, `5.1 MB`, `1,200`."""
    if value is None:
        return ""
    if unit == "bytes":
        name, size = next(((n, s) for n, s in _SIZES if abs(value) >= s), ("bytes", 1.0))
        return f"{_plain(value / size)} {name}"
    if unit == "s" and 0 < abs(value) < 1:
        milli = value * 1e3
        return f"{_plain(milli)} ms" if abs(milli) >= 1 else f"{_plain(value * 1e6)} µs"
    return f"{_plain(value)} {unit}".rstrip()


def _plain(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
