"""Whatever a job is given comes back equal from the database and a child, or is refused at once."""

import json
import math
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chancy import Chancy, Job, Limit, Queue, Worker
from chancy_core.errors import InvalidValue
from chancy_core.limit import LimitKind
from chancy_core.outcome import Kind, Outcome, Verdict
from chancy_core.perform import describe
from chancy_core.state import State
from chancy_core.statement import Names
from chancy_core.store import statements
from tests.faults.sizes import size
from tests.postgres.stores import NAMES
from tests.properties.going import ENCODED, Going, check_message, identifiers, in_a_child, refused

#: Generated jobs, of which so many are pushed together.
MANY, TOGETHER = size(2_000, 20_000), 10
OFTEN = settings(
    max_examples=MANY // TOGETHER,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TEXT = st.text(st.characters(), max_size=12)  # NUL and lone surrogates included
FINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
#: Hypothesis cannot print integers of more than 4,300 digits: these are made of smaller ones.
NUMBERS = st.integers() | st.floats() | st.integers(4290, 4310).map(lambda power: -(10**power))


def values(text: st.SearchStrategy[str], numbers: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        st.none() | st.booleans() | numbers | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=5,
    )


#: Of each kind what can be stored, and now and then anything.
PLAIN = st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
DATA = st.dictionaries(FINE, values(FINE, PLAIN), max_size=3)
ANY_DATA = DATA | DATA | DATA | st.dictionaries(TEXT, values(TEXT, NUMBERS), max_size=3)
NAMES_GIVEN = FINE | FINE | FINE | TEXT
OFFSETS = st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
TIMES = st.datetimes(timezones=st.none() | st.just(UTC) | OFFSETS.map(timezone) | st.timezones())
ASKED = st.fixed_dictionaries(
    {"func": NAMES_GIVEN, "kwargs": ANY_DATA, "meta": ANY_DATA, "queue": NAMES_GIVEN},
    optional={
        "unique_key": st.none() | NAMES_GIVEN,
        "scheduled_at": st.none() | TIMES,
        "priority": st.integers(-40_000, 40_000),
        "max_attempts": st.integers(-1, 40_000),
        "exclusive": st.booleans(),
        "keep_result": st.just(True),
        "version": st.integers(0, 32_768),
        "limits": st.lists(
            st.builds(Limit, st.sampled_from(LimitKind), st.floats(0.001, 1e9)), max_size=2
        ),
    },
)


def made(fields: dict[str, Any]) -> Job | None:
    """Make a job and encode it as a push does, or find it refused by an error of ours."""
    try:
        job = Job(**fields)
        statements.push(NAMES, {ENCODED: job})
    except InvalidValue as exc:
        check_message(exc)
        return None
    return job


def storable(value: Any) -> bool:
    """Whether JSON and PostgreSQL know such a value, by a rule of this test's own."""
    if isinstance(value, dict):
        return all(map(storable, (*value, *value.values())))
    if isinstance(value, list):
        return all(map(storable, value))
    if isinstance(value, str):
        return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or abs(value) < 10**4300


def possible(fields: dict[str, Any]) -> bool:
    """Whether such a job can be, by a rule of this test's own."""
    due, key = fields.get("scheduled_at"), fields.get("unique_key")
    texts = [fields["func"], fields["queue"], *([] if key is None else [key])]
    return (
        all(texts)
        and all(map(storable, (*texts, fields["kwargs"], fields["meta"])))
        and -32_768 <= fields.get("priority", 0) <= 32_767
        and 1 <= fields.get("max_attempts", 1) <= 32_767
        and 1 <= fields.get("version", 1) <= 32_767
        and (due is None or (due.tzinfo is not None and 2 <= due.year <= 9998))
    )


def same(job: Job, other: Job) -> bool:
    """Whether two jobs ask for the same; times are the same if they are the same instant."""
    names = ("func", "kwargs", "meta", "queue", "unique_key", "priority", "max_attempts", "version")
    one, two = job.scheduled_at, other.scheduled_at
    due = one is None or (two is not None and one.astimezone(UTC) == two.astimezone(UTC))
    alike = all(getattr(job, name) == getattr(other, name) for name in names)
    return due and alike and job.exclusive == other.exclusive and set(other.limits) == _kinds(job)


def _kinds(job: Job) -> set[Limit]:
    return {Limit(kind, value) for kind in LimitKind if (value := job.limit(kind)) is not None}


@pytest.mark.slow
@OFTEN
@given(st.lists(ASKED, min_size=TOGETHER, max_size=TOGETHER), st.data())
def test_a_job_comes_back_equal_or_is_refused(
    there: Going, asked: list[dict[str, Any]], data: st.DataObject
) -> None:
    there.forget()
    jobs: list[Job] = []
    for fields in asked:
        if fields.get("unique_key") in {job.unique_key for job in jobs}:
            fields["unique_key"] = None
        job = made(fields)
        assert (job is not None) is possible(fields), fields
        if job is not None:
            jobs.append(job)
    ids = there.push(jobs)
    for job, back in zip(jobs, there.get(ids), strict=True):
        assert same(job, back), (job, back)
    asked_for = dict(zip(ids, jobs, strict=True))
    ends = {}
    for claimed in there.claim(ids):
        job = asked_for[claimed.job.id]
        child, answer = in_a_child(claimed)
        assert same(job, claimed.job), (job, claimed.job)
        assert child.meta == job.meta
        assert child.queue == job.queue
        assert child.unique_key == job.unique_key
        assert json.loads(answer)[:2] == [job.kwargs, job.meta]
        error = ValueError(data.draw(TEXT))
        failure = describe(error, attempt=1)
        ends[claimed.job.id] = (
            claimed,
            Outcome(Kind.ERROR, answer, failure),
            Verdict(State.FAILED),
        )
    there.settle(ends)
    for back in there.get(list(ends)):
        job, (_, outcome, _) = asked_for[back.id], ends[back.id]
        assert same(job, back)
        assert back.returned[:2] == [job.kwargs, job.meta]
        assert back.errors == (outcome.failure,)


# -- times -----------------------------------------------------------------------------------------

#: Zones with a history: half an hour, a quarter, a skipped day, seconds of local mean time.
ODD_ZONES = [
    *("Europe/Berlin", "Europe/London", "Europe/Amsterdam", "Europe/Dublin", "Europe/Moscow"),
    *("Europe/Istanbul", "America/New_York", "America/St_Johns", "America/Sao_Paulo"),
    *("America/Caracas", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Pyongyang", "Asia/Tehran"),
    *("Asia/Gaza", "Australia/Lord_Howe", "Australia/Eucla", "Pacific/Apia", "Pacific/Chatham"),
    *("Pacific/Kiritimati", "Africa/Casablanca", "Africa/Monrovia", "Antarctica/Troll"),
]
YEARS = size((1916, 1945, 1972, 2011, 2024), tuple(range(1900, 2041)))


def changes(zone: zoneinfo.ZoneInfo, year: int) -> Iterator[datetime]:
    """The instants at which a zone's offset changes in a year."""

    def offset(at: datetime) -> timedelta | None:
        return at.astimezone(zone).utcoffset()

    at = datetime(year, 1, 1, tzinfo=UTC)
    while at.year == year:
        low, high = at, at + timedelta(days=7)
        if offset(low) != offset(high):
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
            yield high.replace(microsecond=0)
        at += timedelta(days=7)


def around(zone: zoneinfo.ZoneInfo, change: datetime) -> Iterator[datetime]:
    """Times before, in and after a change, as people write them: some occur twice, some never."""
    for seconds in (-3600.000001, -1800, -0.000001, 0, 0.999999, 1800, 3600, 7199.5):
        local = (change + timedelta(seconds=seconds)).astimezone(zone)
        yield local
        yield local.replace(fold=1 - local.fold)
        yield local.replace(hour=2, minute=30)
        yield local.replace(hour=2, minute=30, fold=1)


def test_times_at_which_clocks_are_changed_come_back_to_the_microsecond(there: Going) -> None:
    there.forget()
    zones = size(ODD_ZONES, sorted(zoneinfo.available_timezones()))
    for name in zones:
        zone = zoneinfo.ZoneInfo(name)
        times = [
            time
            for year in YEARS
            for change in changes(zone, year)
            for time in around(zone, change)
        ]
        if not times:
            continue
        ids = there.push([Job("f", scheduled_at=time) for time in times])
        for time, back in zip(times, there.get(ids), strict=True):
            assert back.scheduled_at is not None
            assert back.scheduled_at.astimezone(UTC) == time.astimezone(UTC), (name, time)
        there.forget()


FAR = [
    datetime(year, month, day, *clock, tzinfo=timezone(timedelta(minutes=minutes)))
    for year, month, day in (
        (2, 1, 1),
        (1582, 10, 10),
        (1900, 2, 28),
        (2038, 1, 19),
        (9998, 12, 31),
    )
    for clock in ((0, 0, 0, 0), (3, 14, 7, 999_999), (23, 59, 59, 999_999))
    for minutes in (-1439, -720, -1, 0, 1, 345, 840, 1439)
]


def test_times_far_away_come_back(there: Going) -> None:
    there.forget()
    jobs = [Job("f", scheduled_at=time) for time in FAR]
    for job, back in zip(jobs, there.get(there.push(jobs)), strict=True):
        assert same(job, back), (job, back)


# -- names -----------------------------------------------------------------------------------------


QUEUES = st.fixed_dictionaries(
    {"name": NAMES_GIVEN, "tags": st.sets(NAMES_GIVEN, max_size=3)},
    optional={
        "executor": NAMES_GIVEN,
        "executor_options": ANY_DATA,
        "resume_at": TIMES,
        "polling_interval": st.floats() | st.integers(),
        "concurrency": st.integers(),
        "rate_limit": st.integers(1, 10**7),
        "rate_limit_window": st.floats(),
    },
)


@settings(OFTEN, max_examples=size(300, 3000))
@given(QUEUES)
def test_a_queue_comes_back_equal_or_is_refused(there: Going, fields: dict[str, Any]) -> None:
    queue = refused(lambda: Queue(**fields, state="paused"))
    if queue is not None:
        with there.conn.transaction(force_rollback=True):
            there.run(statements.declare(NAMES, queue, upsert=True))
            (back,) = there.run(statements.all_queues(NAMES, [queue.name])).sound
        due = queue.resume_at
        if due is not None and back.resume_at is None:  # its time has come: it is active
            assert due < datetime.now(UTC)
            assert back == queue.options(state="active", resume_at=None)
            return
        assert back == queue.options(resume_at=back.resume_at)
        if due is not None:
            assert due.astimezone(UTC) == back.resume_at.astimezone(UTC)


@settings(OFTEN, max_examples=size(300, 3000))
@given(NAMES_GIVEN, st.sets(NAMES_GIVEN, max_size=3))
def test_a_worker_comes_back_equal_or_is_refused(there: Going, name: str, tags: set[str]) -> None:
    worker = refused(lambda: Worker(Chancy("postgresql://localhost/x"), name=name, tags=tags))
    assert (worker is not None) is (storable(name) and all(map(storable, tags)))
    if worker is not None:
        row = {"name": worker.name, "hostname": "h", "pid": 1, "tags": worker.tags, "lease": 9}
        with there.conn.transaction(force_rollback=True):
            there.run(statements.announce(NAMES, there.worker, **row))
            (back,) = there.run(statements.workers(NAMES))
        assert (back.name, back.tags) == (worker.name, worker.tags)
        assert tags <= back.tags


@settings(OFTEN, max_examples=size(300, 3000))
@given(NAMES_GIVEN | st.from_regex(r"[a-z_0-9]{1,31}"), st.from_regex(r"[a-z_0-9]{1,31}"))
def test_an_identifier_is_read_as_it_was_meant_or_refused(
    there: Going, schema: str, prefix: str
) -> None:
    names = refused(lambda: Names(schema, prefix))
    if names is not None:
        assert identifiers(there.conn, names) == [schema, f"{prefix}jobs"]
