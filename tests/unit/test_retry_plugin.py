"""Whose policy holds for a job, when it is given up, and what becomes of it by that."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from chancy import Chancy, QueuedJob, State
from chancy_core.errors import InvalidPlugin
from chancy_core.outcome import Kind, Outcome, Verdict
from chancy_plugins.retry import Retry, backoff, chancy_verdict, constant, per_minute, retry
from tests.jobs import add, fail

NOW = datetime(2026, 1, 1, tzinfo=UTC)
#: What failed, that another attempt may mend.
AGAIN = [Kind.ERROR, Kind.TIMEOUT, Kind.MEMORY, Kind.CHILD_DIED]
ERROR = Outcome(Kind.ERROR)
GIVEN_UP = Verdict(State.FAILED)


def failed(**changes: Any) -> QueuedJob:
    settings = {"func": "acme.fail", "max_attempts": 5, "created_at": NOW} | changes
    return QueuedJob(id=uuid4(), state=State.RUNNING, **settings)


def later(seconds: float) -> Verdict:
    return Verdict(State.SCHEDULED, delay=seconds)


def raised(*classes: str, retry_after: float | None = None) -> Outcome:
    return Outcome(Kind.ERROR, classes=classes, retry_after=retry_after)


@pytest.mark.parametrize("kind", AGAIN)
def test_a_job_with_a_policy_is_put_off(kind: Kind):
    meta = backoff(initial=3, factor=5, jitter="none") | {"tenant": 7}
    told = [chancy_verdict(failed(meta=meta, attempts=n), Outcome(kind)) for n in range(5)]
    assert told == [*map(later, (3, 15, 75, 300)), None]


@pytest.mark.parametrize("kind", sorted(set(Kind) - set(AGAIN)))
def test_what_no_further_attempt_can_mend_is_left_to_others(kind: Kind):
    assert chancy_verdict(failed(meta=backoff()), Outcome(kind, retry_after=5)) is None
    policy = constant(5).give_up_on(Exception)
    everywhere = Retry(default=policy, budgets={"default": per_minute(1)})
    assert everywhere.chancy_verdict(failed(), Outcome(kind, retry_after=5)) is None


def test_a_job_without_a_policy_is_left_to_others():
    assert chancy_verdict(failed(meta={"tenant": 7}), ERROR) is None
    assert Retry(queues={"mail": constant(5)}).chancy_verdict(failed(), ERROR) is None


# -- whose policy holds ----------------------------------------------------------------------------

JOB, FUNCTION, QUEUE, DEFAULT = (constant(seconds) for seconds in (1, 2, 3, 4))


@pytest.mark.parametrize("of_job", [True, False])
@pytest.mark.parametrize("of_function", [True, False])
@pytest.mark.parametrize("of_queue", [True, False])
@pytest.mark.parametrize("default", [True, False])
def test_the_nearest_policy_holds(of_job, of_function, of_queue, default):
    plugin = Retry(
        functions={"acme.fail": FUNCTION} if of_function else {},
        queues={"default": QUEUE} if of_queue else {},
        default=DEFAULT if default else None,
    )
    asked = (of_job, of_function, of_queue, default)
    waits = [n for n, there in enumerate(asked, 1) if there]
    told = plugin.chancy_verdict(failed(meta=retry(JOB) if of_job else {}), ERROR)
    assert told == (later(waits[0]) if waits else None)


def test_policies_hold_for_those_that_they_are_for():
    plugin = Retry(functions={fail: FUNCTION, "acme.other": JOB}, queues={"mail": QUEUE})
    waits = {
        (func, queue): plugin.policy(failed(func=func, queue=queue))
        for func in (fail.name, add.name)
        for queue in ("mail", "default")
    }
    assert waits == {
        (fail.name, "mail"): FUNCTION,
        (fail.name, "default"): FUNCTION,
        (add.name, "mail"): QUEUE,
        (add.name, "default"): None,
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"queues": {"mail": 5}},
        {"queues": {"mail": None}},
        {"queues": [("mail", constant(5))]},
        {"queues": {"mail": per_minute(5)}},
        {"functions": {"acme.fail": {"initial": 5}}},
        {"functions": {5: constant(5)}},
        {"functions": constant(5)},
        {"default": 5},
        {"default": {"initial": 5}},
        {"budgets": {"mail": 60}},
        {"budgets": {"mail": constant(5)}},
        {"budgets": per_minute(60)},
    ],
    ids=repr,
)
def test_what_is_no_policy_and_no_budget_is_refused(settings: dict[str, Any]):
    (name,) = settings
    with pytest.raises(InvalidPlugin, match=f"^retry: {name} must be a .*, such as .*, not "):
        Retry(**settings)


def test_it_stands_beside_the_one_that_is_installed():
    given = Retry(default=constant(5))
    plugins = Chancy("host=nowhere", plugins=[given]).plugins
    answers = list(plugins.each("chancy_verdict", job=failed(), outcome=ERROR))
    assert [(plugin.name, answer) for plugin, answer in answers] == [("Retry", later(5))]
    assert "retry" in {plugin.name for plugin in plugins.plugins}


# -- when it is given up ---------------------------------------------------------------------------


def test_a_job_is_given_up_on_what_its_policy_names(caplog: pytest.LogCaptureFixture):
    meta = retry(constant(5).give_up_on("acme.Fatal").on(TimeoutError, constant(1)))
    caplog.set_level(logging.INFO, "chancy.retry")

    def told(*classes: str) -> Verdict | None:
        return chancy_verdict(failed(meta=meta), raised(*classes, "Exception"))

    assert told("acme.mail.Odd") == later(5)
    assert told("acme.mail.Fatal", "acme.mail.Odd") == GIVEN_UP
    assert told("acme.mail.Worse", "acme.mail.Fatal", "acme.mail.Odd") == GIVEN_UP
    assert told("TimeLimitExceeded", "ExecutionError", "TimeoutError") == later(1)
    assert [message.rpartition(" on ")[2] for message in caplog.messages] == [
        "acme.mail.Fatal",
        "acme.mail.Worse",
    ]


@pytest.mark.parametrize(
    ("age", "asked", "verdict"),
    [
        (0, None, later(5)),
        (55, None, later(5)),
        (55.001, None, GIVEN_UP),
        (60, None, GIVEN_UP),
        (900, None, GIVEN_UP),
        (50, 10, later(10)),
        (50, 11, GIVEN_UP),
    ],
)
def test_a_job_is_given_up_when_its_next_attempt_would_be_too_late(age, asked, verdict):
    job = failed(meta=retry(constant(5).give_up_after(60)), started_at=NOW + timedelta(seconds=age))
    assert chancy_verdict(job, raised("Exception", retry_after=asked)) == verdict


def test_a_class_may_have_an_end_of_its_own():
    policy = constant(5).give_up_after(60).on(OSError, constant(5).give_up_after(600))
    policy = policy.on(TimeoutError, constant(5))
    job = failed(meta=retry(policy), started_at=NOW + timedelta(seconds=100))
    ends = {
        classes: chancy_verdict(job, raised(*classes, "Exception"))
        for classes in [
            ("ValueError",),
            ("ConnectionError", "OSError"),
            ("TimeoutError", "OSError"),
        ]
    }
    assert list(ends.values()) == [GIVEN_UP, later(5), GIVEN_UP]


def test_what_has_no_attempts_left_is_not_given_up_but_failed():
    meta = retry(constant(5).give_up_on(Exception))
    assert chancy_verdict(failed(meta=meta, attempts=4), raised("Exception")) is None


# -- what an exception asks for --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "asked", "wait"),
    [
        ({}, 7, 7),
        ({}, 0, None),
        (retry(constant(5)), 7, 7),
        (retry(constant(5)), 3, 5),
        (retry(constant(5)), 0, 5),
        # `most` is about what the policy makes of it, and not about what somebody asks for.
        (backoff(initial=5, most=6, jitter="none"), 3600, 3600),
        (retry(constant(5).on("acme.Busy", constant(1))), None, 1),
        (retry(constant(5).on("acme.Busy", constant(1))), 3, 3),
    ],
)
def test_a_job_waits_at_least_as_long_as_its_exception_asks(meta, asked, wait):
    told = chancy_verdict(failed(meta=meta), raised("acme.Busy", retry_after=asked))
    assert told == (None if wait is None else later(wait))


def test_what_is_given_up_is_so_whatever_it_asks_for():
    meta = retry(constant(5).give_up_on("acme.Busy"))
    assert chancy_verdict(failed(meta=meta), raised("acme.Busy", retry_after=7)) == GIVEN_UP


# -- rows that make no sense -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "nonsense",
    [
        *(None, 5, "fast", [], {"initial": "5"}, {"delay": 1}, {"most": 0}, {"initial": None}),
        *({"by_class": 5}, {"by_class": {"Unknown": None}}, {"by_class": {"ValueError": 5}}),
        {"by_class": {"ValueError": {"by_class": {"ValueError": None}}}},
        {"lifetime": "long"},
    ],
    ids=repr,
)
def test_nonsense_in_a_row_is_told_once_and_the_usual_pause_is_made(
    nonsense: object, caplog: pytest.LogCaptureFixture
):
    job = failed(func=f"acme.{nonsense}", meta={"retry": nonsense}, attempts=3)
    with caplog.at_level(logging.WARNING, "chancy.retry"):
        pauses = [chancy_verdict(job, ERROR) for _ in range(20)]
        pauses += [Retry(default=constant(99)).chancy_verdict(job, ERROR)]
    assert all(pause is not None and 0 <= pause.delay <= 8 for pause in pauses)
    assert len({pause.delay for pause in pauses if pause}) > 1
    (said,) = caplog.messages
    assert said.startswith(
        f"acme.{nonsense} has jobs whose meta makes no sense, and waits as usual"
    )
