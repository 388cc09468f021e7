"""What is recorded in a process: what counts, what is left out, and how much there can be."""

import logging
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy import QueuedJob, State
from chancy_core.errors import InvalidValue
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_plugins.metrics import count, gauge, jobs, observe, process, tally
from chancy_plugins.metrics import outbox as waiting
from chancy_plugins.metrics.jobs import OTHERS, Jobs
from chancy_plugins.metrics.key import Key, MetricKind, theirs
from chancy_plugins.metrics.outbox import MOST_BATCHES, Outbox
from chancy_plugins.metrics.tally import Cell, Tally
from chancy_plugins.metrics.words import number, span, sparkline

AT = datetime(2026, 8, 3, 12, tzinfo=UTC)
MAILS = Key.of(MetricKind.COUNTER, "acme.mails")


def settled(
    func: str = "f",
    kind: Kind = Kind.SUCCESS,
    state: State = State.SUCCEEDED,
    *,
    seconds: float | None = 0.5,
    claims: int = 1,
    waited: float = 2.0,
    due: float = 0.0,
) -> Settlement:
    job = QueuedJob(
        func,
        queue="q",
        id=uuid4(),
        state=State.RUNNING,
        created_at=AT,
        scheduled_at=AT + timedelta(seconds=due),
        started_at=AT + timedelta(seconds=waited),
        claims=claims,
    )
    return Settlement(job, Outcome(kind), Verdict(state), seconds)


def poured(*several: Settlement) -> dict[tuple[str, tuple[str, ...]], Cell]:
    counted, found = Jobs(), Tally()
    counted.note(several)
    counted.pour(found)
    return {
        (key.name, tuple(value for _, value in key.labels)): cell
        for key, cell in found.take().items()
    }


def test_attempts_are_told_apart_by_function_queue_and_how_they_ended():
    found = poured(
        settled(),
        settled(),
        settled(kind=Kind.ERROR, state=State.PENDING),
        settled(kind=Kind.ERROR, state=State.FAILED),
        settled(kind=Kind.SHUTDOWN, state=State.PENDING, seconds=None),
        settled("g"),
    )
    assert {key: cell.total for key, cell in found.items() if key[0] != "jobs.wait"} == {
        ("jobs.attempts", ("f", "success", "q")): 2,
        ("jobs.attempts", ("f", "error", "q")): 2,
        ("jobs.attempts", ("f", "shutdown", "q")): 1,
        ("jobs.attempts", ("g", "success", "q")): 1,
        ("jobs.finished", ("f", "q", "succeeded")): 2,
        ("jobs.finished", ("f", "q", "failed")): 1,
        ("jobs.finished", ("g", "q", "succeeded")): 1,
        ("jobs.retried", ("f", "q")): 1,
        ("jobs.duration", ("f", "q")): 2.0,
        ("jobs.duration", ("g", "q")): 0.5,
    }


def test_a_wait_is_that_of_the_first_claim_and_from_when_it_was_due():
    found = poured(
        settled(waited=2),
        settled(waited=9, due=6),
        settled(waited=100, claims=2),
        settled(waited=-1),
    )
    wait = found["jobs.wait", ("f", "q")]
    assert (wait.count, wait.total, wait.low, wait.high) == (3, 5.0, 0.0, 3.0)


def test_functions_beyond_the_bound_are_others(monkeypatch):
    monkeypatch.setattr(jobs, "MOST", 2)
    found = poured(*(settled(f"f{n}") for n in range(5)))
    assert found["jobs.finished", (OTHERS, OTHERS, "succeeded")].total == 3
    assert sum(cell.total for key, cell in found.items() if key[0] == "jobs.finished") == 5


def test_metrics_beyond_the_bound_are_left_out_and_told_of_once(monkeypatch, caplog):
    monkeypatch.setattr(tally, "MOST", 2)
    some = Tally()
    for n in range(10):
        some.add(Key.of(MetricKind.COUNTER, "acme.users", user=str(n)), 1)
    some.add(Key.of(MetricKind.COUNTER, "acme.users", user="0"), 1)
    found = some.take()
    assert [cell.total for cell in found.values()] == [2, 1]
    assert len([r for r in caplog.records if "more than 2 metrics" in r.getMessage()]) == 1


def test_what_was_taken_stays_among_the_totals():
    some = Tally()
    some.add(MAILS, 2)
    assert some.take()[MAILS].total == 2
    assert some.take() == {}
    some.add(MAILS, 3)
    assert some.totals()[MAILS].total == 5


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "not finite"),
        (float("inf"), "not finite"),
        (10**400, "not finite"),
        (-1, "a counter never falls"),
        ("7", "a value is a number"),
        (True, "a value is a number"),
        (None, "a value is a number"),
    ],
)
def test_values_that_make_no_sense_are_left_out_and_told_of_once(value, said, caplog):
    caplog.set_level(logging.ERROR, "chancy.metrics")
    for _ in range(3):
        count("acme.mails", value)
    assert process.here.take() == {}
    (told,) = [record.getMessage() for record in caplog.records]
    assert said in told
    assert "acme.mails" in told


@pytest.mark.parametrize(
    ("name", "labels", "said"),
    [
        ("", None, "a name has 1 to 200"),
        ("1st", None, "a name has 1 to 200"),
        (None, None, "a name has 1 to 200"),
        ("a" * 201, None, "a name has 1 to 200"),
        ("jobs.finished", None, "begin the names of Chancy's own"),
        ("a", {"worker": "x"}, "is not 'worker'"),
        ("a", {"no space": "x"}, "a label has 1 to 40"),
        ("a", {"user": 7}, "is to be a text"),
        ("a", {"user": "\0"}, "is to be a text"),
        ("a", {"user": "\ud800"}, "is to be a text"),
        ("a", {"user": "x" * 700}, "more than 600 bytes"),
        ("a", {"user": []}, "are texts"),
        ("a", "user", "labels are a mapping"),
    ],
)
def test_names_and_labels_that_make_no_sense_are_left_out(name, labels, said, caplog):
    gauge(name, 1, labels=labels)
    assert process.here.take() == {}
    assert said in caplog.text
    with pytest.raises(InvalidValue, match=said):
        theirs(MetricKind.GAUGE, name, "", labels)


def test_each_kind_is_put_together_in_its_own_way():
    for value in (3, 1, 2):
        count("acme.c", value)
        gauge("acme.g", -value, unit="°C")
        observe("acme.h", value, labels={"b": "1", "a": "2"})
    found = {(key.kind, key.name): (key, cell) for key, cell in process.here.take().items()}
    assert found[MetricKind.COUNTER, "acme.c"][1].total == 6
    key, cell = found[MetricKind.GAUGE, "acme.g"]
    assert (key.unit, cell.latest, cell.low, cell.high) == ("°C", -2, -3, -1)
    key, cell = found[MetricKind.HISTOGRAM, "acme.h"]
    assert key.labels == (("a", "2"), ("b", "1"))
    assert (cell.count, sum(cell.buckets.values())) == (3, 3)


def test_a_name_that_is_recorded_in_two_ways_is_two_metrics():
    count("acme.both", 2)
    gauge("acme.both", 7)
    found = {key.kind: cell.total for key, cell in process.here.take().items()}
    assert found == {MetricKind.COUNTER: 2, MetricKind.GAUGE: 7}


# -- what waits to be written ----------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["put", "fail", "write"]), st.integers(1, 9))))
def test_each_amount_is_sent_and_what_was_sent_stays_as_it_is(steps) -> None:
    """Whatever fails how often: under each number the same is sent, and all of it in the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "MOST_BATCHES", 1)
        _send(steps)


def _send(steps) -> None:
    outbox, put = Outbox(), 0
    sent: dict[int, float] = {}
    for what, amount in [*steps, *[("write", 0)] * (len(steps) + 1)]:
        if what == "put":
            cell = Cell()
            cell.add(amount)
            outbox.put({MAILS: cell}, 0.0)
            put += amount
        elif (batch := outbox.next()) is not None:
            assert sent.setdefault(batch.number, batch.cells[MAILS].total) == (
                batch.cells[MAILS].total
            )
            if what == "write":
                outbox.written(batch)
    assert sum(sent.values()) == put
    assert list(sent) == sorted(sent)


def test_what_waits_is_bounded_and_nothing_is_lost():
    outbox = Outbox()
    for _ in range(10 * MOST_BATCHES):
        cell = Cell()
        cell.add(1)
        outbox.put({MAILS: cell}, 0.0)
    assert len(outbox) == MOST_BATCHES
    total = 0.0
    while (batch := outbox.next()) is not None:
        total += batch.cells[MAILS].total
        outbox.written(batch)
    assert total == 10 * MOST_BATCHES


# -- in words --------------------------------------------------------------------------------------


def test_sparklines():
    assert sparkline([]) == ""
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([5, None, 5]) == "█ █"
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([-1, 1]) == "▁█"
    assert len(sparkline(list(range(1_000)))) == 40


@given(st.lists(st.one_of(st.none(), st.floats(-1e9, 1e9)), max_size=200))
def test_a_sparkline_is_as_wide_as_there_is_room(values) -> None:
    assert len(sparkline(values)) == min(40, len(values))


def test_numbers_and_spans():
    assert number(0.0342, "s") == "34.2 ms"
    assert number(0.0000021, "s") == "2.1 µs"
    assert number(3, "s") == "3 s"
    assert number(5_100_000, "bytes") == "5.1 MB"
    assert number(1234, "") == "1,234"
    assert number(1234.5, "") == "1,234"
    assert number(None, "s") == ""
    assert span("90s") == timedelta(seconds=90)
    assert span("1.5h") == timedelta(minutes=90)
    assert span("2d") == timedelta(days=2)
    for wrong in ("", "7", "h", "-1h", "0s", "1 year", "9999999w"):
        with pytest.raises(InvalidValue, match="a span of time"):
            span(wrong)
