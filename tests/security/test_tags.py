"""Tag patterns of whatever malice take bounded time, and match a tag as a whole."""

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy import Queue
from chancy_core.errors import InvalidQueue
from chancy_core.tags import MAX_PATTERN, check_pattern, matches
from tests.faults.sizes import size

#: Each takes a backtracking engine years with forty characters that nearly match.
CATASTROPHIC = (
    "(a+)+$", "(a*)*$", "(a|a)*$", "(a|aa)+$", "(.*a){20}", "(.*)*b", "([a-z]+)*1", "((a+)b?)+$",
    "(?:a?){30}a{30}", "^(([a-z])+.)+[A-Z]([a-z])+$", "(x+x+)+y", "(a+){10}b", "(?i)(a|A|aa)+!",
)  # fmt: skip
LONG = ("a" * 5000 + "!", "x" * 5000, "ab" * 2500 + "\u00e9")


def patterns(count: int) -> list[str]:
    """Return *count* patterns, most of them nested repetitions."""
    chance = random.Random(3)
    atoms = ["a", "aa", ".", "[a-z]", r"\w", "(?:a|a)", "x*", "", "\\", "(", ")", "[", r"\1", "(?="]

    def nested(depth: int) -> str:
        inner = "".join(chance.choices(atoms[:7] if chance.random() < 0.9 else atoms, k=2))
        if depth:
            inner += nested(depth - 1)
        return f"((?:{inner}){chance.choice(('+', '*', '{2,3}', '?', '|a'))}){chance.choice('+*?')}"

    made = [*CATASTROPHIC]
    while len(made) < count:
        made.append(nested(chance.randint(0, 5)) + chance.choice(("$", "b", "!", "")))
    return made


def test_a_thousand_catastrophic_patterns_take_bounded_time():
    asked, slowest, taken = patterns(size(1000, 10_000)), 0.0, 0
    for pattern in asked:
        since = time.perf_counter()
        try:
            check_pattern(pattern, "odd")
        except InvalidQueue:
            continue
        finally:
            slowest = max(slowest, time.perf_counter() - since)
        taken += 1
        since = time.perf_counter()
        matches({pattern}, LONG)
        slowest = max(slowest, time.perf_counter() - since)
    assert taken > len(asked) / 2
    assert slowest < 2, f"{slowest:.2f} s"


def test_a_pattern_is_no_longer_than_it_may_be():
    Queue("fine", tags={"a" * MAX_PATTERN})
    with pytest.raises(InvalidQueue, match="1 to 200 characters"):
        Queue("odd", tags={"a" * (MAX_PATTERN + 1)})


@given(st.text("ab=-.", min_size=1, max_size=8), st.text("ab=-.", min_size=1, max_size=3))
def test_no_tag_matches_that_only_begins_like_the_pattern(tag: str, more: str):
    pattern = re.escape(tag)
    assert matches({pattern}, {tag})
    assert not matches({pattern}, {tag + more, more + tag})
    assert not matches({pattern}, {tag + "\n", "\n" + tag})
