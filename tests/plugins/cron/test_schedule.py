"""When something runs, against an oracle that walks through the time step by step.

A tick of an entry for certain times is where the clocks first show such a time, or are put past
it; of any other, wherever they show a time that matches. The oracle looks at a clock, each minute.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chancy_core.errors import InvalidValue
from chancy_plugins.cron import Schedule
from chancy_plugins.cron.schedule import NAMES

MINUTE, SECOND, HOUR = timedelta(minutes=1), timedelta(seconds=1), timedelta(hours=1)
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2040, 12, 31, tzinfo=UTC)

Matches = Callable[[datetime], bool]


def wall(at: datetime, where: ZoneInfo) -> datetime:
    return at.astimezone(where).replace(tzinfo=None, fold=0)


@cache
def turns(name: str) -> tuple[datetime, ...]:
    """All instants from 2000 to 2040 at which the clocks of a zone are put."""
    where = ZoneInfo(name)
    found, at, step = [], FIRST, timedelta(days=5)
    while at < LAST:
        low, high = at, at + step
        if low.astimezone(where).utcoffset() != high.astimezone(where).utcoffset():
            while high - low > SECOND:
                middle = low + (high - low) // SECOND // 2 * SECOND
                same = middle.astimezone(where).utcoffset() == low.astimezone(where).utcoffset()
                low, high = (middle, high) if same else (low, middle)
            found.append(high)
        at += step
    return tuple(found)


@cache
def zones() -> tuple[str, ...]:
    """All zones in which the clocks are put from 2000 to 2040."""
    names = available_timezones() - {"localtime", "posixrules"}
    return tuple(name for name in sorted(names) if turns(name))


def walked(
    matches: Matches,
    where: ZoneInfo,
    begin: datetime,
    end: datetime,
    *,
    fixed: bool,
    step: timedelta = MINUTE,
    ahead: timedelta = 4 * HOUR,
) -> Iterator[datetime]:
    """The ticks later than *begin*, up to *end*, as somebody sees them who watches a clock."""
    at = (begin - ahead).replace(second=0, microsecond=0)
    furthest = wall(at, where)
    while at + step <= end:
        at += step
        shown = wall(at, where)
        hit = matches(shown)
        if fixed:  # all times that the clock has not shown before, up to what it shows now
            passed = (shown - furthest) // step
            if passed != 1:
                hit = any(matches(furthest + n * step) for n in range(1, passed + 1))
            furthest = max(furthest, shown)
        if hit and at > begin:
            yield at


# -- every zone, and every way to put its clocks ---------------------------------------------------


def field(most: int, named: int | None = None) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """A field of numbers from 0, and which of them it has; it names those up to *named*."""
    everything = range(most + 1)
    number = st.integers(0, named or most)
    numbers = st.lists(number, min_size=1, max_size=4)
    pairs = st.sets(number, min_size=2, max_size=2).map(sorted)
    steps = st.integers(1, most)
    return st.one_of(
        st.just(("*", frozenset(everything))),
        steps.map(lambda n: (f"*/{n}", frozenset(everything[::n]))),
        numbers.map(lambda some: (",".join(map(str, some)), frozenset(some))),
        pairs.map(lambda p: (f"{p[0]}-{p[1]}", frozenset(everything[p[0] : p[1] + 1]))),
        st.tuples(pairs, steps).map(
            lambda p: (
                f"{p[0][0]}-{p[0][1]}/{p[1]}",
                frozenset(everything[p[0][0] : p[0][1] + 1 : p[1]]),
            )
        ),
    )


#: Where clocks are put, it is night: so are most of these.
hours = field(23) | field(23, named=3)
days = st.one_of(
    st.just(("*", frozenset(range(7)))),
    st.sets(st.integers(0, 6), min_size=1).map(
        lambda some: (",".join(map(str, sorted(some))), frozenset(some))
    ),
)


@st.composite
def entries(draw: st.DrawFn) -> tuple[str, Matches, bool]:
    """An expression, what it matches, and whether it is for certain times."""
    (minute, minutes), (hour, some), (day, weekdays) = draw(field(59)), draw(hours), draw(days)

    def matches(time: datetime) -> bool:
        return time.minute in minutes and time.hour in some and time.isoweekday() % 7 in weekdays

    fixed = not minute.startswith("*") and not hour.startswith("*")
    return f"{minute} {hour} * * {day}", matches, fixed


@st.composite
def places(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and an instant at which its clocks are put."""
    name = draw(st.sampled_from(zones()))
    return name, draw(st.sampled_from(turns(name)))


@settings(max_examples=150, deadline=None)
@given(places(), entries(), st.integers(-1500 * 60, 300 * 60), st.integers(1, 26))
def test_ticks_are_those_of_the_policy(
    place: tuple[str, datetime], entry: tuple[str, Matches, bool], seconds: int, length: int
):
    (name, turn), (expression, matches, fixed) = place, entry
    begin = turn + timedelta(seconds=seconds)
    end = begin + length * HOUR
    schedule = Schedule(expression, name)
    assert schedule.fixed is fixed
    expected = walked(matches, ZoneInfo(name), begin, end, fixed=fixed, ahead=timedelta(hours=26))
    assert list(schedule.between(begin, end)) == list(expected)


#: Those that a turn of the clocks may harm in different ways.
TOUCHED = {
    "* * * * *": lambda t: True,
    "*/15 * * * *": lambda t: t.minute % 15 == 0,
    "0 * * * *": lambda t: t.minute == 0,
    "* 2 * * *": lambda t: t.hour == 2,
    "*/20 0,1 * * *": lambda t: t.minute % 20 == 0 and t.hour in {0, 1},
    "0 0 * * *": lambda t: (t.hour, t.minute) == (0, 0),
    "30 1 * * *": lambda t: (t.hour, t.minute) == (1, 30),
    "30 2 * * *": lambda t: (t.hour, t.minute) == (2, 30),
    "0,15,45 0-3,23 * * *": lambda t: t.minute in {0, 15, 45} and t.hour in {0, 1, 2, 3, 23},
}


def test_each_way_in_which_clocks_are_put_anywhere():
    seen = set()
    for name in zones():
        where = ZoneInfo(name)
        for turn in turns(name):
            before, after = wall(turn - SECOND, where), wall(turn, where)
            kind = (before.time(), after - before)
            if kind in seen:
                continue
            seen.add(kind)
            begin, end = turn - 3 * HOUR, turn + 4 * HOUR
            for expression, matches in TOUCHED.items():
                schedule = Schedule(expression, name)
                expected = walked(matches, where, begin, end, fixed=schedule.fixed)
                ticks = list(schedule.between(begin, end))
                assert ticks == list(expected), (name, turn, expression)
    assert len(seen) > 40


@settings(max_examples=15, deadline=None)
@given(places(), field(59), field(59), field(23, named=3), st.integers(-1200, 600))
def test_six_fields_begin_with_seconds(
    place: tuple[str, datetime],
    second: tuple[str, frozenset[int]],
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    seconds: int,
):
    name, turn = place
    begin = turn + timedelta(seconds=seconds)
    end = begin + HOUR / 3
    fixed = not minute[0].startswith("*") and not hour[0].startswith("*")

    def matches(time: datetime) -> bool:
        return time.second in second[1] and time.minute in minute[1] and time.hour in hour[1]

    schedule = Schedule(f"{second[0]} {minute[0]} {hour[0]} * * *", name)
    expected = walked(
        matches, ZoneInfo(name), begin, end, fixed=fixed, step=SECOND, ahead=3.5 * HOUR * fixed
    )
    assert list(schedule.between(begin, end)) == list(expected)


# -- the policy, as its page has it ----------------------------------------------------------------

SPRING, AUTUMN = datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)


def utc(day: datetime, *times: str) -> list[datetime]:
    return [day + timedelta(hours=int(t[:2]), minutes=int(t[3:])) for t in times]


@pytest.mark.parametrize(
    ("expression", "day", "ticks"),
    [
        ("30 2 * * *", SPRING, ["01:00"]),  # 02:30 is skipped: at 03:00
        ("0,30 2 * * *", SPRING, ["01:00"]),  # both are: once
        ("30 2,3 * * *", SPRING, ["01:00", "01:30"]),
        ("30 2 * * *", AUTUMN, ["00:30"]),  # the first time
        ("0 3 * * *", AUTUMN, ["02:00"]),
        ("*/30 2 * * *", SPRING, []),  # 02:00 to 02:59 is not shown
        ("*/30 2 * * *", AUTUMN, ["00:00", "00:30", "01:00", "01:30"]),
        ("@hourly", AUTUMN, [f"{n:02}:00" for n in range(24)]),
        ("@daily", SPRING, ["22:00"]),
    ],
)
def test_paris_puts_its_clocks(expression: str, day: datetime, ticks: list[str]):
    schedule = Schedule(expression, "Europe/Paris")
    found = list(schedule.between(day - SECOND, day + 24 * HOUR - SECOND))
    assert found == utc(day, *ticks)


def test_a_day_that_an_island_skips():
    """Samoa had no 30 December 2011: what it would have seen runs as the 31st begins, once."""
    begin, end = datetime(2011, 12, 30, 9, tzinfo=UTC), datetime(2011, 12, 31, 0, tzinfo=UTC)
    noon = Schedule("0,30 12 * * *", "Pacific/Apia")
    assert [at.isoformat() for at in noon.between(begin, end)] == [
        "2011-12-30T10:00:00+00:00",
        "2011-12-30T22:00:00+00:00",
        "2011-12-30T22:30:00+00:00",
    ]


@pytest.mark.parametrize("name", ["America/New_York", "Australia/Lord_Howe", "Antarctica/Troll"])
def test_it_runs_once_a_day_all_year_long(name: str):
    for expression in ("15 2 * * *", "30 1 * * *", "0 0 * * *"):
        begin = datetime(2026, 1, 1, tzinfo=ZoneInfo(name)).astimezone(UTC)
        end = datetime(2027, 1, 1, tzinfo=ZoneInfo(name)).astimezone(UTC)
        ticks = list(Schedule(expression, name).between(begin - SECOND, end - SECOND))
        assert len({wall(tick, ZoneInfo(name)).date() for tick in ticks}) == len(ticks) == 365


@pytest.mark.parametrize(("name", "fields"), NAMES.items())
def test_the_usual_names(name: str, fields: str):
    one, other = Schedule(name.upper(), "Europe/Oslo"), Schedule(fields, "Europe/Oslo")
    ticks = list(islice(one.between(SPRING, LAST), 3))
    assert ticks == list(islice(other.between(SPRING, LAST), 3))
    assert len(ticks) == 3


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("0 9 * * MON-FRI", "2026-03-30T09:00"),
        ("0 9 L * *", "2026-03-31T09:00"),
        ("0 9 * JUN SUN#1", "2026-06-07T09:00"),
        ("0 9 13 * FRI", "2026-04-03T09:00"),  # or: cron's own rule
        ("15 0 9 1 APR *", "2026-04-01T09:00:15"),
    ],
)
def test_days_and_months_by_name(expression: str, first: str):
    tick = Schedule(expression).next(SPRING + 10 * HOUR)
    assert tick == datetime.fromisoformat(first).replace(tzinfo=UTC)


def test_the_next_tick_is_later_than_the_last_and_in_utc():
    begin = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1)
    tick = Schedule("* * * * *", "Europe/Paris").next(begin)
    assert tick is not None
    assert (tick.tzinfo, tick) == (UTC, datetime(2026, 10, 25, 1, 31, tzinfo=UTC))


# -- what makes no sense ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nonsense",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "0 0 31 2 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "@reboot",
        "@",
        "LW/2 * * * *",
        "0 0 LW/x * *",
        "¹ * * * *",
        "* * * * \0",
        "9" * 201,
        None,
        5,
        b"* * * * *",
    ],
    ids=repr,
)
def test_an_expression_that_makes_no_sense_is_refused(nonsense: object):
    with pytest.raises(InvalidValue, match=r"^cron expression .*: "):
        Schedule(nonsense)  # type: ignore[arg-type]


def test_what_would_have_been_right_is_said():
    with pytest.raises(InvalidValue, match=r"it has 4 fields; five fields are minute, hour"):
        Schedule("0 3 * *")
    with pytest.raises(InvalidValue, match=r"the names are @yearly, .*@hourly"):
        Schedule("@reboot")
    with pytest.raises(InvalidValue, match=r"there is none of this name here.*'Europe/Paris'"):
        Schedule("0 3 * * *", "europe/pariss")


@pytest.mark.parametrize(
    "nonsense",
    ["", "Mars/Base", "America", "../etc/passwd", "/etc/localtime", "localtime", "\0", None, 1],
    ids=repr,
)
def test_a_zone_that_is_none_is_refused(nonsense: object):
    with pytest.raises(InvalidValue, match=r"^time zone .*: "):
        Schedule("0 3 * * *", nonsense)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "tz"),
    [("* 2 * 3 7L", "Europe/Paris"), ("* * */20 * 1L", "UTC")],
)
def test_what_is_never_reached_has_no_tick(expression: str, tz: str):
    """Its only hour is skipped each year; or its days never fall together."""
    assert Schedule(expression, tz).next(SPRING - 400 * HOUR) is None


def test_there_is_an_end_of_time():
    assert Schedule("0 0 1 1 *").next(datetime(9999, 6, 1, tzinfo=UTC)) is None
    assert Schedule("* * 1 1 *", "Asia/Tokyo").next(datetime(9999, 6, 1, tzinfo=UTC)) is None


def test_it_is_explained_in_words():
    assert "03:00" in Schedule("0 3 * * *").explain()
