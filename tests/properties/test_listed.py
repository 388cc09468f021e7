"""More than two hundred values that have broken job queues, each for every field."""

from collections.abc import Callable
from typing import Any

import pytest

from chancy import Chancy, Job, Queue, Worker
from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.outcome import Kind, Outcome, Verdict
from chancy_core.perform import describe
from chancy_core.state import State
from chancy_core.statement import Names
from chancy_core.store import statements
from tests.postgres.stores import NAMES
from tests.properties.going import ENCODED, Going, check_message, refused
from tests.properties.listed import LISTED

FIELDS: dict[str, Callable[[Any], Job]] = {
    "argument": lambda value: Job("f", kwargs={"value": value}),
    "arguments": lambda value: Job("f", kwargs=value),
    "meta": lambda value: Job("f", meta={"value": [value]}),
    "function": Job,
    "queue": lambda value: Job("f", queue=value),
    "unique key": lambda value: Job("f", unique_key=value),
    "priority": lambda value: Job("f", priority=value),
    "max_attempts": lambda value: Job("f", max_attempts=value),
    "scheduled_at": lambda value: Job("f", scheduled_at=value),
}


def test_more_than_two_hundred_values_are_listed() -> None:
    assert len(LISTED) > 200
    assert len(FIELDS) + len(GIVEN) >= 8


@pytest.mark.parametrize("field", FIELDS)
def test_a_listed_value_comes_back_equal_or_is_refused(there: Going, field: str) -> None:
    there.forget()
    jobs: dict[str | int, Job] = {}
    for number, value in enumerate(LISTED):
        try:
            job = FIELDS[field](value)
            statements.push(NAMES, {ENCODED: job})
        except InvalidValue as exc:
            check_message(exc)
            continue
        jobs[number if job.unique_key is None else job.unique_key] = job
    assert field in {"arguments", "scheduled_at"} or len(jobs) > 0
    for job, back in zip(jobs.values(), there.get(there.push(list(jobs.values()))), strict=True):
        for name in ("kwargs", "meta"):
            given_ = codec.encode(getattr(job, name), name)
            assert getattr(back, name) == codec.decode(given_)
        for name in ("func", "queue", "unique_key", "priority", "max_attempts"):
            assert getattr(back, name) == getattr(job, name)


def raised(value: Any) -> Outcome:
    return Outcome(Kind.ERROR, None, describe(ValueError(value), attempt=1))


#: What a job gives is stored as well as it can be, and never refused.
GIVEN: dict[str, Callable[[Any], Outcome]] = {
    "result": lambda value: Outcome(Kind.SUCCESS, codec.salvage(value)),
    "exception's text": raised,
}


@pytest.mark.parametrize("field", GIVEN)
def test_a_listed_value_that_a_job_gives_is_stored(there: Going, field: str) -> None:
    there.forget()
    claims = there.claim(there.push([Job("f")] * len(LISTED)))
    ends = {
        claimed.job.id: (claimed, GIVEN[field](value), Verdict(State.SUCCEEDED))
        for claimed, value in zip(claims, LISTED, strict=True)
    }
    there.settle(ends)
    for (_, outcome, _), back in zip(ends.values(), there.get(list(ends)), strict=True):
        assert back.errors == (() if outcome.failure is None else (outcome.failure,))
        assert outcome.result is None or back.returned == codec.decode(outcome.result)


@pytest.mark.parametrize(
    "make",
    [
        lambda value: Queue("q", tags=value),
        lambda value: Queue("q", tags=[value]),
        Queue,
        lambda value: Queue("q", executor=value),
        lambda value: Queue("q", executor_options=value),
        lambda value: Worker(Chancy("postgresql://localhost/x"), name="w", tags=[value]),
        lambda value: Names(value, "p"),
    ],
    ids=["tags", "tag", "queue", "executor", "options", "worker's tag", "schema"],
)
def test_a_listed_value_makes_something_or_is_refused(make: Callable[[Any], Any]) -> None:
    outcomes = [refused(lambda value=value: make(value)) for value in LISTED]
    assert None in outcomes
