"""What a function asks for by an exception is known from the call, on every executor of ours."""

from typing import Any

import pytest
from attrs import evolve

from chancy_core import codec
from chancy_core.outcome import Kind, Outcome
from chancy_core.run import Attempt
from tests.attempts import attempt, opened

EVERY = ["async", "thread", "process"]
MRO = ("Exception", "BaseException")


def asking(executor: str, how: str, **settings: Any) -> Attempt:
    """Return an attempt whose function asks for 2.5 seconds, of a job with such settings."""
    func = "put_off_async" if executor == "async" else "put_off"
    made = attempt(func, how=how, seconds=2.5)
    made.claimed = evolve(made.claimed, job=evolve(made.job, **settings))
    return made


@pytest.mark.parametrize("name", EVERY)
async def test_a_snooze_is_no_failure_and_is_counted(name: str, anyio_backend: str) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await asking(name, "snooze").run(executor)
        assert outcome == Outcome(
            Kind.SNOOZED, meta='{"said":"snooze","snoozed":1}', retry_after=2.5
        )
        outcome = await asking(name, "snooze", meta={"snoozed": 41, "tenant": 7}).run(executor)
        assert codec.decode(outcome.meta or "") == {"snoozed": 42, "tenant": 7, "said": "snooze"}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    ("how", "classes"),
    [
        ("retry_after", ("RetryAfter", "ChancyError", *MRO)),
        ("attribute", ("tests.jobs.Throttled", "tests.jobs.Refusal", *MRO)),
    ],
)
async def test_an_error_says_what_it_is_and_how_long_to_wait(
    name: str, how: str, classes: tuple[str, ...], anyio_backend: str
) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await asking(name, how).run(executor)
    assert (outcome.kind, outcome.retry_after) == (Kind.ERROR, 2.5)
    assert outcome.classes == classes
    assert outcome.failure is not None
    assert (outcome.failure.type, outcome.failure.attempt) == (classes[0], 1)
    assert codec.decode(outcome.meta or "") == {"said": how}


@pytest.mark.parametrize("name", EVERY)
async def test_what_may_begin_once_cannot_be_snoozed(name: str, anyio_backend: str) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await asking(name, "snooze", at_most_once=True, max_attempts=1).run(executor)
    assert (outcome.kind, outcome.retry_after) == (Kind.ERROR, None)
    assert outcome.failure is not None
    assert outcome.failure.type == "InvalidJob"
    assert "at_most_once leaves no second beginning" in outcome.failure.message
    assert "in _put_off" in outcome.failure.traceback or name == "process"
    assert "Snooze" in outcome.failure.traceback


@pytest.mark.parametrize(
    ("before", "after"), [("often", 1), (True, 1), (-1, 0), (None, 1), ({"a": 1}, 1)]
)
async def test_whatever_else_is_called_snoozed_is_replaced(
    before: Any, after: int, anyio_backend: str
) -> None:
    async with opened("async", anyio_backend) as executor:
        outcome = await asking("async", "snooze", meta={"snoozed": before}).run(executor)
    assert codec.decode(outcome.meta or "")["snoozed"] == after


async def test_a_meta_that_has_no_room_left_stays_as_it_is(
    anyio_backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    room = codec.MAX_BYTES - len('{"a":"","said":"snooze"}')
    async with opened("async", anyio_backend) as executor:
        outcome = await asking("async", "snooze", meta={"a": "x" * room}).run(executor)
    assert (outcome.kind, outcome.retry_after) == (Kind.SNOOZED, 2.5)
    assert codec.decode(outcome.meta or "") == {"a": "x" * room, "said": "snooze"}
    assert "it is not counted that it snoozes" in caplog.text
