"""What a function learns of its own job, and what it may change: the same on every executor."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from attrs import evolve, fields

from chancy import Limit, QueuedJob
from chancy_core import codec
from chancy_core.job import Failure
from chancy_core.outcome import Kind
from chancy_core.run import Attempt
from tests.attempts import attempt, opened

EVERY = ["async", "thread", "process"]
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def suited(executor: str, func: str) -> str:
    """The function's coroutine twin, for the executor that runs nothing else."""
    return f"{func}_async" if executor == "async" else func


def of_job(tried: Attempt, **changes: Any) -> Attempt:
    """The same attempt, at a job whose row has more in it."""
    return Attempt(evolve(tried.claimed, job=evolve(tried.job, **changes)))


@pytest.mark.parametrize("name", EVERY)
async def test_a_function_is_given_its_job(name: str, anyio_backend: str) -> None:
    failure = Failure(attempt=1, kind="error", type="E", message="m", traceback="t")
    tried = of_job(
        attempt(suited(name, "look"), Limit(Limit.Type.TIME, 60), x=7),
        queue="q",
        meta={"a": [1, {"b": None}]},
        priority=-3,
        max_attempts=9,
        attempts=1,
        claims=3,
        crashes=1,
        unique_key="k",
        worker=uuid4(),
        lease_id=uuid4(),
        created_at=NOW,
        scheduled_at=NOW,
        started_at=NOW,
        errors=(failure,),
        exclusive=True,
    )
    async with opened(name, anyio_backend) as executor:
        outcome = await tried.run(executor)
    assert outcome.kind is Kind.SUCCESS, outcome
    seen = codec.decode(outcome.result or "")
    expected = {a.name: str(getattr(tried.job, a.name)) for a in fields(QueuedJob)}
    assert float(seen["fields"].pop("deadline")) > 0
    assert expected.pop("deadline") == "None"
    assert seen["fields"] == expected
    assert 0 < seen["time"] < 60


@pytest.mark.parametrize("name", EVERY)
async def test_without_a_limit_it_has_all_the_time(name: str, anyio_backend: str) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await attempt(suited(name, "look"), x=7).run(executor)
    assert codec.decode(outcome.result or "")["time"] is None
    assert outcome.meta is None


@pytest.mark.parametrize("meta", [{}, {"list": ["before"], "kept": True}])
@pytest.mark.parametrize(
    ("then", "kind"), [("", Kind.SUCCESS), ("fail", Kind.ERROR), ("time", Kind.TIMEOUT)]
)
@pytest.mark.parametrize("name", EVERY)
async def test_what_it_makes_of_the_meta_is_part_of_the_outcome(
    name: str, then: str, kind: Kind, meta: dict[str, Any], anyio_backend: str
) -> None:
    before = str(meta)
    tried = of_job(attempt(suited(name, "note"), key="ü\n", then=then), meta=meta)
    async with opened(name, anyio_backend) as executor:
        outcome = await tried.run(executor)
    assert outcome.kind is kind, outcome
    expected = meta | {"list": [*meta.get("list", []), "ü\n"]}
    assert codec.decode(outcome.meta or "null") == expected
    assert str(tried.job.meta) == before


@pytest.mark.parametrize("name", EVERY)
async def test_a_meta_that_it_leaves_alone_is_not_written(name: str, anyio_backend: str) -> None:
    tried = of_job(attempt(suited(name, "note"), key="k", then="nothing"), meta={"b": 1, "a": "ü"})
    async with opened(name, anyio_backend) as executor:
        outcome = await tried.run(executor)
    assert (outcome.kind, outcome.meta) == (Kind.SUCCESS, None)


@pytest.mark.parametrize("name", EVERY)
async def test_a_meta_that_cannot_be_stored_stays_and_the_attempt_counts(
    name: str,
    anyio_backend: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened(name, anyio_backend) as executor:
        outcome = await attempt(suited(name, "note"), key="k", then="nonsense").run(executor)
    assert (outcome.kind, outcome.meta) == (Kind.SUCCESS, None)
    assert "its meta stays as it was: meta of tests.jobs.note" in caplog.text


@pytest.mark.parametrize("ends_as", [Kind.TIMEOUT, Kind.SHUTDOWN])
async def test_what_is_ended_in_this_process_keeps_its_meta(
    ends_as: Kind, anyio_backend: str
) -> None:
    tried = attempt("note_and_hold", Limit(Limit.Type.TIME, 0.05), key="k")
    tried.ends_as = ends_as
    async with opened("async", anyio_backend) as executor:
        outcome = await tried.run(executor)
    assert (outcome.kind, outcome.meta) == (ends_as, '{"key":"k"}')


@pytest.mark.parametrize("name", EVERY)
async def test_a_result_that_nobody_keeps_is_dropped(name: str, anyio_backend: str) -> None:
    tried = of_job(attempt(suited(name, "add"), a=1, b=2), keep_result=False)
    async with opened(name, anyio_backend) as executor:
        outcome = await tried.run(executor)
    assert (outcome.kind, outcome.result) == (Kind.SUCCESS, None)
