"""Histograms: where values are put, what is known of them afterwards, and how they are added."""

import math

from hypothesis import given
from hypothesis import strategies as st

from chancy_plugins.metrics.buckets import (
    ERROR,
    LARGEST,
    SMALLEST,
    bucket,
    middle,
    quantile,
    up_to,
    upper,
)
from chancy_plugins.metrics.tally import Cell

SIZES = st.floats(SMALLEST, LARGEST)
VALUES = st.one_of(SIZES, SIZES.map(lambda size: -size), st.just(0.0))
SLIGHTLY = 1 + 1e-12  # what floats add


def cell_of(values: list[float]) -> Cell:
    cell = Cell()
    for value in values:
        cell.observe([value])
    return cell


@given(VALUES)
def test_a_value_is_known_by_its_bucket(value: float) -> None:
    estimated = middle(bucket(value))
    assert abs(estimated - value) <= ERROR * abs(value) * SLIGHTLY
    assert abs(value) <= abs(upper(bucket(value))) * SLIGHTLY


@given(st.lists(VALUES, min_size=2))
def test_buckets_are_in_the_order_of_their_values(values: list[float]) -> None:
    ordered = [bucket(value) for value in sorted(values)]
    assert ordered == sorted(ordered)


def test_the_bound_is_the_one_that_the_pages_tell():
    assert 0.043 < ERROR < 0.044
    assert bucket(SMALLEST / 2) == bucket(-SMALLEST / 2) == 0
    assert bucket(LARGEST * 8) == bucket(LARGEST)
    assert bucket(1e308) == bucket(LARGEST) == -bucket(-1e308)


@given(st.lists(VALUES, min_size=1), st.floats(0, 1))
def test_a_quantile_is_within_the_bound(values: list[float], share: float) -> None:
    cell = cell_of(values)
    true = sorted(values)[math.floor(share * (len(values) - 1))]
    estimated = quantile(cell.buckets, share, cell.low, cell.high)
    assert abs(estimated - true) <= ERROR * abs(true) * SLIGHTLY


def test_of_nothing_there_is_no_quantile():
    assert quantile({}, 0.5, math.inf, -math.inf) is None


@given(st.lists(st.lists(VALUES)))
def test_what_is_merged_is_as_if_it_had_been_observed_at_once(portions: list[list[float]]) -> None:
    whole, merged = cell_of([value for some in portions for value in some]), Cell()
    for some in portions:
        merged.merge(cell_of(some))
    assert (merged.count, merged.low, merged.high) == (whole.count, whole.low, whole.high)
    assert merged.buckets == whole.buckets
    assert merged.latest == whole.latest
    assert math.isclose(merged.total, whole.total, rel_tol=1e-9, abs_tol=1e-3 + LARGEST * 1e-9)


@given(st.lists(SIZES))
def test_what_prometheus_is_told_is_exact(values: list[float]) -> None:
    bounds = [2.0**n for n in range(-10, 15)]
    told = up_to(cell_of(values).buckets, bounds)
    assert told == [sum(value <= bound for value in values) for bound in bounds]
