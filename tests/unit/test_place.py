"""How long a worker relies on a place: it hides nothing for longer than a second."""

from contextlib import suppress
from math import inf

import pytest

from chancy_core.place import CHEAP, LONGEST, SHARE, SMALL, Pace, Place, Places


class Clock:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def claim(places: Places, clock: Clock, took: float, *jobs: tuple[int, int]) -> float:
    places.of(["q"])
    clock.now += took
    return places.passed("q", jobs)


def test_a_worker_that_has_claimed_nothing_claims_from_the_front() -> None:
    assert Places().of(["a", "b"]) == {}


def test_after_a_claim_that_was_dear_the_next_go_on_where_it_ended() -> None:
    clock = Clock()
    places = Places(clock)
    assert claim(places, clock, 0.02, (0, 7), (5, 3)) == inf
    assert places.of(["q", "other"]) == {"q": Place({5: 3, 0: 7})}
    places.passed("q", [(0, 9)])
    assert places.of(["q"]) == {"q": Place({5: 3, 0: 9})}


def test_after_a_claim_that_was_cheap_the_next_is_from_the_front_again() -> None:
    clock = Clock()
    places = Places(clock)
    assert claim(places, clock, CHEAP / 2, (0, 7)) == inf
    assert places.of(["q"]) == {}


def test_claims_from_the_front_take_a_small_part_of_the_time() -> None:
    clock = Clock()
    places = Places(clock)
    claim(places, clock, CHEAP + 0.01, (0, 7))
    clock.now += 0.01 / SHARE - 0.001
    assert places.of(["q"]) != {}
    clock.now += 0.002
    assert places.of(["q"]) == {}


def test_a_queue_is_looked_through_each_second_however_dear_that_is() -> None:
    clock = Clock()
    places = Places(clock)
    claim(places, clock, 9.0, (0, 7))
    clock.now += LONGEST - 0.001
    assert places.of(["q"]) != {}
    clock.now += 0.002
    assert places.of(["q"]) == {}


def test_a_queue_that_seems_dry_from_a_place_is_looked_through_when_that_is_due() -> None:
    clock = Clock()
    places = Places(clock)
    claim(places, clock, 9.0, (0, 7))
    clock.now += 0.25
    assert claim(places, clock, 0.05) == pytest.approx(LONGEST - 0.3)
    clock.now += LONGEST
    assert claim(places, clock, 0.05) == inf, "that was from the front: it is dry"


def test_jobs_that_went_back_are_looked_for_from_the_front() -> None:
    clock = Clock()
    places = Places(clock)
    claim(places, clock, 9.0, (0, 7))
    places.leave(["q", "other"])
    assert places.of(["q"]) == {}


def test_jobs_that_went_back_while_a_claim_was_under_way_are_not_left_behind() -> None:
    clock = Clock()
    places = Places(clock)
    for _ in ("from the front", "from a place"):
        places.of(["q"])
        clock.now += 0.1
        places.leave(["q"])
        assert places.passed("q", [(0, 7)]) == 0, "at once"
        assert places.of(["q"]) == {}
        clock.now += 9.0
        places.passed("q", [(0, 7)])


def test_a_claim_that_failed_moves_nothing() -> None:
    clock = Clock()
    places = Places(clock)
    places.of(["q"])
    clock.now += 9.0  # it did not come back
    assert places.of(["q"]) == {}
    claim(places, clock, 9.0, (0, 7))
    assert places.of(["q"]) == {"q": Place({0: 7})}
    assert places.of(["q"]) == {"q": Place({0: 7})}


def test_what_is_dear_is_done_seldom_but_in_time() -> None:
    clock = Clock()
    pace = Pace(longest=60.0, clock=clock)
    for took, pause in ((0.1, 0.1 / SMALL), (5.0, 60.0)):
        with pace as now:
            assert now
            clock.now += took
        clock.now += pause - 0.01
        with pace as now:
            assert not now
        clock.now += 0.02


def test_what_failed_is_done_the_next_time() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    with suppress(OSError), pace:
        clock.now += 1.0
        raise OSError
    with pace as now:
        assert now


def test_who_is_in_a_hurry_waits_for_nothing() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    with pace:
        clock.now += 1.0
    pace.hurry()
    with pace as now:
        assert now
        clock.now += 1.0
        pace.hurry()  # this one may have begun too early
    with pace as now:
        assert now
