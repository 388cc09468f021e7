"""A job that is packed, written as JSON, read and unpacked is the same job."""

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from chancy import Job, Limit, QueuedJob, State
from chancy_core.limit import LimitKind

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
NAMES = TEXT.filter(bool)
DATA = st.dictionaries(
    TEXT,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | TEXT,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)
ZONES = st.integers(-1400, 1400).map(lambda minutes: timezone(timedelta(minutes=minutes)))
JOBS = st.builds(
    Job,
    NAMES,
    kwargs=DATA,
    queue=NAMES,
    priority=st.integers(-32_768, 32_767),
    max_attempts=st.just(1),
    scheduled_at=st.none()
    | st.datetimes(datetime(2, 1, 2), datetime(9998, 12, 30), timezones=ZONES),  # noqa: DTZ001
    limits=st.lists(
        st.builds(Limit, st.sampled_from(LimitKind), st.integers(1, 10**9) | st.floats(0.001, 1e9)),
        max_size=3,
    ),
    unique_key=st.none() | NAMES,
    meta=DATA,
    at_most_once=st.booleans(),
    exclusive=st.booleans(),
    keep_result=st.booleans(),
    version=st.integers(1, 32_767),
)


@given(JOBS)
def test_a_packed_job_comes_back(job: Job) -> None:
    assert Job.unpack(json.loads(json.dumps(job.pack()))) == job


@given(JOBS)
def test_of_a_stored_job_the_request_is_packed(job: Job) -> None:
    job = evolve(job, at_most_once=False, max_attempts=7)
    asked = {name: getattr(job, name) for name in (*Job.unpack(job.pack()).pack(), "version")}
    stored = QueuedJob(
        **asked, id=UUID(int=1), state=State.RUNNING, attempts=3, created_at=datetime.now(UTC)
    )
    assert Job.unpack(stored.pack()) == job
