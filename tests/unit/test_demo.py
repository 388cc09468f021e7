"""What `chancy demo` makes of the rows, and how it speaks."""

import io
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from chancy import QueuedJob, Reference, State
from chancy_core.cli.demo import report
from chancy_core.cli.demo.crew import Hand
from chancy_core.cli.demo.figures import Performance, Spread
from chancy_core.cli.demo.stage import Stage
from chancy_core.cli.demo.standing import Group, Standing
from chancy_core.cli.demo.telling import Teller

ADA, BOB, CLEO = uuid4(), uuid4(), uuid4()
STAGE = Stage(["a.py", "b.py"])
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
FOUND = {"lines": 7, "hashes": "ab", "tokens": 9}


def ended(number: int) -> QueuedJob:
    """Return one of the stage's jobs, as it should end: 1 s after its push, after 0.5 s."""
    asked = STAGE.jobs()[number]
    return QueuedJob(
        func=asked.func,
        kwargs=asked.kwargs,
        queue=asked.queue,
        meta=dict(asked.meta),
        id=UUID(int=number),
        state=State.SUCCEEDED,
        claims=1,
        attempts=2 if asked.meta else 1,
        worker=[ADA, BOB, CLEO][number % 3],
        created_at=BEGAN,
        started_at=BEGAN + timedelta(seconds=1),
        finished_at=BEGAN + timedelta(seconds=1.5),
        returned=FOUND[asked.queue],
    )


@pytest.fixture
def shown() -> Performance:
    jobs = [ended(number) for number in range(6)]
    jobs[1] = evolve(jobs[1], crashes=1, claims=2)
    return Performance(
        files=STAGE.files,
        queues=STAGE.queues,
        pushed=[Reference(job.id) for job in jobs],
        jobs=jobs,
        plain={name: dict.fromkeys(STAGE.files, what) for name, what in FOUND.items()},
        workers={ADA: "ada", BOB: "bob", CLEO: "cleo"},
        killed="ada",
        replacement="cleo",
        seconds=3.21,
    )


def changed(shown: Performance, number: int, **changes: object) -> Performance:
    jobs = list(shown.jobs)
    jobs[number] = evolve(jobs[number], **changes)
    return evolve(shown, jobs=jobs)


def wrong(shown: Performance) -> list[str]:
    return [check.what for check in shown.figures().checks if not check.holds]


def test_what_is_as_it_must_be_agrees(shown):
    figures = shown.figures()
    assert figures.agreed
    assert not wrong(shown)
    assert (figures.files, figures.jobs, figures.lines, figures.tokens) == (2, 6, 14, 18)
    assert (figures.retries, figures.crashes, figures.seconds) == (1, 1, 3.2)


def test_shares_are_by_worker_and_executor(shown):
    shares = {(s.worker, s.executor): s for s in shown.figures().shares}
    assert {key: s.jobs for key, s in shares.items()} == {
        ("ada", "async"): 2,
        ("bob", "thread"): 2,
        ("cleo", "process"): 2,
    }
    assert shares["ada", "async"].retries == 1
    assert shares["bob", "thread"].crashes == 1
    assert shares["ada", "async"].wait == Spread(1.0, 1.0)
    assert shares["ada", "async"].run == Spread(0.5, 0.5)


def test_who_was_begun_twice_does_not_count_as_having_waited(shown):
    late = BEGAN + timedelta(seconds=60)
    shares = (
        changed(shown, 1, started_at=late, finished_at=late + timedelta(seconds=0.5))
        .figures()
        .shares
    )
    assert {s.wait for s in shares} == {Spread(1.0, 1.0)}
    assert {s.run for s in shares} == {Spread(0.5, 0.5)}


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("no job is lost", lambda s: evolve(s, jobs=s.jobs[:-1])),
        ("no job is lost", lambda s: evolve(s, jobs=[*s.jobs, s.jobs[0]])),
        ("no job is lost", lambda s: changed(s, 3, state=State.FAILED)),
        ("each file is counted", lambda s: changed(s, 3, kwargs={"path": "a.py"})),
        ("each file is counted", lambda s: evolve(s, files=[*s.files, "c.py"])),
        ("the totals", lambda s: changed(s, 3, returned=8)),
        ("those that were told to fail", lambda s: changed(s, 0, attempts=1)),
        ("those that were told to fail", lambda s: changed(s, 2, attempts=2)),
        ("jobs of the killed worker", lambda s: changed(s, 1, crashes=0)),
        ("the replacement", lambda s: changed(changed(s, 2, worker=ADA), 5, worker=ADA)),
    ],
)
def test_what_is_wrong_is_told(shown, what, change):
    performance = change(shown)
    assert not performance.figures().agreed
    assert any(told.startswith(what) for told in wrong(performance))
    told = io.StringIO()
    report.show(Console(file=told, width=80), performance.figures())
    assert f"WRONG  {what}" in told.getvalue()
    assert told.getvalue().endswith("The totals do not agree.\n")


def test_the_table_fits_a_terminal_and_has_all(shown):
    told = io.StringIO()
    report.show(Console(file=told, width=80), shown.figures())
    lines = told.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines]
    assert ["ada", "async", "2", "1", "0", "1.0", "1.0", "500", "500"] in rows
    assert ["all", "6", "1", "1"] in rows
    assert lines[-1] == "The totals agree."


def test_the_figures_as_json(shown):
    document = json.loads(report.as_json(shown.figures()))
    assert document["agreed"] is True
    assert document["shares"][0]["run"] == {"p50": 0.5, "p99": 0.5}


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_half_take_at_most_p50_and_all_but_a_hundredth_p99(times):
    spread = Spread.of(times)
    for most, part in ((spread.p50, 0.5), (spread.p99, 0.99)):
        assert most in times
        assert sum(time <= most for time in times) >= part * len(times)
        assert sum(time < most for time in times) < part * len(times)


def test_nothing_has_no_spread():
    assert Spread.of([]) is None


class Process:
    pid = 4711


def teller(*, terminal: bool) -> tuple[Teller, io.StringIO]:
    told = io.StringIO()
    return Teller(Console(file=told, width=100, force_terminal=terminal, color_system=None)), told


def play(teller: Teller) -> None:
    """Tell something: a bar is half full, ada was killed, and bob works."""
    ada, bob = Hand("ada", [], Process(), id=ADA, killed=True), Hand("bob", [], Process(), id=BOB)
    bob.alive = True
    standing = Standing(
        (
            Group("lines", BOB, State.SUCCEEDED, False, 5),
            Group("lines", ADA, State.RUNNING, False, 3),
            Group("lines", BOB, State.RUNNING, True, 1),
        )
    )
    with teller:
        teller.act("An act", "What it means.")
        teller.expect(STAGE.queues, 10)
        teller.show(standing, [ada, bob])
        teller.say("something happened")


def test_on_no_terminal_each_event_is_a_line_and_nothing_else():
    speaks, told = teller(terminal=False)
    play(speaks)
    assert told.getvalue() == "\n1. An act\n   What it means.\n   0.0 s  something happened\n"


def test_on_a_terminal_bars_and_workers_are_drawn():
    speaks, told = teller(terminal=True)
    play(speaks)
    for drawn in ("lines (async)", " 5/10", "ada killed, holds 3", "bob runs 1", "happened"):
        assert drawn in told.getvalue()
