"""What one worker of all does for metrics: it merges, looks, and forgets.

All of it may be done twice, or by two at once, without harm.
"""

import logging
import random
from collections.abc import Awaitable, Callable

import anyio

from chancy_core.host import WorkerHost
from chancy_plugins.leadership import Term
from chancy_plugins.metrics import counting, process, settings, statements
from chancy_plugins.metrics.key import Key, MetricKind
from chancy_plugins.metrics.refused import is_of_the_values
from chancy_plugins.trouble import Trouble

log = logging.getLogger("chancy.metrics")

#: Seconds between two times that what was written is merged.
OFTEN = 15.0
#: The most seconds between two tries, while the database cannot be asked.
MOST = 10.0
#: Seconds between two looks at tables, workers and live jobs.
LOOKING = 30.0
#: The most seconds without a word, after which it is taken for one that hangs: more than a step
#: may take, of which counting live jobs is the longest.
PATIENCE = 600.0
#: Seconds until old points are first forgotten, and then between two times.
FIRST, HOURLY = 120.0, 3_600.0

_GAUGE = MetricKind.GAUGE


class Task:
    """One thing that the leader does again and again; what keeps it from that hinders no other."""

    def __init__(self, what: str, step: Callable[[], Awaitable[float]], first: float = 0.0) -> None:
        self._step = step
        self._trouble = Trouble(log, f"metrics: {what}", MOST)
        self.due = anyio.current_time() + first

    @property
    def trouble(self) -> str | None:
        """What keeps the leader from it, if something does."""
        return self._trouble.lasting

    async def turn(self) -> None:
        """Do it, if it is due."""
        if anyio.current_time() < self.due:
            return
        try:
            pause = await self._step()
        except Exception as exc:  # noqa: BLE001 - what is not the database's is raised again
            pause = max(1.0, self._trouble.pause_after(exc))
        else:
            self._trouble.over()
        self.due = anyio.current_time() + pause * random.uniform(0.9, 1.0)


class Leading:
    """The leader's part, for one worker."""

    def __init__(self, worker: WorkerHost) -> None:
        self._app = worker.chancy
        self._host = worker

    async def run(self, term: Term) -> None:
        """Do it all until cancelled."""
        tasks = (
            Task("merging them", self.merge),
            Task("looking at tables and workers", self.look),
            Task("counting live jobs", self.count),
            Task("forgetting old ones", self.forget, FIRST),
        )
        while True:
            for task in tasks:
                term.beat(next((task.trouble for task in tasks if task.trouble), None))
                await task.turn()
            pause = min(task.due for task in tasks) - anyio.current_time()
            await anyio.sleep(max(0.05, pause))

    async def merge(self) -> float:
        """Merge all that was written; answers after how many seconds to do it again."""
        database = self._app.database
        most = statements.BATCH
        while True:
            try:
                merged = await database.run(statements.merge(database.names, most))
            except Exception as exc:
                if not is_of_the_values(exc):
                    raise
                if most == 1:
                    dropped = await database.run(statements.drop(database.names))
                    log.error("a metric is lost, which cannot be merged (%s): %s", exc, dropped)
                most = max(1, most // 2)
                continue
            if merged < most:
                return OFTEN
            most = min(statements.BATCH, most * 2)

    async def look(self) -> float:
        """Measure tables and workers."""
        database = self._app.database
        names = database.names
        _, fleet, sizes = await database.run(
            counting.limit(names), counting.fleet(names), counting.sizes(names)
        )
        self._say("workers.alive", fleet.workers)
        self._say("workers.slots", fleet.slots)
        self._say("workers.running", fleet.running)
        for size in sizes:
            of = {"table": size.table}
            self._say("tables.bytes", size.rows, "bytes", part="rows", **of)
            self._say("tables.bytes", size.indexes, "bytes", part="indexes", **of)
        return LOOKING

    async def count(self) -> float:
        """Count live jobs; answers for how many seconds that is enough."""
        database = self._app.database
        names = database.names
        began = anyio.current_time()
        try:
            _, counted, now = await database.run(
                counting.limit(names), counting.live(names), statements.now(names)
            )
        except Exception as exc:
            if getattr(exc, "sqlstate", None) == "57014":  # it takes too long, and is left alone
                return counting.RARELY * (anyio.current_time() - began)
            raise
        took = anyio.current_time() - began
        gone = await database.run(counting.keep(names, counted, counted.as_of or now))
        oldest = {queue: 0.0 for queue, _ in gone}
        for queue, state in gone:
            self._say("jobs.live", 0, queue=queue, state=state)
        for each in counted.groups:
            self._say("jobs.live", each.count, queue=each.queue, state=each.state)
            waits = (now - each.oldest_at).total_seconds() if each.oldest_at else 0.0
            oldest[each.queue] = max(waits, oldest.get(each.queue, 0.0))
        for queue, seconds in oldest.items():
            self._say("jobs.oldest", seconds, "s", queue=queue)
        return max(LOOKING, counting.RARELY * took)

    async def forget(self) -> float:
        """Delete what is too old, a batch at a time."""
        database = self._app.database
        for some in (statements.forget_points, statements.forget_series):
            while await database.run(some(database.names, settings.days())) >= statements.BATCH:
                await anyio.sleep(0.01)
        await database.run(statements.forget_sessions(database.names))
        return HOURLY

    def _say(self, name: str, value: float, unit: str = "", **labels: str) -> None:
        process.of_worker(self._host).tally.add(Key.of(_GAUGE, name, unit, **labels), float(value))
