"""What SQL pushes is what a client would have pushed."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from chancy import Job, Limit
from chancy_core.identity import new_id
from chancy_core.statement import Statement
from chancy_core.store.store import Store
from tests.postgres.stores import NAMES, fetch, get, opened, push

JOBS = st.builds(
    Job,
    st.sampled_from(["acme.send", "b"]),
    kwargs=st.dictionaries(
        st.sampled_from("xyz"), st.integers(-9, 9) | st.text("aé\\\"'", max_size=3)
    ),
    queue=st.sampled_from(["default", "mail"]),
    priority=st.integers(-32_768, 32_767),
    max_attempts=st.integers(1, 32_767),
    limits=st.lists(
        st.sampled_from([Limit("time", 2.5), Limit("time", 9), Limit("memory", 1 << 30)])
    ),
    meta=st.dictionaries(st.sampled_from("mn"), st.none() | st.booleans(), max_size=2),
    exclusive=st.booleans(),
    keep_result=st.booleans(),
    scheduled_at=st.none()
    | st.sampled_from([datetime(2001, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)]),
)


async def push_packed(store: Store, jobs: list[Any], ids: list[UUID | None]) -> list[UUID]:
    text = "SELECT * FROM {push_packed}(%(packed)s::jsonb[], %(ids)s::uuid[])"
    asked = {"packed": [Jsonb(job) for job in jobs], "ids": ids}
    return await store.run(
        Statement.written(text, NAMES, asked, lambda rows: [row[0] for row in rows])
    )


COLUMNS = (
    "SELECT queue, func, args, meta, limits, state, priority, max_attempts, attempts, claims,"
    " crashes, unique_key, at_most_once, exclusive, keep_result, worker, lease_id, cancelling,"
    " CASE WHEN state = 'scheduled' THEN scheduled_at END FROM {{jobs}} WHERE id = '{}'"
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(job=JOBS)
@example(Job("f", at_most_once=True))
async def test_a_packed_job_is_stored_as_a_pushed_one(dsn: str, job: Job) -> None:
    async with opened(dsn) as store:
        (plain,) = await push(store, job)
        id_ = new_id()
        assert await push_packed(store, [job.pack()], [id_]) == [id_]
        (one,), (other,) = [await fetch(store, COLUMNS.format(i)) for i in (plain, id_)]
        assert one == other


async def test_what_is_not_said_has_its_default(dsn: str) -> None:
    async with opened(dsn) as store:
        (id_,) = await push_packed(store, [{"func": "f"}], [None])
        (job,) = await get(store, id_)
        assert Job("f") == Job.unpack({"func": job.func, "queue": job.queue, "kwargs": job.kwargs})
        assert (job.priority, job.max_attempts, job.meta, job.limits) == (0, 1, {}, ())
        assert job.keep_result
        assert not job.exclusive
        assert not job.at_most_once


async def test_they_stand_in_line_as_they_are_given(dsn: str) -> None:
    async with opened(dsn) as store:
        jobs = [Job("f", kwargs={"n": n}, unique_key=key).pack() for n, key in enumerate("zbxa")]
        ids = [new_id() for _ in jobs]
        assert set(await push_packed(store, jobs, list(ids))) == set(ids)
        assert await fetch(store, "SELECT id FROM {jobs} ORDER BY seq") == [(id_,) for id_ in ids]


async def test_one_whose_key_or_id_is_there_is_left_out(dsn: str) -> None:
    async with opened(dsn) as store:
        first, second = new_id(), new_id()
        held = Job("f", unique_key="k").pack()
        assert await push_packed(store, [held], [first]) == [first]
        assert await push_packed(store, [held, {"func": "g"}], [None, second]) == [second]
        assert await push_packed(store, [{"func": "g"}], [second]) == []


@pytest.mark.parametrize(
    "nonsense", [{}, {"func": "f", "priority": 40_000}, {"func": "f", "max_attempts": 0}]
)
async def test_nonsense_is_refused_by_the_database(dsn: str, nonsense: dict[str, Any]) -> None:
    async with opened(dsn) as store:
        with pytest.raises(psycopg.Error):
            await push_packed(store, [{"func": "good"}, nonsense], [None, None])
        assert await fetch(store, "SELECT id FROM {jobs}") == []


async def test_a_new_id_is_a_uuid_of_version_7_of_this_moment(dsn: str) -> None:
    async with opened(dsn) as store:
        rows = await fetch(store, "SELECT {new_id}(), {now}() FROM generate_series(1, 500)")
        assert len({id_ for id_, _ in rows}) == 500
        for id_, now in rows:
            assert id_.version == 7
            assert id_.variant == "specified in RFC 4122"
            made = datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)
            assert timedelta() <= now - made < timedelta(milliseconds=2)
