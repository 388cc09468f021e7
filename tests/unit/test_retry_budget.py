"""What a budget does to a storm of retries: it is spread, and nothing of it is lost."""

import heapq
import random
from collections import Counter, deque
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chancy import QueuedJob, State
from chancy_core.errors import InvalidPlugin
from chancy_core.outcome import Kind, Outcome
from chancy_plugins.retry import Budget, Retry, constant, exponential, per_minute, percent
from chancy_plugins.retry.budget import Calendar

BEGAN = 1_000_000.0


class Clock:
    """A clock that stands still unless it is moved."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def plugin(clock: Clock, budget: Budget, **policies: Any) -> Retry:
    """Return the plugin, by this clock."""
    made = Retry(budgets={"mail": budget}, **policies)
    made._calendars["mail"] = Calendar(budget, clock, random.Random(7).random)
    return made


def job(number: int, attempts: int = 0, queue: str = "mail") -> QueuedJob:
    return QueuedJob(
        func="acme.fail",
        queue=queue,
        id=UUID(int=number),
        state=State.RUNNING,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
        attempts=attempts,
        max_attempts=4,
    )


def seconds(begun: list[float]) -> Counter[int]:
    return Counter(int(at) for at in begun)


def busiest_minute(begun: list[float]) -> int:
    """Return how many of these moments lie in one minute at most."""
    window: deque[float] = deque()
    most = 0
    for at in sorted(begun):
        window.append(at)
        while window[0] <= at - 60:
            window.popleft()
        most = max(most, len(window))
    return most


def storm(clock: Clock, retry: Retry, jobs: int) -> list[float]:
    """Have jobs fail together, and at each further attempt; return when their retries began."""
    due = [(clock.now, number, 0) for number in range(jobs)]
    begun: list[float] = []
    while due:
        clock.now, number, attempts = heapq.heappop(due)
        if attempts:
            begun.append(clock.now)
        told = retry.chancy_verdict(job(number, attempts), Outcome(Kind.ERROR))
        if told is not None or attempts < 3:
            pause = told.delay if told else 0.0
            heapq.heappush(due, (clock.now + pause, number, attempts + 1))
    return begun


@pytest.mark.parametrize("policies", [{}, {"default": constant(5)}, {"default": exponential(10)}])
def test_ten_thousand_that_fail_together_are_spread(clock: Clock, policies: dict[str, Any]):
    begun = storm(clock, plugin(clock, per_minute(6000), **policies), 10_000)
    assert len(begun) == 3 * 10_000
    each = seconds(begun)
    mean = len(begun) / (max(each) - min(each) + 1)
    assert max(each.values()) <= 2 * mean
    assert max(each.values()) <= 100
    assert busiest_minute(begun) <= 6000 + 100


def test_without_a_budget_they_would_come_at_once(clock: Clock):
    begun = storm(clock, Retry(default=constant(5)), 1_000)
    assert max(seconds(begun).values()) == 1_000


@pytest.mark.parametrize("rate", [1, 7, 10, 59, 60, 61, 100, 1000])
def test_no_minute_has_more_than_its_budget(clock: Clock, rate: int):
    begun = storm(clock, plugin(clock, per_minute(rate)), 200)
    assert len(begun) == 600
    # By the seconds of the clock it is exact; a second before and after may have its share besides.
    each = seconds(begun)
    minutes = [sum(each[at + n] for n in range(60)) for at in each]
    assert max(minutes) <= rate
    assert busiest_minute(begun) <= rate + -(-rate // 60)


def test_what_fits_is_not_put_off(clock: Clock):
    retry = plugin(clock, per_minute(60), queues={"mail": constant(90)})
    for number in range(100):
        told = retry.chancy_verdict(job(number), Outcome(Kind.ERROR))
        assert told is not None
        assert told.delay == 90
        clock.now += 1
    assert plugin(clock, per_minute(60)).chancy_verdict(job(1), Outcome(Kind.ERROR)) is None


def test_one_that_waits_for_long_holds_up_no_other(clock: Clock):
    calendar = Calendar(per_minute(60), clock)
    assert calendar.place(3600) == 3600
    assert calendar.place(0) == 0
    assert 3601 <= calendar.place(3600) <= 3602


def test_other_queues_have_nothing_to_do_with_it(clock: Clock):
    retry = plugin(clock, per_minute(1))
    told = [retry.chancy_verdict(job(n, queue="web"), Outcome(Kind.ERROR)) for n in range(100)]
    assert set(told) == {None}


def test_a_share_of_what_is_done_may_be_retries(clock: Clock):
    """Of 100 attempts a second ten fail: more than the five in a hundred that may be retries."""
    retry = plugin(clock, percent(5, least=1))
    begun: list[float] = []
    for number in range(60_000):
        kind = Kind.ERROR if number % 10 == 0 else Kind.SUCCESS
        told = retry.chancy_verdict(job(number), Outcome(kind))
        if kind is Kind.ERROR:
            begun.append(clock.now + (told.delay if told else 0.0))
        clock.now += 0.01
    full = seconds([at for at in begun if BEGAN + 120 <= at < BEGAN + 600])
    assert set(full.values()) <= {4, 5}
    assert sum(full.values()) >= 480 * 4.8
    assert len(begun) == 6_000


def test_a_share_begins_with_the_first_storm(clock: Clock):
    """Where all fails, a share of a fifth takes five minutes, however small the share began."""
    begun = []
    retry = plugin(clock, percent(20))
    for number in range(10_000):
        told = retry.chancy_verdict(job(number), Outcome(Kind.ERROR))
        begun.append(clock.now + (told.delay if told else 0.0))
    assert max(begun) - clock.now < 1.3 * 300
    assert max(seconds(begun).values()) <= 2 * 10_000 / 300


def test_a_quiet_queue_tries_again_all_the_same(clock: Clock):
    retry = plugin(clock, percent(1))
    waits = []
    for number in range(20):
        clock.now += 6
        told = retry.chancy_verdict(job(number), Outcome(Kind.ERROR))
        waits.append(told.delay if told else 0.0)
    assert max(waits) < 13


@settings(max_examples=50)
@given(
    st.integers(1, 200),
    st.lists(st.tuples(st.floats(0, 30), st.floats(0, 400)), max_size=200),
)
def test_nobody_waits_less_than_he_would(rate: int, steps: list[tuple[float, float]]):
    clock = Clock()
    calendar = Calendar(per_minute(rate), clock)
    begun = []
    for passed, pause in steps:
        clock.now += passed
        waits = calendar.place(pause)
        assert waits >= pause
        begun.append(clock.now + waits)
    each = seconds(begun)
    assert all(sum(each[at + n] for n in range(60)) <= rate for at in each)


def test_what_lies_behind_is_forgotten(clock: Clock):
    calendar = Calendar(per_minute(60), clock)
    for _ in range(1_000):
        calendar.count()
        calendar.place(0)
    clock.now += 10_000
    calendar.count()
    calendar.place(0)
    assert (len(calendar._taken), len(calendar._next)) == (1, 0)
    assert calendar._attempts.total(int(clock.now)) == 1


@pytest.mark.parametrize(
    "made",
    [
        *(lambda value=value: per_minute(value) for value in (0, 0.5, -1, "60", None, True, 1e9)),
        *(lambda value=value: percent(value) for value in (0, -1, 100.1, "20", None)),
        lambda: percent(20, least=0),
        lambda: Budget(percent=200),
    ],
)
def test_budgets_that_make_no_sense_are_refused(made: Any):
    with pytest.raises(InvalidPlugin, match=r"^budget: "):
        made()
