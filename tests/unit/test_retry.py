"""How long a job waits before it is tried again: as laws, and as somebody writes it down."""

import itertools
import logging
import math
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from attrs import asdict, evolve
from hypothesis import given
from hypothesis import strategies as st

from chancy import QueuedJob, State
from chancy_core import codec
from chancy_core.errors import InvalidJob
from chancy_core.outcome import Kind, Outcome, Verdict
from chancy_plugins.retry import Policy, backoff, chancy_verdict, delay

pauses = st.floats(0.001, 366 * 86_400)
policies = st.builds(
    Policy,
    initial=pauses,
    factor=st.floats(1, 1000) | st.integers(1, 1000),
    most=pauses,
    jitter=st.sampled_from(["full", "none"]),
)
#: What failed, that another attempt may mend.
AGAIN = [Kind.ERROR, Kind.TIMEOUT, Kind.MEMORY, Kind.CHILD_DIED]


def failed(**changes: Any) -> QueuedJob:
    settings = {"func": "acme.fail", "max_attempts": 5} | changes
    return QueuedJob(id=uuid4(), state=State.RUNNING, created_at=datetime.now(UTC), **settings)


@given(policies, st.integers(1, 32_767), st.floats(0, 1))
def test_no_pause_is_longer_than_the_most(policy: Policy, failures: int, chance: float):
    pause = delay(policy, failures, lambda: chance)
    assert 0 <= pause <= policy.most
    assert pause <= delay(evolve(policy, jitter="none"), failures)


@given(policies, st.integers(1, 32_766))
def test_pauses_do_not_shrink(policy: Policy, failures: int):
    plain = evolve(policy, jitter="none")
    assert delay(plain, failures) <= delay(plain, failures + 1)


@given(policies, st.floats(0, 1))
def test_jitter_spreads_pauses_evenly_from_nothing_to_the_longest(policy: Policy, chance: float):
    longest = delay(evolve(policy, jitter="none"), 7)
    full = delay(evolve(policy, jitter="full"), 7, lambda: chance)
    assert math.isclose(full, longest * chance)
    assert delay(evolve(policy, jitter="none"), 7, lambda: chance) == longest


def test_pauses_grow_by_their_factor_up_to_the_most():
    policy = Policy(initial=2, factor=3, most=50, jitter="none")
    assert [delay(policy, n) for n in range(1, 6)] == [2, 6, 18, 50, 50]
    assert delay(Policy(initial=0.001, factor=1000, most=7, jitter="none"), 32_767) == 7


def test_ten_thousand_that_failed_together_are_spread():
    tried = sorted(delay(Policy(initial=10), 1) for _ in range(10_000))
    seconds = [len(list(several)) for _, several in itertools.groupby(tried, int)]
    assert len(seconds) == 10
    assert max(seconds) <= 2 * 1000


@given(policies)
def test_a_policy_comes_back_from_its_row(policy: Policy):
    meta = backoff(**asdict(policy))
    row = codec.decode(codec.encode(meta, "meta"))
    assert codec.structured("retry", row["retry"], Policy) == policy


def test_backoff_is_written_as_it_is_read():
    assert backoff() == {"retry": {"initial": 1, "factor": 2, "most": 300, "jitter": "full"}}
    assert backoff(initial=60, jitter="none")["retry"] == asdict(Policy(initial=60, jitter="none"))


@pytest.mark.parametrize(
    "nonsense",
    [
        *({"initial": value} for value in (0, -1, "5", True, None, math.nan, math.inf, 10**400)),
        *({"factor": value} for value in (0.99, 1001, "2", math.nan)),
        *({"most": value} for value in (0, 366 * 86_400 + 1, [])),
        *({"jitter": value} for value in ("some", None, ["full"], True)),
    ],
    ids=repr,
)
def test_nonsense_is_refused_where_it_is_asked_for(nonsense: dict[str, Any]):
    (name,) = nonsense
    with pytest.raises(InvalidJob, match=f"^backoff: {name} must be "):
        backoff(**nonsense)


@pytest.mark.parametrize("kind", AGAIN)
def test_a_job_with_a_policy_is_put_off(kind: Kind):
    meta = backoff(initial=3, factor=5, jitter="none") | {"tenant": 7}
    told = [chancy_verdict(failed(meta=meta, attempts=n), Outcome(kind)) for n in range(5)]
    again = [Verdict(State.SCHEDULED, delay=seconds) for seconds in (3, 15, 75, 300)]
    assert told == [*again, None]


@pytest.mark.parametrize("kind", sorted(set(Kind) - set(AGAIN)))
def test_what_no_further_attempt_can_mend_is_left_to_others(kind: Kind):
    assert chancy_verdict(failed(meta=backoff()), Outcome(kind)) is None


def test_a_job_without_a_policy_is_left_to_others():
    assert chancy_verdict(failed(meta={"tenant": 7}), Outcome(Kind.ERROR)) is None


@pytest.mark.parametrize(
    "nonsense",
    [None, 5, "fast", [], {"initial": "5"}, {"delay": 1}, {"most": 0}, {"initial": None}],
)
def test_nonsense_in_a_row_is_told_once_and_the_usual_pause_is_made(
    nonsense: object, caplog: pytest.LogCaptureFixture
):
    job = failed(func=f"acme.{nonsense}", meta={"retry": nonsense}, attempts=3)
    with caplog.at_level(logging.WARNING, "chancy.retry"):
        pauses = [chancy_verdict(job, Outcome(Kind.ERROR)) for _ in range(20)]
    assert all(pause is not None and 0 <= pause.delay <= 8 for pause in pauses)
    assert len({pause.delay for pause in pauses if pause}) > 1
    (said,) = caplog.messages
    assert said.startswith(
        f"acme.{nonsense} has jobs whose meta makes no sense, and waits as usual"
    )
