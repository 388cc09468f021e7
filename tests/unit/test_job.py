"""Jobs as they are asked for: what cannot be is refused where it is made."""

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from uuid import uuid4

import pytest

from chancy import Job, Limit, QueuedJob, Reference, State
from chancy_core.errors import InvalidJob, JobFailed
from chancy_core.job import Failure, LimitKind

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Nowhere(tzinfo):
    """A time zone that does not say where it is."""

    def utcoffset(self, _: datetime | None) -> None:
        return None


@pytest.mark.parametrize(
    "wrong",
    [
        {"func": ""},
        {"func": 7},
        {"func": "f\0"},
        {"func": "f" * 1001},
        {"queue": ""},
        {"queue": None},
        {"queue": "\ud800"},
        {"queue": "q" * 401},
        {"priority": 32_768},
        {"priority": -32_769},
        {"priority": 1.5},
        {"priority": "high"},
        {"priority": True},
        {"max_attempts": 0},
        {"max_attempts": 32_768},
        {"max_attempts": 2.5},
        {"unique_key": ""},
        {"unique_key": "ü" * 257},
        {"unique_key": "a\0b"},
        {"unique_key": 7},
        {"kwargs": [1]},
        {"meta": "text"},
        {"limits": [30]},
        {"scheduled_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - that it is naive is the point
        {"scheduled_at": datetime(2026, 1, 1, tzinfo=Nowhere())},
        {"scheduled_at": "tomorrow"},
        {"scheduled_at": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=5)))},
        {"scheduled_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5)))},
    ],
    ids=lambda wrong: f"{next(iter(wrong))}-{next(iter(wrong.values()))!a:.25}",
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(InvalidJob, match=name):
        Job(**({"func": "acme.f"} | wrong))


@pytest.mark.parametrize(
    "right",
    [
        {"queue": "q" * 100},
        {"queue": "ü" * 100},
        {"priority": 32_767},
        {"priority": -32_768},
        {"max_attempts": 32_767},
        {"unique_key": "ü" * 256},
        {"scheduled_at": NOW - timedelta(days=10_000)},
    ],
)
def test_the_utmost_is_accepted(right: dict[str, Any]) -> None:
    (name,) = right
    assert getattr(Job("acme.f", **right), name) == right[name]


def test_options_make_another_job_and_check_it() -> None:
    job = Job("f", kwargs={"a": 1})
    assert job.options(queue="mail", priority=5) == Job(
        "f", kwargs={"a": 1}, queue="mail", priority=5
    )
    assert job.queue == "default"
    with pytest.raises(InvalidJob):
        job.options(priority=99_999)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_a_limit_is_a_number_above_zero(value: Any) -> None:
    with pytest.raises(InvalidJob, match="time limit"):
        Limit(Limit.Type.TIME, value)


def test_a_limit_has_a_kind_that_is_known() -> None:
    assert Limit("memory", 5).kind is LimitKind.MEMORY  # type: ignore[arg-type]
    with pytest.raises(InvalidJob, match="'speed'"):
        Limit("speed", 5)  # type: ignore[arg-type]


def test_the_first_limit_of_a_kind_holds() -> None:
    job = Job("f", limits=(Limit(LimitKind.TIME, 1), Limit(LimitKind.TIME, 2)))
    assert job.limit(LimitKind.TIME) == 1
    assert job.limit(LimitKind.MEMORY) is None


def test_states_are_live_or_finished() -> None:
    live = {state for state in State if not state.finished}
    assert live == {State.SCHEDULED, State.PENDING, State.RUNNING}


def queued(**changes: Any) -> QueuedJob:
    return QueuedJob("f", **({"id": uuid4(), "state": State.PENDING, "created_at": NOW} | changes))


def test_a_result_is_had_of_a_job_that_succeeded_only() -> None:
    assert queued(state=State.SUCCEEDED, returned={"a": 1}).result() == {"a": 1}
    error = Failure(attempt=1, kind="error", type="ValueError", message="too small")
    failed = queued(state=State.FAILED, errors=(error,))
    with pytest.raises(JobFailed, match=f"{failed.id} .*failed: ValueError: too small"):
        failed.result()
    with pytest.raises(JobFailed, match=r"is pending$"):
        queued().result()


def test_a_row_is_taken_as_it_is() -> None:
    assert queued(priority=99_999).priority == 99_999


def test_references_are_equal_by_identity() -> None:
    id_ = uuid4()
    assert Reference(id_, new=False) == Reference(id_)
    assert len({Reference(id_, new=False), Reference(id_)}) == 1
    assert str(Reference(id_)) == str(id_)
