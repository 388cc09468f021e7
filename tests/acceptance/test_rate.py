"""A rate limit holds over all workers, by the database's clock, whatever their own clocks say."""

import time

import pytest

from chancy import Chancy, Job, Queue
from tests.fleet import Fleet

pytestmark = pytest.mark.slow

HOUR = 3600
#: What is measured, in seconds, after the first jobs of each worker.
WARM_UP, MEASURED = 0.5, 10
AHEAD = {"right": 0, "early": -HOUR, "late": HOUR, "later": 2 * HOUR}


def most_within(window: float, instants: list[float]) -> int:
    """The largest number of instants that any window of so many seconds has in it."""
    most = begin = 0
    for end, instant in enumerate(instants):
        while instant - instants[begin] >= window:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def test_the_largest_number_in_a_window_is_found():
    assert most_within(1, [0, 0.5, 0.99, 1, 1.2, 3]) == 4
    assert most_within(1, [0, 1, 2]) == 1


def test_four_workers_whose_clocks_are_hours_apart_keep_a_limit_and_use_it(dsn):
    queue = Queue("q", executor="async", concurrency=20, rate_limit=20, rate_limit_window=1)
    with Chancy(dsn) as chancy, Fleet(dsn) as fleet:
        chancy.sync_declare(queue)
        chancy.sync_push_many([Job("member.tick", queue="q")] * 500)
        for number, (name, ahead) in enumerate(AHEAD.items()):
            fleet.start(name, ("asyncio", "trio")[number % 2], ahead=ahead)
        fleet.until_live(AHEAD)
        began = fleet.one("SELECT extract(epoch FROM clock_timestamp())::float8") + WARM_UP
        names = {id_: name for name, id_ in fleet.known.items()}
        time.sleep(WARM_UP + MEASURED + 0.2)
        rows = fleet.ask(
            "SELECT worker, extract(epoch FROM started_at)::float8, result FROM chancy_jobs_v1"
            " WHERE started_at IS NOT NULL ORDER BY started_at"
        )
        assert fleet.one("SELECT count(*) FROM chancy_jobs") > 0, "there were jobs to the end"
    wrong = {
        (names[worker], *(round((t - at) / HOUR) for t in seen))
        for worker, at, seen in rows
        if seen
    }
    assert wrong == {(name, s // HOUR, s // HOUR) for name, s in AHEAD.items()}
    instants = [at for _, at, _ in rows]
    most = most_within(1, instants)
    share = sum(began <= at < began + MEASURED for at in instants) / (20 * MEASURED)
    print(f"most in a window: {most}; share of the allowance: {share:.3f}")
    assert most <= 20 + queue.rate_limit_burst
    assert share >= 0.9
