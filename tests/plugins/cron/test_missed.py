"""What becomes of runs that nobody could begin in time, and by how much each is put off."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chancy import Job
from chancy_core.errors import InvalidValue
from chancy_plugins.cron import Schedule, catch_up
from chancy_plugins.cron.entry import Entry
from chancy_plugins.cron.missed import FURTHEST, LATE, allowance, due

NOW = datetime(2026, 8, 3, 12, 0, 30, tzinfo=UTC)
TEN = Schedule("*/10 * * * *")


def at(*times: str) -> list[datetime]:
    return [NOW.replace(hour=int(t[:2]), minute=int(t[3:5]), second=0) for t in times]


@pytest.mark.parametrize(
    ("missed", "fired"),
    [
        ("skip", ["12:00"]),
        ("run_once", ["12:00"]),  # it makes up for those before
        ("catch_up(1)", ["11:50", "12:00"]),
        ("catch_up(3)", ["11:30", "11:40", "11:50", "12:00"]),
        ("catch_up(1000)", ["11:10", "11:20", "11:30", "11:40", "11:50", "12:00"]),
    ],
)
def test_after_an_hour_without_anybody(missed: str, fired: list[str]):
    assert due(TEN, missed, at("11:10")[0], NOW) == at(*fired)


@pytest.mark.parametrize(
    ("missed", "fired"),
    [("skip", []), ("run_once", ["11:00"]), ("catch_up(2)", ["10:00", "11:00"])],
)
def test_where_nothing_is_due_just_now(missed: str, fired: list[str]):
    hourly = Schedule("0 * * * *")
    assert due(hourly, missed, at("09:00")[0], NOW.replace(hour=11, minute=30)) == at(*fired)


def test_a_run_that_is_a_little_late_is_no_missed_one():
    seconds = Schedule("*/20 * * * * *")
    ticks = due(seconds, "skip", NOW - LATE, NOW)
    assert ticks == [NOW - timedelta(seconds=10 + 20 * n) for n in (2, 1, 0)]
    assert due(TEN, "skip", at("12:00")[0], NOW + timedelta(seconds=30)) == at("12:00")
    assert due(TEN, "skip", at("12:00")[0], NOW + timedelta(seconds=31)) == []


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["*/7 * * * *", "0 3 * * *", "*/15 * * * * *", "0 0 1 * *", "5 1-4/2 * * 1-5"]),
    st.sampled_from(["skip", "run_once", "catch_up(1)", "catch_up(7)", "catch_up(100)"]),
    st.integers(0, 5 * 86_400),
    st.integers(0, 999_999),
)
def test_of_all_that_were_missed_the_last_are_made_up_for(
    expression: str, missed: str, seconds: int, micros: int
):
    schedule = Schedule(expression, "Europe/Paris")
    now = datetime(2026, 3, 31, 12, tzinfo=UTC) + timedelta(microseconds=micros)
    since = now - timedelta(seconds=seconds)
    every = list(schedule.between(since - timedelta(microseconds=1), now))
    late = [tick for tick in every if now - tick > LATE]
    timely = every[len(late) :]
    most = allowance(missed)
    made_up = late[-most:] if most and not (missed == "run_once" and timely) else []
    assert due(schedule, missed, since, now) == made_up + timely


def test_what_was_missed_long_ago_is_forgotten():
    yearly = Schedule("0 0 1 1 *")
    ticks = due(yearly, "catch_up(5)", datetime(1000, 1, 1, tzinfo=UTC), NOW)
    assert ticks == [datetime(2026, 1, 1, tzinfo=UTC)]
    assert NOW - ticks[0] < FURTHEST


@pytest.mark.parametrize(
    "nonsense",
    [
        *("", "run", "catch_up", "catch_up(0)", "catch_up(1001)", "catch_up(-1)", "catch_up(5) "),
        *(None, 5, []),
    ],
    ids=repr,
)
def test_a_policy_that_is_none_is_refused(nonsense: object):
    with pytest.raises(InvalidValue, match=r"^missed must be 'skip', 'run_once' or catch_up\(1\)"):
        allowance(nonsense)  # type: ignore[arg-type]


@pytest.mark.parametrize("nonsense", [0, -1, 1001, 1.5, "5", True, None])
def test_catching_up_with_nonsense_is_refused(nonsense: object):
    with pytest.raises(InvalidValue, match=r"^catch_up: it is 1 to 1,000 runs"):
        catch_up(nonsense)  # type: ignore[arg-type]


def test_catch_up_is_written_as_it_is_read():
    assert [allowance(catch_up(n)) for n in (1, 5, 1000)] == [1, 5, 1000]


# -- jitter ----------------------------------------------------------------------------------------


def entry(**settings: object) -> Entry:
    return Entry(key="k", job=Job("acme.f", meta={"tenant": 7}), schedule=TEN, **settings)  # type: ignore[arg-type]


def test_a_run_is_put_off_by_the_same_time_wherever_it_is_worked_out():
    ticks = [NOW + timedelta(minutes=n) for n in range(2_000)]
    delays = [entry(jitter=60).job_of(tick).scheduled_at - tick for tick in ticks]
    assert delays == [entry(jitter=60).job_of(tick).scheduled_at - tick for tick in ticks]
    seconds = [delay.total_seconds() for delay in delays]
    assert 0 <= min(seconds) < 2
    assert 58 < max(seconds) <= 60
    assert 27 < sum(seconds) / len(seconds) < 33


def test_the_identity_of_a_run_is_its_tick():
    plain, late = entry().job_of(NOW), entry(jitter=60).job_of(NOW)
    assert plain.scheduled_at is None
    assert (
        plain.meta
        == late.meta
        == {
            "tenant": 7,
            "cron": {"key": "k", "tick": "2026-08-03T12:00:30+00:00"},
        }
    )
    assert plain.unique_key == late.unique_key == "cron:k:2026-08-03T12:00:30+00:00"


def test_a_unique_key_of_the_jobs_own_is_kept():
    made = Entry(key="k", job=Job("acme.f", unique_key="mine"), schedule=TEN)
    assert made.job_of(NOW).unique_key == "mine"


@pytest.mark.parametrize(
    ("nonsense", "said"),
    [
        ({"jitter": -1}, "jitter must be 0 to 86,400 seconds"),
        ({"jitter": float("nan")}, "jitter must be"),
        ({"jitter": "5"}, "jitter must be"),
        ({"jitter": True}, "jitter must be"),
        ({"missed": "never"}, "missed must be"),
        ({"key": ""}, "it must have 1 to 200 bytes"),
        ({"key": "x" * 201}, "it must have 1 to 200 bytes"),
        ({"key": "a\0b"}, "NUL"),
        ({"key": None}, "it must be a text"),
        ({"job": "acme.f"}, "job must be a Job, such as my_job.bind"),
        ({"job": Job("f", scheduled_at=NOW)}, "leave scheduled_at out"),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(nonsense: dict[str, object], said: str):
    settings = {"key": "k", "job": Job("acme.f"), "schedule": TEN} | nonsense
    with pytest.raises(InvalidValue, match=said):
        Entry(**settings)  # type: ignore[arg-type]
