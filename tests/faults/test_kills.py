"""Workers that are killed at random, by hundreds: nothing is lost, and each attempt ends once."""

import pytest

from tests.faults.scenario import Scenario, scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

WORKERS = 4


def at_work(run: Scenario) -> bool:
    """Whether any job runs: a worker that is killed while it starts costs nothing."""
    return bool(run.rows("SELECT FROM chancy_jobs WHERE state = 'running' LIMIT 1"))


def test_kill_9_at_random(dsn, tmp_path):
    """A1: while jobs come, run, and are rolled back, workers are killed and replaced."""
    kills, jobs = size(50, 1_000), size(20_000, 200_000)
    with scenario(
        "kill -9", dsn, tmp_path, lease=2.0, chancy={"crash_limit": 1_000},
        known={"crash_limit": 1_000},
    ) as run:  # fmt: skip
        run.armada.start(WORKERS)
        pushed = killed = 0
        while killed < kills or pushed < jobs:
            if pushed < jobs:
                run.push_and_roll_back(*run.jobs("work", 1))
                pushed += len(
                    run.push(run.jobs("work", jobs // kills, options={"max_attempts": 3}))
                )
            if killed < kills:
                until(lambda: at_work(run) or not run.left(), 30, "somebody is at work")
                run.armada.kill(run.armada.pick())
                killed += 1
            run.armada.replace(WORKERS)
        run.drained(120)
        found = run.judged()
        crashes = sum(move.crashes for move in found.moved if move.op == "finished")
        figure("kill -9: kills, jobs whose worker died", [killed, crashes])
        assert {move.new for move in found.moved if move.op == "finished"} == {"succeeded"}
        assert crashes > 0
