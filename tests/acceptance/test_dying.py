"""Workers that are killed, in processes of their own: what they held runs again, once or never."""

import signal
from collections import Counter
from itertools import count

import pytest

from chancy import Chancy, Job, Queue, State
from tests.fleet import Fleet, until

pytestmark = pytest.mark.slow

BACKENDS = ("asyncio", "trio", "asyncio")


def test_the_jobs_of_one_of_three_killed_workers_run_again_within_15_seconds(dsn, tmp_path):
    log, go = tmp_path / "log", tmp_path / "go"
    queue = Queue("q", executor="async", concurrency=34)
    hold = Job("member.hold", kwargs={"log": str(log), "until": str(go)}, queue="q")
    with Chancy(dsn) as chancy, Fleet(dsn) as fleet:
        chancy.sync_declare(queue)
        references = chancy.sync_push_many([hold] * 100)
        for name, backend in zip("abc", BACKENDS, strict=True):
            fleet.start(name, backend)
        until(lambda: log.exists() and log.read_text().count("\n") == 100, 30, "100 jobs run")
        chancy.sync_declare(queue.options(concurrency=100), upsert=True)  # room for the orphans
        held = fleet.running()
        assert {name: len(ids) >= 32 for name, ids in held.items()} == dict.fromkeys("abc", True)
        orphans = held["b"]
        killed_at = fleet.one("SELECT clock_timestamp()")
        fleet.processes["b"].kill()
        until(
            lambda: log.read_text().count("\n") == 100 + len(orphans), 30, "all orphans run again"
        )
        go.touch()
        jobs = chancy.sync_wait_for_jobs(references, timeout=20)
    assert {job.state for job in jobs} == {State.SUCCEEDED}
    ran = Counter(log.read_text().split())
    for job in jobs:
        again = job.id in orphans
        counted = (job.claims, job.attempts, job.crashes, ran[str(job.id)])
        assert counted == ((2, 1, 1, 2) if again else (1, 1, 0, 1))
    last = max((job.started_at - killed_at).total_seconds() for job in jobs if job.crashes)
    print(f"the last of {len(orphans)} orphans began {last:.2f} s after the kill")
    assert last <= 15


@pytest.mark.parametrize("executor", ["async", "thread"])
def test_a_job_that_kills_its_worker_is_quarantined_after_three_and_no_neighbour_is(
    dsn, tmp_path, executor
):
    log, go = tmp_path / "log", tmp_path / "go"
    hold = Job("member.hold", kwargs={"log": str(log), "until": str(go)}, queue="q")
    poison = Job("member.poison", queue="q")
    names = (f"w{n}" for n in count())
    with Chancy(dsn) as chancy, Fleet(dsn) as fleet:
        chancy.sync_declare(Queue("q", executor=executor, concurrency=8))
        # One worker dies with seven of them; eight fill the other, and five its replacement,
        # which has slots left for suspects.
        references = chancy.sync_push_many([hold] * 5 + [poison] + [hold] * 15)
        culprit = references.pop(5)

        def start_anew() -> None:
            name = next(names)
            process = fleet.start(name, BACKENDS[int(name[1:]) % 2], lease=1.5)
            alive.append(process)

        def quarantined() -> bool:
            """Whether it is; restart meanwhile, as a supervisor would, those that died."""
            for process in alive[:]:
                if (status := process.poll()) is not None:
                    assert status == -signal.SIGKILL
                    alive.remove(process)
                    start_anew()
            return chancy.sync_get_job(culprit).state.finished

        alive = []
        start_anew()
        start_anew()
        until(quarantined, 40, "the culprit is quarantined")
        go.touch()
        jobs = chancy.sync_wait_for_jobs(references, timeout=30)
        bad = chancy.sync_get_job(culprit)
        deaths = len(fleet.processes) - len(alive)
    assert (bad.state, bad.crashes, bad.claims, bad.attempts) == (State.QUARANTINED, 3, 3, 0)
    assert deaths in {2, 3}  # the third may not have been replaced yet
    assert {(job.state, job.attempts) for job in jobs} == {(State.SUCCEEDED, 1)}
    charged = Counter(job.crashes for job in jobs)
    print(f"neighbours by how often they were charged: {dict(charged)}")
    assert charged.keys() == {0, 1}
    assert all(job.claims == job.crashes + 1 for job in jobs)
