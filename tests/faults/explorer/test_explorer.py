"""All orders of what two and three sessions do keep the promise; broken statements do not."""

import time

import pytest
from attrs import evolve

from tests.faults.explorer.laws import wrong
from tests.faults.explorer.operations import HELD_UP
from tests.faults.explorer.play import Player
from tests.faults.explorer.played import Programme, shown
from tests.faults.explorer.search import Finding, findings, pairs, triples
from tests.faults.sizes import RELEASE, figure, size

#: Statements without a guard, and where that shows.
BROKEN = {
    "a claim locks nothing": (
        "pending claim claim",
        {"claim": ("FOR UPDATE SKIP LOCKED", "")},
        "granted to another",
    ),
    "an outcome needs no lease": (
        "orphaned succeed rescue",
        {"finish": ("AND job.lease_id = outcome.lease_id", "")},
        "went from pending to succeeded",
    ),
    "another attempt needs no lease": (
        "orphaned fail rescue",
        {"requeue": ("AND job.lease_id = outcome.lease_id", "")},
        "went from pending to scheduled",
    ),
    "a job completes itself without its lease": (
        "orphaned complete rescue",
        {"complete": ("AND lease_id = %(lease_id)s AND state = 'running'", "")},
        "went from pending to succeeded",
    ),
    "the living are rescued": (
        "pending claim rescue",
        {"rescue": ("WHERE w.id = job.worker AND NOT w.dead", "WHERE w.dead IS NULL")},
        "taken from a worker that lives",
    ),
    "a late renewal is believed": (
        "orphaned renew rescue",
        {"renew": ("AND NOT dead", "")},
        "renewed its lease, and its jobs were taken",
    ),
    "a pause is overlooked": (
        "pending pause claim",
        {"claim": ("(q.state = 'active' OR q.resume_at <= {now}())", "true")},
        "claimed of a queue that had been paused",
    ),
    "a limit is not charged": (
        "limited claim_limited claim_limited",
        {"rate_charge": ("WHERE queue = %(queue)s", "WHERE queue = %(queue)s AND false")},
        "2 jobs were begun, and one was allowed",
    ),
    "a marked job is tried again": (
        "running cancel fail",
        {"requeue": ("AND NOT job.cancelling", "")},
        "is wanted cancelled, and is pending",
    ),
    "jobs are locked as they come": (
        "pending cancel_undone cancel cancel",
        {"cancel": ("BY id FOR", "BY array_position(%(ids)s::uuid[], id) FOR")},
        "DeadlockDetected",
    ),
}

#: Orders in which something was wrong once.
ONCE_WRONG = [
    "running cancel leave ABABBB",
    "mixed cancel_undone purge retry ABCA",
    "finished retry_undone purge retry ABCAAB",
    "due cancel_undone cancel delete_queue ABCA",
    "due cancel_undone retry delete_queue ABCA",
    "pending cancel_undone purge delete_queue ABCA",
    "mixed purge retry BABAA",
    "running retry succeed AABBBBA",
    "running purge succeed AABBBBA",
    "due cancel retry retry ABABBCCBB",
]


def programme(text: str) -> Programme:
    situation, *operations = text.split()
    return Programme(situation, tuple(operations))


def test_broken_statements_are_found(dsn: str) -> None:
    with Player(dsn) as player:
        for what, (text, change, says) in BROKEN.items():
            found = first(player, evolve(programme(text), change=change))
            assert found is not None, what
            assert says in str(found), f"{what}:\n{found}"
            assert first(player, programme(text)) is None, text


def first(player: Player, asked: Programme) -> Finding | None:
    return next((found for found in findings(player, asked, 60) if found), None)


@pytest.mark.parametrize("order", ONCE_WRONG)
def test_what_was_wrong_once_is_right(dsn: str, order: str) -> None:
    text, _, word = order.rpartition(" ")
    with Player(dsn) as player:
        assert not wrong(player.play(programme(text), word))


def test_a_rescue_that_is_slow_takes_nothing_from_who_came_meanwhile(dsn: str) -> None:
    """Its snapshot knows neither the new worker nor that the job has gone to it."""
    held_up = {"rescue": ("job.state = 'running'", f"job.state = 'running' AND {HELD_UP}")}
    slow = Programme("orphaned", ("hold_up", "rescue", "hand_over"), held_up)
    with Player(dsn) as player:
        played = player.play(slow, "ABBCCCCCCAB")
    assert [step.says for step in played.steps if step.behind] == ["rescue"]
    assert not wrong(played), shown(played.steps)


def test_the_shortest_beginning_is_told(dsn: str) -> None:
    text, change, _ = BROKEN["a claim locks nothing"]
    with Player(dsn) as player:
        found = first(player, evolve(programme(text), change=change))
    assert found is not None
    assert [step.says for step in found.played.steps] == ["claim", "claim", "commit", "commit"]


@pytest.mark.faults
@pytest.mark.timeout(size(300, 3600))
def test_all_orders_keep_the_promise(dsn: str) -> None:
    began, played = time.monotonic(), 0
    wrong_ones: list[Finding] = []
    with Player(dsn) as player:
        for asked in (*pairs(thorough=RELEASE), *triples(thorough=RELEASE)):
            for found in findings(player, asked, size(20, 300)):
                played += 1
                if found is not None:
                    wrong_ones.append(found)
            assert len(wrong_ones) < 10, "\n\n".join(map(str, wrong_ones))
    figure("orders of steps played by the explorer", played)
    figure("seconds that an order took", round((time.monotonic() - began) / played, 4))
    assert not wrong_ones, "\n\n".join(map(str, wrong_ones))
    assert played >= size(5_000, 50_000)
