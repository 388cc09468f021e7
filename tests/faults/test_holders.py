"""Jobs that may begin once, that must not run twice, and that are cancelled as they end."""

import time
from uuid import UUID

import pytest

from chancy import Queue
from tests.faults.scenario import scenario
from tests.faults.sizes import figure, size
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]


def test_what_may_begin_once_begins_once_under_kills(dsn, tmp_path):
    """I7: whoever is killed; what had begun is lost, and said to be."""
    kills = size(30, 300)
    with scenario(
        "at most once", dsn, tmp_path, lease=1.2, chancy={"crash_limit": 1_000},
        known={"crash_limit": 1_000},
    ) as run:  # fmt: skip
        run.man(4)
        once = {"at_most_once": True}
        for _ in range(kills):
            run.push(run.jobs("linger", 30, seconds=0.3, options=once))
            time.sleep(run.armada.random.uniform(0, 0.2))
            run.armada.kill(run.armada.pick())
            until(lambda: run.armada.replace(4), 5, "it is dead")
        run.drained(60, workers=4)
        found = run.judged()
    ended = [move.new for move in found.moved if move.op == "finished"]
    figure("at most once: kills, succeeded, lost", [
        kills, ended.count("succeeded"), ended.count("lost"),
    ])  # fmt: skip
    assert set(ended) == {"succeeded", "lost"}
    assert ended.count("lost") >= kills / 2


def test_an_exclusive_job_ends_before_its_lease_does(dsn, tmp_path):
    """A9: its worker cannot renew: it ends the job while that is still its own."""
    times, lease = size(2, 20), 3.0
    with scenario("exclusive", dsn, tmp_path, lease=lease) as run:
        for _ in range(times):
            run.man(2, attacked_by=["tests.faults.holding:stop_renewing"], after=1.0)
            (reference,) = run.push(
                run.jobs("linger", 1, seconds=60.0, options={"exclusive": True})
            )
            until(lambda: run.rows("SELECT 1 FROM chancy_jobs WHERE state = 'running'"), 5, "runs")
            run.man(2)
            run.drained(30)
            job = run.chancy.sync_get_jobs([reference])[0]
            assert job.state.value == "succeeded"
            for member in list(run.armada.members.values()):
                run.armada.kill(member)
            until(lambda: (run.armada.look(), not run.armada.members)[1], 5, "all are gone")
        alive = "SELECT 1 FROM chancy_workers WHERE expires_at > now()"
        until(lambda: not run.rows(alive), lease + 5, "their leases run out")
        found = run.judged()
    ends = [event for event in found.of_kind("end") if event.what["how"] == "cancelled"]
    again = [move for move in found.moved if move.new == "running" and move.claims > 1]
    assert len(ends) >= times
    for end in ends:
        after = [move.at - end.at for move in again if move.job == end.job and move.at > end.at]
        assert after, "it began elsewhere before it ended"
    figure("exclusive: rounds", times)


@pytest.mark.parametrize("executor", ["async", "process", "thread"])
def test_a_job_that_is_cancelled_as_it_ends(dsn, tmp_path, executor):
    """G2: it ends in one way or the other, and no job beside or after it hears of it."""
    number = size(170, 1_700)
    func = "work" if executor == "async" else "toil"
    queue = Queue("q", executor=executor, concurrency=4, polling_interval=1)
    with scenario(f"cancelled as it ends, {executor}", dsn, tmp_path, queues=[queue]) as run:
        run.man(2)
        aimed: list[UUID] = []
        while len(aimed) < number:
            jobs = run.push(run.jobs(func, 20, seconds=0.02))
            victims = jobs[::2]
            aimed += [reference.id for reference in victims]
            time.sleep(run.armada.random.uniform(0, 0.04))
            run.chancy.sync_cancel_jobs([reference.id for reference in victims])
            run.drained(20)
        found = run.judged()
    ends = {move.job: move.new for move in found.moved if move.op == "finished"}
    hit = [ends[job] for job in aimed]
    beside = {state for job, state in ends.items() if job not in set(aimed)}
    figure(f"cancelled as it ends, {executor}: aimed at, cancelled", [
        len(hit), hit.count("cancelled"),
    ])  # fmt: skip
    assert beside == {"succeeded"}, "a neighbour was hit"
    assert set(hit) == {"succeeded", "cancelled"}
