"""Workers that are told to stop at any moment: they leave in time, and take nothing with them."""

import signal
import time
from collections import Counter

import pytest

from chancy import Queue
from tests.faults.armada import Member
from tests.faults.scenario import Scenario, scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

WORKERS, GRACE = 4, 0.6
#: How a worker is told, in turns, and within how many seconds it is to leave.
WAYS = (
    ([signal.SIGTERM], GRACE + 1),
    ([signal.SIGINT], GRACE + 1),
    ([signal.SIGTERM, signal.SIGTERM], 1.0),
    ([signal.SIGTERM, signal.SIGINT], 1.0),
)
QUEUES = [
    Queue("q", executor="async", concurrency=10, polling_interval=1),
    Queue("threads", executor="thread", concurrency=4, polling_interval=1),
    Queue("children", executor="process", concurrency=2, polling_interval=1),
]
#: What is there under the name of a worker that has left, or in the hands of nobody.
LEFT = """
    SELECT 'the row of ' || name FROM chancy_workers WHERE pid = ANY(%(pids)s) UNION ALL
    SELECT 'job ' || id FROM chancy_jobs WHERE state = 'running'
       AND NOT EXISTS (SELECT FROM chancy_workers w WHERE w.id = worker)
"""
ALIVE = "SELECT pid FROM chancy_workers"
#: Those that are still there when a second signal comes: who has nothing to do leaves at the first.
BUSY = """
    SELECT DISTINCT w.pid FROM chancy_workers w JOIN chancy_jobs j ON j.worker = w.id
     WHERE j.state = 'running' AND (j.args ->> 'seconds')::float > 2
       AND now() - j.started_at < interval '1 second'
"""


def test_signals_at_random_moments(dsn, tmp_path):
    """A7, G6, W22: under load, on every executor; no outcome is lost, and nobody is left over."""
    stops = size(20, 500)
    took: dict[str, list[float]] = {}
    with scenario("signals", dsn, tmp_path, queues=QUEUES, grace=GRACE) as run:
        run.armada.start(WORKERS)
        for n in range(stops):
            _load(run)
            time.sleep(run.armada.random.uniform(0, 0.3))
            numbers, within = WAYS[n % len(WAYS)]
            member = _pick(run, BUSY if len(numbers) > 1 else ALIVE)
            seconds = _stop(run, member, numbers, within)
            took.setdefault("+".join(number.name for number in numbers), []).append(seconds)
            run.armada.start()
        run.drained(60)
        found = run.judged()
    figure("signals: the longest that a worker took to leave", {k: max(v) for k, v in took.items()})
    ended = {move.new_lease for move in found.moved if move.op == "finished"}
    done = [event for event in found.of_kind("end") if event.what["how"] == "ok"]
    # What a function that blocks returns after its worker has left it behind is thrown away.
    done = [event for event in done if not event.what.get("deaf")]
    lost = [str(event) for event in done if event.lease not in ended]
    assert not lost, "they ended, and their outcome was lost"
    assert Counter(m.status for m in run.armada.ended) == {0: stops + WORKERS}
    assert {m.backend for m in run.armada.ended[:stops]} == {"asyncio", "trio"}
    assert {move.crashes for move in found.moved} == {0}
    assert {move.new for move in found.moved if move.op == "finished"} == {"succeeded"}


def _pick(run: Scenario, among: str) -> Member:
    """One that is at work: who has not begun yet does not listen yet."""
    until(lambda: len(run.rows(ALIVE)) == WORKERS, 30, "all work")
    run.push(run.jobs("linger", 2, seconds=3.0))
    found: list[Member] = []

    def look() -> bool:
        found.extend(run.armada.members[pid] for (pid,) in run.rows(among))
        return bool(found)

    until(look, 30, "some have much to do")
    return run.armada.random.choice(found)


def _load(run: Scenario) -> None:
    """Jobs of all lengths: some end at once, some in the grace period, some must be cancelled."""
    jobs = []
    for seconds in (0, 0.1, 0.4, 0.8, 3.0):
        jobs += run.jobs("linger", 4, seconds=seconds)
        jobs += run.jobs("toil", 1, seconds=min(seconds, 0.4), queue="threads")
        jobs += run.jobs("toil", 1, seconds=min(seconds, 0.4), queue="children")
    run.push(jobs)


def _stop(run: Scenario, member: Member, numbers: list[signal.Signals], within: float) -> float:
    """Tell one to stop; answers how long it took, and sees that nothing of it is left."""
    for n, number in enumerate(numbers):
        if n:  # two signals that come at once are one
            heard = f" {member.pid} chancy.worker SIG"
            until(lambda heard=heard: run.armada.logged(heard), 5, "it has heard the first")
        run.armada.terminate(member, number)
    took = until(lambda: (run.armada.look(), member.status is not None)[1], 30, f"{member} leaves")
    assert took <= within, f"{member} took {took:.2f} s to leave"
    left = run.rows(LEFT, pids=[member.pid])
    assert not left, f"{member} has left behind {left}"
    return round(took, 2)
