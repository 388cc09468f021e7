"""The server ends connections, restarts, crashes, is away, is replaced: work waits and goes on."""

import time
from collections import Counter

import psycopg
import pytest

from chancy import Queue
from tests.faults.cluster import Cluster
from tests.faults.scenario import Scenario, scenario
from tests.faults.sizes import figure, size
from tests.faults.wire import wire
from tests.fleet import until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

LONG = Queue("long", executor="async", concurrency=50, polling_interval=1)
QUEUES = (Queue("q", executor="async", concurrency=20, polling_interval=1), LONG)


def _running(run: Scenario, queue: str) -> int:
    with psycopg.connect(run.direct, autocommit=True) as conn:
        (number,) = conn.execute(
            "SELECT count(*) FROM chancy_jobs WHERE queue = %s AND state = 'running'", [queue]
        ).fetchone() or (0,)
    return int(number)


def _nobody_was_robbed(run: Scenario) -> None:
    """No job that ran was failed, cancelled, or begun a second time."""
    found = run.judged()
    ended = [move for move in found.moved if move.op == "finished"]
    assert {move.new for move in ended} == {"succeeded"}
    assert {move.crashes for move in ended} == {0}
    begun = Counter(event.job for event in found.of_kind("begin"))
    assert set(begun.values()) == {1}


#: Which connections there are, by what they said last.
KINDS = {
    "LISTEN": "listener",
    "-- Renew": "heartbeat",
    "-- Claim": "claims",
    "-- Settle": "settles",
}


def _terminate_one(run: Scenario, kinds: Counter[str]) -> bool:
    """End one connection at random, whoever holds it, but the asker's own."""
    with psycopg.connect(run.direct, autocommit=True) as conn:
        rows = conn.execute(
            "SELECT pid, query FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend' ORDER BY pid"
        ).fetchall()
        if not rows:
            return False
        pid, query = run.armada.random.choice(rows)
        (done,) = conn.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone() or (False,)
    kind = next((kind for said, kind in KINDS.items() if query.startswith(said)), "other")
    kinds[kind] += bool(done)
    return bool(done)


def test_backends_are_terminated(dsn, tmp_path):
    """B1, B10, W2, W3: at random, of every kind of connection, while jobs come and run."""
    kinds: Counter[str] = Counter()
    with scenario("terminated backends", dsn, tmp_path, queues=QUEUES, lease=3.0) as run:
        run.man(4)
        run.push(run.jobs("work", 40, queue="long", seconds=3.0))
        while sum(kinds.values()) < size(100, 2_000):
            for job in run.jobs("work", 5, seconds=0.02):
                run.try_to_push(job)
            _terminate_one(run, kinds)
            time.sleep(0.02)
        run.drained(60)
        assert not run.armada.look(), "a worker ended"
        _nobody_was_robbed(run)
    figure("terminated backends, by kind", dict(kinds))
    assert kinds.keys() >= {"listener", "heartbeat", "claims", "settles"}


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_the_server_restarts(cluster, tmp_path, mode):
    """A5, B10, W9: in order, and by a crash: nobody is robbed of what he does meanwhile."""
    with scenario(f"restarts, {mode}", cluster.dsn, tmp_path, queues=QUEUES, lease=2.0) as run:
        run.man(4)
        for _ in range(size(2, 50)):
            run.push(run.jobs("work", 50, queue="long", seconds=3.0))
            run.push(run.jobs("work", 300, seconds=0.02))
            until(lambda: _running(run, "long"), 20, "they run")
            cluster.restart(mode, away=run.armada.random.uniform(0, 1))
        run.drained(60)
        assert not run.armada.look(), "a worker ended"
        _nobody_was_robbed(run)


def test_the_server_is_away_for_a_minute(cluster, tmp_path):
    """The same processes go on at the former rate within ten seconds, with all their services."""
    options = {"plugins": ["tests.faults.beating:plugin"]}
    with scenario("away", cluster.dsn, tmp_path, queues=QUEUES, chancy=options) as run:
        run.man(2)
        run.push(run.jobs("work", 60, queue="long", seconds=75.0))
        run.push(run.jobs("work", 3_500, seconds=0.4))  # they set the rate, not the machine
        until(lambda: _running(run, "long") == 60, 20, "the long ones run")
        until(lambda: len(_begun(run)) > 700, 60, "the short ones run")
        left = time.monotonic()
        cluster.stop("immediate")
        time.sleep(60)
        cluster.start()
        back = time.monotonic()
        time.sleep(15)
        before = _rate(run, left - 5, left)
        after = _rate(run, back + 10, back + 15)
        first = min(at for at in _begun(run) if at > back) - back
        beats = {e["pid"] for e in run.record.read() if e["kind"] == "beat" and e["at"] > back + 10}
        assert beats == run.armada.members.keys()
        figure("away for a minute: jobs/s before and after, seconds to the first",
               [round(before), round(after), round(first, 2)])  # fmt: skip
        assert after >= 0.8 * before
        run.drained(120)
        assert not run.armada.look(), "a worker ended"
        _nobody_was_robbed(run)


def _begun(run: Scenario) -> list[float]:
    return [event["at"] for event in run.record.read() if event["kind"] == "begin"]


def _rate(run: Scenario, since: float, until: float) -> float:
    return sum(since <= at < until for at in _begun(run)) / (until - since)


def test_failover_to_a_standby(tmp_path, cluster):
    """B7, B9: the primary dies and its synchronous standby is promoted: nothing is lost."""
    times = size(1, 20)
    primary, ends = cluster, []
    with wire(("127.0.0.1", cluster.port)) as way, scenario(
        "failover", way.dsn(cluster.dsn), tmp_path, queues=QUEUES, lease=2.0
    ) as run:  # fmt: skip
        run.man(4)
        for _ in range(times):
            context = primary.standby(None)
            standby: Cluster = context.__enter__()
            ends.append(context)
            run.push(run.jobs("work", 50, queue="long", seconds=3.0))
            run.push(run.jobs("work", 300, seconds=0.02))
            until(lambda: _running(run, "long"), 20, "they run")
            primary.stop("immediate")
            standby.promote()
            # For a while the old one is back, as a replica: whoever finds it may only read.
            primary.start_as_replica()
            time.sleep(1.5)
            primary.stop("immediate")
            way.target = ("127.0.0.1", standby.port)
            primary = standby
            until(lambda: not _long_waits(run), 20, "work goes on")
        run.drained(60)
        assert not run.armada.look(), "a worker ended"
        _nobody_was_robbed(run)
        for context in reversed(ends):
            context.__exit__(None, None, None)


def _long_waits(run: Scenario) -> int:
    with psycopg.connect(run.direct, autocommit=True) as conn:
        (number,) = conn.execute(
            "SELECT count(*) FROM chancy_jobs WHERE state <> 'running' AND queue <> 'long'"
        ).fetchone() or (0,)
    return int(number)
