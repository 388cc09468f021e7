"""Spans of time in which something ran. Pure."""

from collections.abc import Iterable


def longest_gap(spans: Iterable[tuple[float, float]], begin: float, end: float) -> float:
    """The longest time between two moments that no span covers."""
    longest, covered = 0.0, begin
    for since, until in sorted(spans):
        longest = max(longest, min(since, end) - covered)
        covered = max(covered, until)
    return max(longest, end - covered)
