"""Filters: whatever they are put together of, they find the jobs that pass, and no others."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chancy import Job, JobFilter, QueuedJob, State
from chancy_core.errors import InvalidValue
from chancy_core.filter import MOST
from chancy_core.store import statements
from tests.postgres.stores import NAMES, opened

LATER = datetime(2999, 1, 1, tzinfo=UTC)
JOBS = [
    Job("acme.mail.send", queue="mail", priority=5, unique_key="a"),
    Job("acme.mail.Send", queue="Mail", meta={"tenant": 7}),
    Job("acme_mail%", queue="mail", priority=-5, scheduled_at=LATER),
    Job("other\\*", queue="slow", meta={"tenant": 7, "b": 1}, unique_key="b"),
    Job("other", queue="slow", priority=5),
]
#: A name, and what it is as a pattern.
TEXTS = [
    "acme.mail.send",
    "acme*",
    "*MAIL*",
    "a_*",
    "*%",
    "other\\*",
    "mail",
    "*",
    "slow",
    "nobody",
]
NUMBERS = st.none() | st.sampled_from([-5, 0, 1, 5, 6])
INSTANTS = st.none() | st.sampled_from([datetime(2020, 1, 1, tzinfo=UTC), LATER])
SEVERAL = st.none() | st.lists(st.sampled_from(TEXTS), max_size=2)
PLAIN = st.fixed_dictionaries(
    {},
    optional={
        "queue": SEVERAL,
        "func": SEVERAL,
        "queue_like": SEVERAL,
        "func_like": SEVERAL,
        "state": st.none() | st.lists(st.sampled_from(State), max_size=3),
        "unique_key": st.none() | st.lists(st.sampled_from("ab"), max_size=2),
        "retrying": st.none() | st.booleans(),
        "meta": st.none() | st.sampled_from([{}, {"tenant": 7}, {"tenant": 7, "b": 1}]),
        "created_after": INSTANTS,
        "created_before": INSTANTS,
        "scheduled_after": INSTANTS,
        "scheduled_before": INSTANTS,
        "older_than": st.none() | st.sampled_from([timedelta(-1), timedelta(1)]),
        **dict.fromkeys(("priority_from", "priority_to", "attempts_from", "attempts_to"), NUMBERS),
    },
).map(lambda fields: JobFilter(**fields))
FILTERS = st.recursive(
    PLAIN,
    lambda inner: (
        st.builds(lambda one, other: one & other, inner, inner)
        | st.builds(lambda one, other: one | other, inner, inner)
        | inner.map(lambda one: ~one)
    ),
    max_leaves=5,
)


def like(text: str, patterns: Sequence[str] | None) -> bool:
    return patterns is None or any(
        re.fullmatch(".*".join(map(re.escape, one.split("*"))), text, re.IGNORECASE | re.DOTALL)
        for one in patterns
    )


def within(value: Any, least: Any, most: Any) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def between(value: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or value > after) and (before is None or value < before)


def passes(job: QueuedJob, which: JobFilter, now: datetime) -> bool:
    """Whether a job passes, by a rule of this test's own."""
    given: list[tuple[Any, Any]] = [
        (which.queue, job.queue),
        (which.func, job.func),
        (which.state, job.state),
        (which.unique_key, job.unique_key),
    ]
    age = which.older_than
    return (
        all(several is None or value in several for several, value in given)
        and which.retrying in (None, job.retrying)
        and (which.meta is None or which.meta.items() <= job.meta.items())
        and like(job.queue, which.queue_like)
        and like(job.func, which.func_like)
        and between(job.created_at, which.created_after, which.created_before)
        and job.scheduled_at is not None
        and between(job.scheduled_at, which.scheduled_after, which.scheduled_before)
        and (age is None or now - job.created_at > age)
        and within(job.priority, which.priority_from, which.priority_to)
        and within(job.attempts, which.attempts_from, which.attempts_to)
        and all(passes(job, one, now) for one in which.all_of)
        and (not which.any_of or any(passes(job, one, now) for one in which.any_of))
        and not any(passes(job, one, now) for one in which.none_of)
    )


@pytest.mark.slow
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(which=FILTERS)
async def test_a_filter_finds_those_that_pass(dsn: str, which: JobFilter) -> None:
    async with opened(dsn) as store:
        everything = statements.list_jobs(NAMES, JobFilter(), 100, None)
        if not await store.run(everything):
            await store.run(statements.push(NAMES, {UUID(int=n): j for n, j in enumerate(JOBS)}))
            async with store.connection() as conn:  # one has failed once, another is finished
                await conn.execute("UPDATE chancy_jobs SET attempts = 1 WHERE func = 'other'")
            await store.run(statements.cancel(NAMES, [UUID(int=0)]))
        jobs = await store.run(everything)
        assert {job.state for job in jobs} == {State.CANCELLED, State.PENDING, State.SCHEDULED}
        found = await store.run(statements.list_jobs(NAMES, which, 100, None))
        now = datetime.now(UTC)
        assert [job.id for job in found] == [job.id for job in jobs if passes(job, which, now)]


def test_filters_are_put_together_by_their_operators() -> None:
    one, other = JobFilter(queue="a"), JobFilter(func="b")
    assert (one & other).all_of == (one | other).any_of == (one, other)
    assert (~one).none_of == (one,)
    assert list((one & ~other).parts) == [one & ~other, one, ~other, other]
    with pytest.raises(TypeError):
        _ = one & "queue"  # type: ignore[operator]
    assert len(list(JobFilter(any_of=[one] * (MOST - 1)).parts)) == MOST
    with pytest.raises(InvalidValue, match=f"{MOST} filters at most"):
        JobFilter(any_of=[one] * MOST)


@pytest.mark.parametrize(
    "wrong",
    [
        {"func_like": 7},
        {"queue_like": ["a\0"]},
        {"older_than": 3600},
        {"scheduled_after": datetime(2026, 1, 1)},  # noqa: DTZ001 - that it is naive is the point
        {"scheduled_before": "tomorrow"},
        {"priority_from": "high"},
        {"priority_to": True},
        {"attempts_from": 1.5},
        {"attempts_to": 2**31},
        {"any_of": ["queue"]},
        {"none_of": 7},
    ],
    ids=str,
)
def test_what_no_job_can_have_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValue):
        JobFilter(**wrong)
