"""Rows are read without the constructors of what they become: nothing may be left out."""

from datetime import UTC, datetime
from uuid import UUID

import attrs
import pytest
from attrs.exceptions import FrozenInstanceError

from chancy import QueuedJob, State
from chancy_core.function import JobFunction
from chancy_core.identity import new_id
from chancy_core.job import Job
from chancy_core.store import rows

AT = datetime(2026, 1, 2, tzinfo=UTC)
ROW = (
    *(UUID(int=1), "mail", "acme.send", '{"n": 1}', '{"who": "ada"}', '{"time": 2.5}', "running"),
    *(3, 4, 1, 2, 0, "key", False, True, False, UUID(int=2), UUID(int=3), True, AT, AT, AT),
    *('[{"attempt": 1, "kind": "error", "type": "E", "message": "no", "traceback": ""}]', 77),
)


def test_a_row_becomes_the_job_that_its_constructor_makes():
    (claimed,) = rows.claimed([ROW])
    job = claimed.job
    assert (claimed.arguments, claimed.seq, claimed.unreadable) == ('{"n": 1}', 77, None)
    assert job == QueuedJob(
        **{name: getattr(job, name) for name in attrs.fields_dict(QueuedJob)},
    )
    assert vars(job).keys() == attrs.fields_dict(QueuedJob).keys()
    assert (job.queue, job.func, job.kwargs, job.meta) == (
        *("mail", "acme.send", {"n": 1}, {"who": "ada"}),
    )
    assert (job.priority, job.max_attempts, job.attempts, job.claims, job.crashes) == (
        3,
        4,
        1,
        2,
        0,
    )
    assert (job.unique_key, job.at_most_once, job.exclusive, job.keep_result) == (
        *("key", False, True, False),
    )
    assert (job.worker, job.lease_id, job.cancelling) == (UUID(int=2), UUID(int=3), True)
    assert job.state is State.RUNNING
    with pytest.raises(FrozenInstanceError):
        job.queue = "other"  # type: ignore[misc]


def test_a_bound_job_is_the_one_that_its_constructor_makes():
    async def send(to: str, body: str = "") -> None: ...

    made = JobFunction(send, "acme.send", {"queue": "mail", "priority": 3})
    for job in (made.bind(to="ada"), made.bind(body="x", to="ada"), made.bind("ada", "x")):
        assert job == Job("acme.send", kwargs=job.kwargs, queue="mail", priority=3)
        assert vars(job).keys() == attrs.fields_dict(Job).keys()


def test_ids_are_of_version_7_and_in_order():
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000
    assert {id_.version for id_ in ids} == {7}
    assert UUID(str(ids[0])) == ids[0]
    assert repr(ids[0].is_safe) == repr(UUID(int=0).is_safe)
