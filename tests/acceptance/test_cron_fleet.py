"""I13, W13: each tick fires once, on workers that are killed at it, with clocks an hour off."""

import time
from itertools import cycle

import pytest

from chancy import Chancy, Job, Queue
from chancy_plugins.cron import Cron, catch_up
from tests.fleet import Fleet, until

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(300)]

HOUR = 3600.0
#: How often a worker is killed, and how long it lives at least after the last.
KILLS, PAUSE = 12, 0.7


async def test_each_tick_is_fired_once(dsn: str, anyio_backend: str) -> None:
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("q", executor="async", concurrency=10))
        cron = Cron(chancy)
        job = Job("member.tick", queue="q")
        entry = await cron.declare("* * * * * *", job, key="each second", missed=catch_up(1000))
        first = entry.next_at
        ahead = cycle([HOUR, -HOUR, 0.0])
        with Fleet(dsn) as fleet:
            crew = [
                fleet.start(f"w{n}", anyio_backend, ahead=next(ahead), lease=3) for n in range(3)
            ]
            until(lambda: len(fleet.known) == 3, 30, "three workers")
            for n in range(KILLS):
                time.sleep(PAUSE)
                crew.pop(0).kill()
                crew.append(fleet.start(f"x{n}", anyio_backend, ahead=next(ahead), lease=3))
            until(lambda: fleet.one("SELECT count(*) FROM chancy_cron_fires") > 20, 30, "20 fires")
            await cron.pause("each second")
            live = "SELECT count(*) FROM chancy_jobs"
            until(lambda: fleet.one(live) == 0, 60, "all jobs have ended")
            ticks = [tick for (tick,) in fleet.ask("SELECT tick FROM chancy_cron_fires ORDER BY 1")]
            jobs = fleet.ask(
                "SELECT (meta -> 'cron' ->> 'tick')::timestamptz, count(*), min(state) "
                "FROM chancy_jobs_v1 GROUP BY 1 ORDER BY 1"
            )
    seconds = [(tick - first).total_seconds() for tick in ticks]
    assert seconds == list(map(float, range(len(ticks))))
    assert [(tick, count, state) for tick, count, state in jobs] == [
        (tick, 1, "succeeded") for tick in ticks
    ]
