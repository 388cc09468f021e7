"""Jobs as they are asked for: what cannot be is refused where it is made."""

import time
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from chancy import Job, Limit, QueuedJob, Reference, State
from chancy_core.errors import InvalidJob, InvalidValue, JobFailed, TimeLimitExceeded
from chancy_core.job import Failure, JobOptions, LimitKind

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


def test_each_setting_has_a_copy_of_its_own() -> None:
    limits = (Limit(Limit.Type.TIME, 3),)
    job = Job("f", kwargs={"a": 1, "b": 2}, meta={"m": 1})
    made = (
        job.with_kwargs(a=3, self=4)
        .with_queue("mail")
        .with_priority(5)
        .with_max_attempts(6)
        .with_scheduled_at(NOW)
        .with_limits(list(limits))
        .with_unique_key("k")
        .with_meta({"n": 2})
    )
    assert made == Job(
        "f",
        kwargs={"a": 3, "self": 4},
        queue="mail",
        priority=5,
        max_attempts=6,
        scheduled_at=NOW,
        limits=limits,
        unique_key="k",
        meta={"n": 2},
    )
    assert job == Job("f", kwargs={"a": 1, "b": 2}, meta={"m": 1})
    with pytest.raises(InvalidJob, match="priority"):
        job.with_priority(99_999)


@pytest.mark.parametrize("name", ["quue", "kwargs", "func", "id"])
def test_only_options_are_options(name: str) -> None:
    wrong: Any = {name: "x"}
    for job in (Job("f"), queued()):
        with pytest.raises(InvalidJob, match=rf"job 'f': no option is called '{name}'; .*queue, p"):
            job.options(**wrong)


def test_the_options_are_the_fields_of_a_job() -> None:
    names = {field.name for field in attrs.fields(Job)}
    assert set(JobOptions.__annotations__) == names - {"func", "kwargs", "version"}


def test_a_stored_job_is_asked_for_again_as_it_was() -> None:
    stored = queued(kwargs={"a": 1}, attempts=3, state=State.FAILED, unique_key="k")
    assert type(stored.with_priority(3)) is Job
    assert stored.options(priority=3) == Job("f", kwargs={"a": 1}, unique_key="k", priority=3)


def test_time_remaining_is_that_of_the_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    assert queued().time_remaining is None
    queued().checkpoint()
    job = queued(deadline=1002.5, limits=(Limit(LimitKind.TIME, 4),))
    assert job.time_remaining == 2.5
    job.checkpoint()
    now = 1003.0
    assert job.time_remaining == 0
    with pytest.raises(TimeLimitExceeded, match=r"\(f\) took longer than 4 s"):
        job.checkpoint()
    assert job == attrs.evolve(job, deadline=None)
    assert "deadline" not in repr(job)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"kwargs": {}},
        {"func": "f", "quue": "mail"},
        {"func": "f", "limits": 3},
        {"func": "f", "limits": [["time"]]},
        {"func": "f", "limits": [["speed", 3]]},
        {"func": "f", "scheduled_at": "tomorrow"},
        {"func": "f", "scheduled_at": 3},
        {"func": "f", "priority": "high"},
        {"func": 7},
    ],
)
def test_what_was_never_packed_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidJob):
        Job.unpack(wrong)


def test_what_a_pack_lacks_has_its_default() -> None:
    assert Job.unpack({"func": "f"}) == Job("f")


def test_only_what_has_a_json_form_is_packed() -> None:
    assert Job("f", kwargs={"id": UUID(int=1)}).pack()["kwargs"] == {"id": str(UUID(int=1))}
    with pytest.raises(InvalidValue, match=r"kwargs of f\.a"):
        Job("f", kwargs={"a": object()}).pack()


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


def test_a_running_job_is_frozen_but_for_its_meta() -> None:
    job = queued(state=State.RUNNING)
    for name in ("state", "attempts", "kwargs", "meta", "colour"):
        with pytest.raises(AttributeError):
            setattr(job, name, None)
    job.meta["seen"] = True
    assert job.meta == {"seen": True}


def test_a_live_job_is_retrying_after_its_first_attempt() -> None:
    assert not queued().retrying
    for state in State:
        assert queued(attempts=1, state=state).retrying is (not state.finished)


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
    assert Reference(id_) == id_
    assert id_ == Reference(id_)
    assert Reference(id_) != Reference(uuid4())
    assert Reference(id_) not in {uuid4(), str(id_), None}
    assert len({Reference(id_, new=False), Reference(id_), id_}) == 1
    assert str(Reference(id_)) == str(id_)
