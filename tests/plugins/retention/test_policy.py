"""The rules: what can be said, how it is read back, and what makes no sense."""

import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy import Chancy, State, job
from chancy_core.errors import InvalidPlugin, InvalidValue
from chancy_plugins.retention import Keep, Retention, RetentionPolicy, days, hours
from chancy_plugins.retention.policy import LEAST, MOST, in_words
from chancy_plugins.retention.rows import like

STATES = ["succeeded", "failed", "cancelled", "quarantined", "lost"]


@job(name="policies.send", queue="mail")
async def send() -> None: ...


durations = st.none() | st.floats(LEAST, MOST) | st.integers(60, 10**9).map(float)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
several = st.none() | st.lists(names, min_size=1, max_size=3)
plain = st.none() | st.lists(st.text("abc.*_%-<>é", min_size=1, max_size=8), min_size=1, max_size=3)


def rules(named: st.SearchStrategy) -> st.SearchStrategy[Keep]:
    asked = st.fixed_dictionaries(
        {
            "state": st.none() | st.lists(st.sampled_from(STATES), min_size=1, unique=True),
            "queue": named,
            "func": named,
            "for_": durations,
        }
    )
    return asked.filter(lambda one: any(one[name] for name in ("state", "queue", "func"))).map(
        lambda one: Keep(**one)
    )


@given(durations, st.lists(rules(several), max_size=4))
def test_what_is_written_down_is_read_back(keep, made):
    policy = RetentionPolicy(keep, made)
    assert RetentionPolicy.unpack(policy.pack()) == policy


@given(durations, st.lists(rules(plain), max_size=4))
def test_what_is_shown_can_be_said(keep, made):
    policy = RetentionPolicy(keep, made)
    assert RetentionPolicy.read(str(policy)) == policy


@given(st.text(max_size=30))
def test_any_text_is_rules_or_refused(text):
    try:
        policy = RetentionPolicy.read(text)
    except InvalidValue:
        return
    assert RetentionPolicy.read(str(policy)) == policy


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("30d", RetentionPolicy(days(30))),
        ("none", RetentionPolicy(None)),
        ("3600", RetentionPolicy(3600)),
        ("1h30m;", RetentionPolicy(5400)),
        ("state=failed 90d", RetentionPolicy(days(30), [Keep(state="failed", for_=days(90))])),
        (
            "7d; state=failed,lost queue=mail 90d ;func=acme.* none",
            RetentionPolicy(
                days(7),
                [
                    Keep(state=["failed", "lost"], queue="mail", for_=days(90)),
                    Keep(func="acme.*", for_=None),
                ],
            ),
        ),
    ],
)
def test_the_environment_says_it_in_plain_words(text, policy):
    assert RetentionPolicy.read(text) == policy


@pytest.mark.parametrize(
    "text",
    [
        *("", ";", "soon", "30dd", "-1d", "1d 2d", "30d; 7d", "0", "59", "nan", "inf", "1e3"),
        *(
            "state= 1d",
            "state=running 1d",
            "color=red 1d",
            "state=failed",
            "state=lost state=lost 1d",
        ),
        "101y",
        "40000d",
    ],
)
def test_nonsense_in_the_environment_is_refused(text):
    with pytest.raises(InvalidValue):
        RetentionPolicy.read(text)


@pytest.mark.parametrize(
    "made",
    [
        lambda: Keep(for_=days(1)),
        lambda: Keep(state="running", for_=days(1)),
        lambda: Keep(state=[], for_=days(1)),
        lambda: Keep(state=7, for_=days(1)),
        lambda: Keep(queue="q\0", for_=days(1)),
        lambda: Keep(queue=["q", 1], for_=days(1)),
        lambda: Keep(state="lost", for_=59),
        lambda: Keep(state="lost", for_=True),
        lambda: Keep(state="lost", for_=math.nan),
        lambda: Keep(state="lost", for_="1d"),
        lambda: RetentionPolicy(30, ()),
        lambda: RetentionPolicy(rules="ab"),
        lambda: RetentionPolicy(rules=[Keep(state="lost", for_=60)] * 101),
        lambda: RetentionPolicy.unpack({"keep": 60}),
        lambda: RetentionPolicy.unpack({"keep": 60, "rules": [{"for": 1}]}),
        lambda: RetentionPolicy.unpack([]),
    ],
)
def test_nonsense_is_refused_where_it_is_written(made):
    with pytest.raises(InvalidValue):
        made()


def test_a_plugin_that_makes_no_sense_is_refused():
    for wrong in ({"keep": 1}, {"rules": 7}, {"rules": ["x"]}, {"export": 7}):
        with pytest.raises(InvalidPlugin, match="retention"):
            Retention(**wrong)


def test_a_rule_takes_functions_and_states_as_they_are():
    rule = Keep(func=send, state=State.FAILED, queue=("a", "b"), for_=hours(2))
    assert (rule.func, rule.state, rule.queue) == (("policies.send",), ("failed",), ("a", "b"))
    assert rule.for_ == 7200
    assert Keep(func=[send, "other"], for_=None).func == ("policies.send", "other")
    assert type(rule.state[0]) is str


def test_the_longest_of_all_is_what_a_day_waits_for():
    rule = Keep(state="failed", for_=days(90))
    assert RetentionPolicy(days(30), [rule]).longest == 90 * 86_400
    assert RetentionPolicy(days(30), [rule]).steps == [30 * 86_400, 90 * 86_400]
    assert RetentionPolicy(None, [rule]).longest is None
    assert RetentionPolicy(days(1), [Keep(state="failed", for_=None)]).longest is None


def test_durations_in_words():
    assert in_words(timedelta(days=1, hours=2, seconds=3).total_seconds()) == "1d2h3s"
    assert in_words(None) == "none"
    assert in_words(90.5) == "90.5"


def test_a_star_is_any_text_and_nothing_else_is():
    assert like("a%b_c\\*") == "a\\%b\\_c\\\\%"


def test_thirty_days_if_nobody_says_anything(monkeypatch):
    chancy = Chancy("host=nowhere")
    assert Retention.of(chancy).policy == RetentionPolicy(days(30))
    assert not Retention.of(chancy).told
    mine = Retention(keep=days(7))
    own = Chancy("host=nowhere", plugins=[mine])
    assert own.plugins.broken == {}
    assert Retention.of(own) is mine
    assert mine.told
    assert mine.policy == RetentionPolicy(days(7))
    monkeypatch.setenv("CHANCY_RETENTION", "1d; state=failed 2d")
    for one in (Retention.of(chancy), mine):
        assert one.policy == RetentionPolicy(days(1), [Keep(state="failed", for_=days(2))])
        assert one.told


def test_nonsense_in_the_environment_removes_nothing(monkeypatch, caplog):
    monkeypatch.setenv("CHANCY_RETENTION", "365dd")
    retention = Retention(keep=days(1))
    assert retention.policy == retention.policy == RetentionPolicy(None)
    assert caplog.text.count("CHANCY_RETENTION: '365dd' is no duration") == 1


def test_a_second_one_for_an_application_is_refused(caplog):
    class Other(Retention):
        """Another class, so that it has another name."""

    with pytest.raises(InvalidPlugin, match="its name is taken"):
        Chancy("host=nowhere", plugins=[Retention(keep=days(1)), Retention(keep=days(2))])
    first = Retention(keep=days(1))
    chancy = Chancy("host=nowhere", plugins=[first, Other(keep=days(2))])
    assert Retention.of(chancy) is first
    assert "an application has one Retention" in caplog.text
