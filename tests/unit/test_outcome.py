"""What becomes of a job after an attempt, as laws that hold for all jobs and outcomes."""

from datetime import UTC, datetime
from uuid import uuid4

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from chancy import QueuedJob, State
from chancy_core.errors import LONGEST_WAIT
from chancy_core.job import Failure
from chancy_core.outcome import COUNTED, UNKNOWN_TIMEOUT, Kind, Outcome, Verdict, settle

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UNCOUNTED = sorted(set(Kind) - COUNTED)


def failure(kind: str) -> Failure:
    return Failure(attempt=0, kind=kind, type="T", message="m")


@st.composite
def jobs(draw: st.DrawFn) -> QueuedJob:
    most = draw(st.integers(1, 20))
    errors = draw(st.lists(st.sampled_from([failure(kind.value) for kind in Kind]), max_size=5))
    return QueuedJob(
        "f",
        id=uuid4(),
        state=State.RUNNING,
        created_at=NOW,
        max_attempts=most,
        attempts=draw(st.integers(0, most - 1)),
        crashes=draw(st.integers(0, 2)),
        errors=tuple(errors),
    )


def apply(job: QueuedJob, kind: Kind, verdict: Verdict) -> QueuedJob:
    """Return the job as the store leaves it."""
    leaves_none = kind in {Kind.SUCCESS, Kind.SNOOZED}
    errors = job.errors if leaves_none else (*job.errors, failure(kind.value))
    return evolve(
        job, state=verdict.state, attempts=job.attempts + int(verdict.counted), errors=errors
    )


@given(jobs(), st.lists(st.sampled_from(list(Kind)), max_size=100))
def test_attempts_never_exceed_their_maximum(job: QueuedJob, kinds: list[Kind]) -> None:
    for kind in kinds:
        job = apply(job, kind, settle(job, Outcome(kind)))
        assert job.attempts <= job.max_attempts
        if job.state.finished:
            break
        assert job.attempts < job.max_attempts


@given(jobs(), st.sampled_from(list(Kind)))
def test_an_ending_counts_iff_it_is_of_the_jobs_own_making(job: QueuedJob, kind: Kind) -> None:
    verdict = settle(job, Outcome(kind))
    assert verdict.counted is (kind in COUNTED)
    assert (verdict.state is State.SUCCEEDED) is (kind is Kind.SUCCESS)
    assert (verdict.delay > 0) is (verdict.state is State.SCHEDULED)
    assert verdict.state in {
        State.SUCCEEDED,
        State.FAILED,
        State.PENDING,
        State.SCHEDULED,
        State.CANCELLED,
    }


@given(jobs(), st.sampled_from(sorted(COUNTED - {Kind.SUCCESS})))
def test_a_job_is_tried_as_often_as_it_may_be(job: QueuedJob, kind: Kind) -> None:
    tries = 0
    while not job.state.finished:
        job = apply(job, kind, settle(job, Outcome(kind)))
        tries += 1
    assert job.state is State.FAILED
    assert job.attempts == job.max_attempts
    assert tries <= job.max_attempts


@given(jobs())
def test_a_stopped_worker_costs_a_job_nothing(job: QueuedJob) -> None:
    assert settle(job, Outcome(Kind.SHUTDOWN)) == Verdict(State.PENDING, counted=False)


@given(jobs(), st.floats(0.001, LONGEST_WAIT))
def test_a_snooze_costs_a_job_nothing_but_time(job: QueuedJob, seconds: float) -> None:
    asked = Outcome(Kind.SNOOZED, retry_after=seconds)
    assert settle(job, asked) == Verdict(State.SCHEDULED, counted=False, delay=seconds)
    once = evolve(job, at_most_once=True, max_attempts=1, attempts=0)
    assert settle(once, asked) == Verdict(State.FAILED, counted=False)


@given(jobs())
def test_what_no_attempt_can_change_fails_at_once(job: QueuedJob) -> None:
    assert settle(job, Outcome(Kind.UNSUPPORTED)) == Verdict(State.FAILED, counted=False)


def test_an_unknown_function_is_offered_around_for_an_hour() -> None:
    job = QueuedJob("f", id=uuid4(), state=State.RUNNING, created_at=NOW)
    delays = []
    while not job.state.finished:
        verdict = settle(job, Outcome(Kind.UNKNOWN_FUNCTION))
        delays.append(verdict.delay)
        job = apply(job, Kind.UNKNOWN_FUNCTION, verdict)
    assert delays[:6] == [5, 10, 20, 40, 60, 60]
    assert UNKNOWN_TIMEOUT - 60 < sum(delays) <= UNKNOWN_TIMEOUT
    assert (job.state, job.attempts) == (State.FAILED, 0)


def test_a_worker_that_knows_the_function_starts_the_hour_anew() -> None:
    unknown = failure(Kind.UNKNOWN_FUNCTION.value)
    job = QueuedJob("f", id=uuid4(), state=State.RUNNING, created_at=NOW, errors=(unknown,) * 500)
    assert settle(job, Outcome(Kind.UNKNOWN_FUNCTION)).state is State.FAILED
    tried = evolve(job, errors=(*job.errors, failure("error")))
    assert settle(tried, Outcome(Kind.UNKNOWN_FUNCTION)).delay == 5
