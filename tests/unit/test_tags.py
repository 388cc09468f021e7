"""Tags: which workers run which queues."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy_core.tags import check_pattern, matches, own_tags


@pytest.mark.parametrize(
    ("patterns", "tags", "expected"),
    [
        ({".*"}, {"*"}, True),
        ({"*"}, {"anything"}, True),
        ({"*"}, set(), False),
        (set(), {"*"}, False),
        ({"has=gpu"}, {"has=gpu"}, True),
        ({"has=gpu"}, {"has=gpu-small"}, False),
        ({"gpu"}, {"has=gpu"}, False),
        ({"a|ab"}, {"ab"}, True),
        ({"a", "b"}, {"c", "b"}, True),
        ({r"python=3\.1[12]\..*"}, {"python=3.11.7"}, True),
        ({r"python=3\.1[12]\..*"}, {"python=3x11.7"}, False),
        ({r"\*"}, {"*"}, True),
    ],
)
def test_a_pattern_matches_a_tag_as_a_whole(
    patterns: set[str], tags: set[str], expected: bool
) -> None:
    for pattern in patterns:
        check_pattern(pattern, "q")
    assert matches(patterns, tags) is expected


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=50))
def test_an_escaped_tag_matches_itself_and_nothing_longer(tag: str) -> None:
    import re2

    pattern = re2.escape(tag)
    assert matches({pattern}, {tag})
    assert not matches({pattern}, {f"{tag}x", f"x{tag}"})


def test_matching_takes_linear_time() -> None:
    pattern = "(a*)*b"  # Python's own engine would not come back
    check_pattern(pattern, "q")
    since = time.perf_counter()
    assert not matches({pattern}, {"a" * 10_000})
    assert time.perf_counter() - since < 1


def test_a_worker_has_tags_of_itself() -> None:
    tags = own_tags("w-1")
    assert {"*", "worker_id=w-1"} < tags
    assert {tag.partition("=")[0] for tag in tags} == {
        "*", "hostname", "worker_id", "python", "arch", "os",
    }  # fmt: skip
    assert matches({"os=(linux|darwin)"}, tags)
