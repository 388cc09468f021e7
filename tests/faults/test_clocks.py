"""Workers whose clocks are wrong, by an hour and by a day, or are set while they work."""

from datetime import UTC, datetime, timedelta

import pytest

from chancy import Queue
from tests.faults.history import Limit
from tests.faults.scenario import scenario
from tests.faults.sizes import figure, size

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

HOUR, DAY = 3600.0, 86400.0
#: By how much a clock is wrong from one half second to the next.
STEPS = [0.0, HOUR, -HOUR, DAY, -DAY, 5.0, -5.0]
LIMITED = Queue(
    "limited", executor="async", concurrency=20, polling_interval=1, rate_limit=30,
    rate_limit_window=1.0,
)  # fmt: skip
QUEUES = [Queue("q", executor="async", concurrency=10, polling_interval=1), LIMITED]


def test_clocks_that_are_wrong(dsn, tmp_path):
    """D1, D2: only the database's clock counts, for leases, rates and what is due."""
    rounds = size(1, 10)
    limit = Limit("limited", 30, 1.0, LIMITED.rate_limit_burst or 0)
    with scenario(
        "clocks", dsn, tmp_path, queues=QUEUES, lease=2.0, chancy={"crash_limit": 1_000},
        known={"crash_limit": 1_000, "limits": (limit,)},
    ) as run:  # fmt: skip
        wrong = [run.armada.raise_nursery(ahead=a) for a in (HOUR, -HOUR, DAY, -DAY, 0.0)]
        steps = {"attacked_by": ["tests.faults.clocks:step"], "steps": STEPS}
        for n in range(rounds):
            crew = [
                *(m for nursery in wrong[:4] for m in run.man(1, nursery=nursery)),
                *run.man(2, nursery=wrong[4], **steps),
            ]
            run.push(run.jobs("linger", 120, seconds=0.1))
            run.push(run.jobs("linger", 60, seconds=0.05, queue="limited"))
            due = {"scheduled_at": datetime.now(UTC) + timedelta(seconds=2)}
            run.push(run.jobs("linger", 30, seconds=0.0, options=due))
            # Each in its turn dies with jobs that those with other clocks must take back.
            for member in crew[n % 2 :: 2]:
                run.push(run.jobs("linger", 20, seconds=0.3))
                run.armada.kill(member)
            run.drained(60)
            run.armada.stop()
        found = run.judged()
        early = run.rows("SELECT id FROM chancy_history WHERE started_at < scheduled_at")
        strange = run.rows(
            """SELECT id FROM chancy_history WHERE greatest(created_at, started_at, finished_at)
                    > clock_timestamp() OR least(started_at, finished_at) < created_at"""
        )
    figure("clocks: workers, stepped", [len(run.armada.ended), 2 * rounds])
    assert not early
    assert not strange, "a time in the database is by a worker's clock"
    assert {m.backend for m in run.armada.ended} == {"asyncio", "trio"}
    assert {move.new for move in found.moved if move.op == "finished"} == {"succeeded"}
    assert any(move.crashes for move in found.moved)
