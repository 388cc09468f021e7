"""The network swallows what is sent, and says nothing: a black hole."""

import time

import pytest

from chancy import Queue
from tests.faults.scenario import Scenario, scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

LONG = Queue("long", executor="async", concurrency=50, polling_interval=1)
QUEUES = (Queue("q", executor="async", concurrency=20, polling_interval=1), LONG)


def test_a_black_hole(cluster, way, tmp_path):
    """B1, B2: all connections are half open for ever; new ones work: back within 15 seconds.

    No keepalive helps: whoever swallows the data, such as a proxy, acknowledges every packet.
    """
    seconds = []
    with scenario(
        "black hole", way.dsn(cluster.dsn), tmp_path, direct=cluster.dsn, queues=QUEUES
    ) as run:  # fmt: skip
        run.man(2)
        for _ in range(size(2, 50)):
            run.push(run.jobs("work", 20, queue="long", seconds=0.5))
            run.push(run.jobs("work", 100, seconds=0.05))
            time.sleep(run.armada.random.uniform(0, 0.3))
            way.lose()
            seconds.append(_back_to_normal(run))
        assert not run.armada.look(), "a worker ended"
        found = run.judged()
    figure("black hole: seconds until jobs are begun and ended", [round(s, 1) for s in seconds])
    assert max(seconds) <= 15
    ended = [move for move in found.moved if move.op == "finished"]
    assert {move.new for move in ended} == {"succeeded"}


def _back_to_normal(run: Scenario) -> float:
    """Push one more job, and return after how many seconds all have ended."""
    began = time.monotonic()
    run.push(run.jobs("work", 1))
    run.drained(40)
    return time.monotonic() - began


def test_a_network_that_comes_back(cluster, way, tmp_path):
    """For longer than a lease nothing arrives, then all of it: nobody is robbed by a deaf peer."""
    with scenario(
        "deaf for a while", way.dsn(cluster.dsn), tmp_path, direct=cluster.dsn, queues=QUEUES,
        lease=2.0,
    ) as run:  # fmt: skip
        run.man(2)
        for _ in range(size(1, 10)):
            run.push(run.jobs("work", 40, queue="long", seconds=6.0))
            until(lambda: len(run.record.read()) > 40, 20, "they run")
            way.freeze()
            time.sleep(4)
            way.thaw()
            run.drained(60)
        assert not run.armada.look(), "a worker ended"
        found = run.judged()
    assert {move.crashes for move in found.moved} == {0}
