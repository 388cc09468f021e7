"""Unique keys, rates and order while workers and producers are killed."""

import time
from collections.abc import Iterator

import pytest

from chancy import Queue
from tests.faults.history import Limit
from tests.faults.scenario import Scenario, scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

KEYS = 12
LIMITED = Queue(
    "limited", executor="async", concurrency=20, polling_interval=1, rate_limit=40,
    rate_limit_window=1.0,
)  # fmt: skip
QUEUES = [Queue("q", executor="async", concurrency=10, polling_interval=1), LIMITED]


def _killing(run: Scenario, kills: int, producers: int) -> Iterator[int]:
    """Kill one of the workers or producers again and again, and replace it."""
    crew = run.armada.start(4)
    pushing = {m.name for m in run.armada.start(producers, produces=KEYS)}
    until(lambda: run.left() > 0, 20, "producers push")
    for n in range(kills):
        time.sleep(run.armada.random.uniform(0.05, 0.25))
        victim = run.armada.pick()
        run.armada.kill(victim)
        until(lambda: (run.armada.look(), victim.status is not None)[1], 5, "it is dead")  # noqa: B023
        if victim.name in pushing:
            pushing |= {m.name for m in run.armada.start(1, produces=KEYS)}
        else:
            crew += run.armada.start(1)
        yield n
    for member in [m for m in run.armada.members.values() if m.name in pushing]:
        run.armada.kill(member)


def test_keys_and_rates_under_kills(dsn, tmp_path):
    """I9, I11: two producers fight for a few keys; all of them, and the workers, are killed."""
    kills = size(24, 300)
    limit = Limit("limited", 40, 1.0, LIMITED.rate_limit_burst or 0)
    with scenario(
        "keys and rates", dsn, tmp_path, queues=QUEUES, lease=1.6,
        chancy={"crash_limit": 1_000}, known={"crash_limit": 1_000, "limits": (limit,)},
    ) as run:  # fmt: skip
        for _ in _killing(run, kills, 2):
            run.push(run.jobs("linger", 6, seconds=0.1, queue="limited"))
        run.drained(60, workers=3)
        found = run.judged()
    keyed = [m for m in found.moved if m.op == "came" and m.unique_key is not None]
    acked = {event.label for event in found.of_kind("acked")}
    doubt = {event.label for event in found.of_kind("pushing") if event.label} - acked
    figure("keys: kills, keyed jobs, pushes in doubt", [kills, len(keyed), len(doubt)])
    assert len(keyed) > KEYS
    assert {m.backend for m in run.armada.ended if m.status == -9} == {"asyncio", "trio"}
    assert {move.new for move in found.moved if move.op == "finished"} == {"succeeded"}


def test_order_under_kills(dsn, tmp_path):
    """I12: one worker with one slot, killed again and again: in the order of the pushes."""
    kills = size(6, 60)
    queue = Queue("q", executor="async", concurrency=1, polling_interval=1)
    with scenario(
        "order", dsn, tmp_path, queues=[queue], lease=1.0, chancy={"crash_limit": 1_000},
        known={"crash_limit": 1_000, "in_order": frozenset({"q"})},
    ) as run:  # fmt: skip
        run.man(1)
        for _ in range(kills):
            run.push(run.jobs("linger", 30, seconds=0.02))
            time.sleep(run.armada.random.uniform(0.1, 0.5))
            victim = run.armada.pick()
            run.armada.kill(victim)
            until(lambda: run.armada.replace(1), 5, "it is dead")
        run.drained(60)
        found = run.judged()
    assert {m.backend for m in run.armada.ended if m.status == -9} == {"asyncio", "trio"}
    assert {move.new for move in found.moved if move.op == "finished"} == {"succeeded"}
