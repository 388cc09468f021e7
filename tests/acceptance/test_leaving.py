"""Workers that are told to stop, in processes of their own: they leave in time and lose nothing."""

import random
import signal
from collections import Counter
from itertools import cycle

import pytest

from chancy import Chancy, Job, Queue, State
from tests.fleet import Fleet, heard, left, until

pytestmark = pytest.mark.slow


def hold(folder) -> Job:
    files = {"log": str(folder / "log"), "until": str(folder / "go")}
    return Job("member.hold", kwargs=files, queue="q")


def nap(folder, seconds: float) -> Job:
    return Job("member.nap", kwargs={"log": str(folder / "log"), "seconds": seconds}, queue="q")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
def test_a_worker_leaves_within_its_grace_period_and_a_second(dsn, tmp_path, anyio_backend):
    with Chancy(dsn) as chancy, Fleet(dsn) as fleet:
        chancy.sync_declare(Queue("q", executor="async", concurrency=8))
        short = chancy.sync_push_many([nap(tmp_path, 0.6)] * 4)
        long = chancy.sync_push_many([hold(tmp_path)] * 4)
        waiting = chancy.sync_push_many([nap(tmp_path, 0.6)] * 4)
        process = fleet.start("w", anyio_backend, grace=1)
        until(lambda: len(fleet.running().get("w", ())) == 8, 30, "8 jobs run")
        took = left(process, signal.SIGTERM, 2)
        print(f"left after {took:.2f} s")
        assert process.returncode == 0
        heard(process, "ready", "stops", "left")
        assert took <= 1 + 1
        for references, state, counters in (
            (short, State.SUCCEEDED, (1, 1, 0)),
            (long, State.PENDING, (1, 0, 0)),
            (waiting, State.PENDING, (0, 0, 0)),
        ):
            jobs = chancy.sync_get_jobs(references)
            seen = Counter((job.state, (job.claims, job.attempts, job.crashes)) for job in jobs)
            assert seen == {(state, counters): 4}
        assert fleet.known == {}


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
def test_a_second_signal_has_a_worker_leave_at_once(dsn, tmp_path, anyio_backend):
    with Chancy(dsn) as chancy, Fleet(dsn) as fleet:
        chancy.sync_declare(Queue("q", executor="async", concurrency=8))
        references = chancy.sync_push_many([hold(tmp_path)] * 4)
        process = fleet.start("w", anyio_backend, grace=600)
        until(lambda: len(fleet.running().get("w", ())) == 4, 30, "4 jobs run")
        process.send_signal(signal.SIGTERM)
        heard(process, "ready", "stops")
        took = left(process, signal.SIGTERM, 1)
        print(f"left after {took:.2f} s")
        assert process.returncode == 0
        assert took <= 1
        jobs = chancy.sync_get_jobs(references)
    assert {(j.state, j.claims, j.attempts, j.crashes) for j in jobs} == {(State.PENDING, 1, 0, 0)}


#: So that outcomes are always waiting to be written, also when a worker is told to stop.
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_sleep(0.05); RETURN NULL; END';
CREATE TRIGGER slow AFTER INSERT ON chancy_history EXECUTE FUNCTION slow();
"""


def test_nothing_is_lost_when_workers_leave_in_the_midst_of_a_burst(dsn, tmp_path):
    rounds, grace = 10, 5
    backends = cycle(["asyncio", "trio"])
    pushed = []
    with Chancy(dsn) as chancy, Fleet(dsn) as fleet:
        chancy.sync_declare(Queue("q", executor="async", concurrency=10))
        fleet.conn.execute(SLOW)
        fleet.start("w0", next(backends), grace=grace)
        fleet.start("w1", next(backends), grace=grace)
        for number in range(rounds):
            naps = [nap(tmp_path, random.uniform(0, 0.1)) for _ in range(200)]
            pushed += chancy.sync_push_many(naps)
            fleet.start(f"w{number + 2}", next(backends), grace=grace)
            name = f"w{number}"
            until(lambda name=name: name in fleet.running(), 30, f"{name} works")
            process = fleet.processes[name]
            took = left(process, signal.SIGTERM, grace + 1)
            assert (process.returncode, took <= grace + 1) == (0, True), took
        until(lambda: fleet.one("SELECT count(*) FROM chancy_jobs") == 0, 60, "all have ended")
        ended = fleet.ask("SELECT id, state, attempts, crashes FROM chancy_history")
    assert Counter(id_ for id_, *_ in ended) == dict.fromkeys((r.id for r in pushed), 1)
    assert {tuple(how) for _, *how in ended} == {("succeeded", 1, 0)}
    ran = Counter((tmp_path / "log").read_text().split())
    assert ran == dict.fromkeys((str(reference.id) for reference in pushed), 1)
