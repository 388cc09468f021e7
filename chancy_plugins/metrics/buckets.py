"""The buckets of histograms: how many values lie between which bounds, wherever they came from.

Bounds grow by the eighth root of two. So a value that is known by its bucket alone is known to
`ERROR`, 4.4 % of itself, if its size is between `SMALLEST` and `LARGEST`; what is smaller counts as
0. A bucket is named by a number: 0, from 1 on for those above, -1 and less for those below. Two
histograms are put together by adding what is in their buckets.
"""

import math
from collections.abc import Iterable, Mapping

#: How many bounds lie between a value and its double.
STEPS = 8
GROWTH = 2 ** (1 / STEPS)
#: By which part of itself an estimated value is off, at most.
ERROR = (GROWTH - 1) / (GROWTH + 1)
#: The exponents of two of the outermost bounds.
_LEAST, _MOST = -30, 40
SMALLEST, LARGEST = 2.0**_LEAST, 2.0**_MOST
#: What is added to the number of a bound, so that 1 is the first bucket above 0.
SHIFT = 1 - _LEAST * STEPS
_LAST = _MOST * STEPS + SHIFT

_log2, _ceil = math.log2, math.ceil


def bucket(value: float) -> int:
    """Return the bucket of a finite value."""
    size = value if value >= 0 else -value
    if size < SMALLEST:
        return 0
    found = _ceil(_log2(size) * STEPS) + SHIFT
    if found > _LAST:  # noqa: PLR1730 - min() takes twice as long
        found = _LAST
    return found if value > 0 else -found


def upper(number: int) -> float:
    """Return the bound of a bucket that is farther from 0."""
    if number == 0:
        return 0.0
    bound = 2.0 ** ((abs(number) - SHIFT) / STEPS)
    return math.copysign(bound, number)


def middle(number: int) -> float:
    """Return the value by which those of a bucket are estimated."""
    return upper(number) * 2 / (GROWTH + 1)


def quantile(buckets: Mapping[int, int], share: float, low: float, high: float) -> float | None:
    """Estimate the value that *share* of all, from 0 to 1, do not exceed; None if there are none.

    *low* and *high* are the least and the greatest of all. What is estimated is the value of rank
    `floor(share * (count - 1))`, counted from 0, and it is off by `ERROR` of itself at most.
    """
    count = sum(buckets.values())
    if count == 0:
        return None
    rank = math.floor(share * (count - 1))
    if rank == 0:
        return low
    if rank == count - 1:
        return high
    for number in sorted(buckets):
        rank -= buckets[number]
        if rank < 0:
            return min(high, max(low, middle(number)))
    return high


def up_to(buckets: Mapping[int, int], bounds: Iterable[float]) -> list[int]:
    """Return how many values each bound is not exceeded by; exact for powers of two."""
    ends = [(upper(number), count) for number, count in buckets.items()]
    return [sum(count for end, count in ends if end <= bound) for bound in bounds]
