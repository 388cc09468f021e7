"""Places in a line: the rest is walked once, in order, and only what lies before is hidden."""

from hypothesis import example, given
from hypothesis import strategies as st

from chancy_core.place import FIRST, FRONT, HIGHEST, KNOWN, LAST, LOWEST, Place, Range

priorities = st.one_of(
    st.sampled_from([LOWEST, LOWEST + 1, -1, 0, 1, HIGHEST - 1, HIGHEST]),
    st.integers(LOWEST, HIGHEST),
)
jobs = st.tuples(priorities, st.integers(-3, 3) | st.sampled_from([FIRST, LAST - 1, LAST]))


def within(job: tuple[int, int], part: Range) -> bool:
    priority, seq = job
    return part.low <= priority <= part.high and seq >= part.seq


@given(st.lists(jobs), jobs)
@example([], (0, FIRST))
@example([(0, LAST)], (0, LAST))
@example([(HIGHEST, 0), (LOWEST, 0)], (LOWEST, 1))
def test_each_job_is_in_one_range_unless_it_lies_before_the_place(
    claimed: list[tuple[int, int]], job: tuple[int, int]
) -> None:
    place = FRONT.beyond(claimed)
    # The last `seq` of all is never hidden: there is none behind it.
    hidden = job[0] in place.claimed and job[1] <= min(place.claimed[job[0]], LAST - 1)
    assert [within(job, part) for part in place.ranges()].count(True) == (not hidden)


@given(st.lists(jobs), st.lists(jobs))
def test_ranges_come_in_the_order_of_the_line(
    claimed: list[tuple[int, int]], waiting: list[tuple[int, int]]
) -> None:
    ranges = FRONT.beyond(claimed).ranges()
    in_order = sorted(waiting, key=lambda job: (-job[0], job[1]))
    walked = [job for part in ranges for job in in_order if within(job, part)]
    assert walked == [job for job in in_order if any(within(job, part) for part in ranges)]


@given(st.lists(st.lists(jobs)))
def test_a_place_lies_behind_the_last_of_each_of_the_highest_priorities(
    claims: list[list[tuple[int, int]]],
) -> None:
    place = Place()
    for claimed in claims:
        before, place = place, place.beyond(claimed)
        known = before.claimed | {priority: 0 for priority, _ in claimed}
        assert list(place.claimed) == sorted(known, reverse=True)[:KNOWN]
        for priority, last in place.claimed.items():
            seqs = [seq for its, seq in claimed if its == priority]
            assert last == max([*seqs, before.claimed.get(priority, FIRST)])
