"""How long a job waits before it is tried again: as laws, and as somebody writes it down."""

import itertools
import json
import math
from typing import Any

import pytest
from attrs import asdict, evolve
from hypothesis import given
from hypothesis import strategies as st

from chancy_core import codec
from chancy_core.errors import InvalidJob, RetryAfter
from chancy_plugins.retry import Policy, backoff, constant, exponential, linear, retry
from tests.jobs import Refusal

YEAR = 366 * 86_400
JITTERS = ("full", "equal", "none")
pauses = st.floats(0.001, YEAR)
plain = st.builds(
    Policy,
    initial=pauses,
    factor=st.floats(1, 1000) | st.integers(1, 1000),
    step=st.just(0) | st.floats(0, YEAR),
    most=pauses,
    jitter=st.sampled_from(JITTERS),
    lifetime=st.none() | pauses,
)
classes = st.sampled_from(["ValueError", "acme.Fatal", "acme.mail.Refused", "a.<locals>.B"])
policies = st.builds(
    lambda policy, rules: evolve(policy, by_class=rules),
    plain,
    st.dictionaries(classes, st.none() | plain),
)


def unjittered(policy: Policy) -> Policy:
    return evolve(policy, jitter="none")


@given(policies, st.integers(1, 32_767), st.floats(0, 1))
def test_no_pause_is_longer_than_the_most(policy: Policy, failures: int, chance: float):
    pause = policy.delay(failures, lambda: chance)
    assert 0 <= pause <= policy.most
    assert pause <= unjittered(policy).delay(failures)


@given(policies, st.integers(1, 32_766))
def test_pauses_do_not_shrink(policy: Policy, failures: int):
    same = unjittered(policy)
    assert same.delay(failures) <= same.delay(failures + 1)


@given(policies, st.floats(0, 1))
def test_jitter_spreads_pauses_evenly_up_to_the_longest(policy: Policy, chance: float):
    longest = unjittered(policy).delay(7, lambda: chance)
    drawn = {jitter: evolve(policy, jitter=jitter).delay(7, lambda: chance) for jitter in JITTERS}
    assert drawn["none"] == longest
    assert math.isclose(drawn["full"], longest * chance)
    assert math.isclose(drawn["equal"], longest / 2 + longest * chance / 2)


def grown(policy: Policy, count: int = 5) -> list[float]:
    return [policy.delay(failures, lambda: 1.0) for failures in range(1, count + 1)]


def test_each_kind_grows_in_its_way_up_to_the_most():
    assert grown(constant(7)) == [7] * 5
    assert grown(linear(10)) == [10, 20, 30, 40, 50]
    assert grown(linear(10, step=5, most=22)) == [10, 15, 20, 22, 22]
    assert grown(exponential(2, factor=3, most=50)) == [2, 6, 18, 50, 50]
    assert grown(Policy(initial=1, factor=2, step=3)) == [1, 5, 10, 17, 28]
    assert Policy(initial=0.001, factor=1000, most=7, jitter="none").delay(32_767) == 7


def test_only_what_grows_by_a_factor_is_jittered_unless_somebody_says_so():
    assert [made(5).jitter for made in (constant, linear, exponential)] == ["none", "none", "full"]
    assert {made(5, jitter="equal").jitter for made in (constant, linear, exponential)} == {"equal"}


def test_ten_thousand_that_failed_together_are_spread():
    tried = sorted(exponential(10).delay(1) for _ in range(10_000))
    seconds = [len(list(several)) for _, several in itertools.groupby(tried, int)]
    assert len(seconds) == 10
    assert max(seconds) <= 2 * 1000


@given(policies)
def test_a_policy_comes_back_from_its_row(policy: Policy):
    row = codec.decode(codec.encode(retry(policy), "meta"))
    assert codec.structured("retry", row["retry"], Policy) == policy


@given(plain)
def test_backoff_means_what_it_always_did(policy: Policy):
    settings = {name: getattr(policy, name) for name in ("initial", "factor", "most", "jitter")}
    meta = backoff(**settings)
    assert meta == {"retry": settings}
    assert codec.structured("retry", meta["retry"], Policy) == Policy(**settings)


def test_policies_are_written_as_they_are_read():
    assert backoff() == {"retry": {"initial": 1, "factor": 2, "most": 300, "jitter": "full"}}
    assert retry(constant(5)) == backoff(initial=5, factor=1, most=5, jitter="none")
    whole = linear(5).on(TimeoutError, constant(1)).give_up_on(ValueError).give_up_after(60)
    assert retry(whole)["retry"] == {
        "initial": 5,
        "factor": 1,
        "step": 5,
        "most": 300,
        "jitter": "none",
        "by_class": {
            "TimeoutError": {"initial": 1, "factor": 1, "most": 1, "jitter": "none"},
            "ValueError": None,
        },
        "lifetime": 60,
    }
    assert json.loads(json.dumps(retry(whole))) == retry(whole)


NUMBERS = (0, -1, "5", True, None, math.nan, math.inf, 10**400)


@pytest.mark.parametrize(
    "nonsense",
    [
        *({"initial": value} for value in NUMBERS),
        *({"factor": value} for value in (0.99, 1001, "2", math.nan)),
        *({"most": value} for value in (0, YEAR + 1, [])),
        *({"jitter": value} for value in ("some", None, ["full"], True)),
        *({"step": value} for value in (-1, "5", math.nan)),
        *({"lifetime": value} for value in (0, "5", math.nan, False)),
        *({"by_class": value} for value in (None, [], "ValueError")),
    ],
    ids=lambda nonsense: repr(nonsense)[:40],
)
def test_nonsense_is_refused_where_it_is_asked_for(nonsense: dict[str, Any]):
    (name,) = nonsense
    with pytest.raises(InvalidJob, match=f"^retry: {name} must be "):
        Policy(**nonsense)
    if name in {"initial", "factor", "most", "jitter"}:
        with pytest.raises(InvalidJob, match=f"^retry: {name} must be "):
            backoff(**nonsense)


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: repr(value)[:20])
def test_nonsense_is_refused_however_it_is_asked_for(value: Any):
    made = [constant, linear, exponential]
    made += [] if value is None else [constant(5).give_up_after]
    for one in made:
        with pytest.raises(InvalidJob, match=r"^retry: (initial|lifetime) must be "):
            one(value)


@pytest.mark.parametrize("made", [linear, exponential])
def test_what_is_to_begin_above_its_most_is_refused(made: Any):
    with pytest.raises(InvalidJob, match=r"most must be at least the 600 seconds .* not 300$"):
        made(600)
    assert made(600, most=600).most == 600


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HTTPError", "write its package too, such as 'acme.HTTPError'"),
        ("", "no name of a class"),
        ("acme.", "no name of a class"),
        ("acme mail", "no name of a class"),
        (5, "no class of exceptions"),
        (int, "no class of exceptions"),
        (ValueError(), "no class of exceptions"),
        ((TimeoutError, 5), "no class of exceptions"),
    ],
)
def test_what_is_no_class_is_refused(name: Any, said: str):
    for ask in (lambda: constant(5).on(name, constant(1)), lambda: constant(5).give_up_on(name)):
        with pytest.raises(InvalidJob, match=said):
            ask()


def test_what_is_no_policy_is_refused():
    for nothing in (None, 5, {"initial": 5}):
        with pytest.raises(InvalidJob, match=r"takes such as constant\(5\), not "):
            constant(5).on(ValueError, nothing)
        with pytest.raises(InvalidJob, match=r"takes a policy, such as constant\(5\), not "):
            retry(nothing)
    with pytest.raises(InvalidJob, match="ValueError there must be a policy without classes"):
        constant(5).on(ValueError, constant(1).give_up_on(TypeError))


REFUSED = ("tests.jobs.Throttled", "tests.jobs.Refusal", "Exception", "BaseException")


@pytest.mark.parametrize(
    ("policy", "wait"),
    [
        (constant(5), 5),
        (constant(5).on(ValueError, constant(1)), 5),
        (constant(5).on(Exception, constant(1)), 1),
        (constant(5).on(Refusal, constant(1)), 1),
        (constant(5).on("tests.jobs.Refusal", constant(1)), 1),
        (constant(5).on("tests.Refusal", constant(1)), 1),
        (constant(5).on("jobs.Refusal", constant(1)), 5),
        (constant(5).on("test.Refusal", constant(1)), 5),
        (constant(5).on((ValueError, Refusal), constant(1)), 1),
        (constant(5).give_up_on(Exception), None),
        (constant(5).give_up_on(ValueError, Refusal), None),
        # The nearest class holds, in whichever order they were named.
        (constant(5).give_up_on(Exception).on(Refusal, constant(1)), 1),
        (constant(5).on(Refusal, constant(1)).give_up_on(Exception), 1),
        (constant(5).on(Exception, constant(1)).give_up_on("tests.jobs.Throttled"), None),
        # Of two names for one class, the one that says more; of one name, what was said last.
        (constant(5).on("tests.jobs.Refusal", constant(1)).give_up_on("tests.Refusal"), 1),
        (constant(5).give_up_on(Refusal).on(Refusal, constant(1)), 1),
    ],
)
def test_what_holds_after_an_exception(policy: Policy, wait: float | None):
    chosen = policy.chosen(REFUSED)
    assert (chosen and chosen.delay(1)) == wait
    assert policy.chosen(()) is policy


def test_ours_and_built_in_ones_are_called_by_their_name_alone():
    policy = constant(5).on((RetryAfter, OSError, Refusal, KeyboardInterrupt), constant(1))
    named = ["RetryAfter", "OSError", "tests.jobs.Refusal", "KeyboardInterrupt"]
    assert list(policy.by_class) == named
    assert policy == constant(5).on(tuple(named), constant(1))


@given(policies, plain, classes)
def test_a_policy_is_not_changed_by_what_is_made_of_it(policy: Policy, other: Policy, name: str):
    before = asdict(policy)
    policy.on(name, other).give_up_on(name).give_up_after(5)
    assert asdict(policy) == before
    assert policy.on(name, other).chosen([name]) == other
