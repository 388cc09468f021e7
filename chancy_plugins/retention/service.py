"""What the worker that leads does for retention: a run now and then, and what is said of it."""

import json
import logging
import random

import anyio

from chancy_core.host import Service, WorkerHost
from chancy_plugins.leadership import Term, led
from chancy_plugins.retention.calendar import Removed
from chancy_plugins.retention.plugin import Retention
from chancy_plugins.retention.run import NotAllowed
from chancy_plugins.trouble import Trouble

log = logging.getLogger("chancy.retention")

#: By what name one worker of all removes.
LEADERSHIP = "retention"
#: Seconds for which its lease lasts: there is no hurry, and each worker asks for it now and then.
TTL = 300.0
#: What workers are told by when something was removed; the subject is JSON.
REMOVED = "retention.removed"
#: Seconds until the first run, between two, and until one that was not done goes on.
FIRST, HOURLY, SOON = 60.0, 3600.0, 300.0
#: Seconds that a run may take for looking through rows.
LIMIT = 60.0
#: The most seconds between two tries, while the database cannot be asked.
MOST = 60.0
#: The most seconds without a word, after which it is taken for one that hangs; and how often it has
#: something to say, while there is nothing to do.
PATIENCE, OFTEN = 900.0, 300.0

_RIGHTS = (
    "the worker's role may not: run `chancy retention run` now and then as one that may, such as "
    "chancy_migrate"
)


def service(worker: WorkerHost, retention: Retention) -> Service:
    """Return the service that removes what may go, on whichever worker leads."""

    async def duty(term: Term) -> None:  # written here, so that its stack is the plugin's
        await Keeper(worker, retention, term).run()

    return led(worker, LEADERSHIP, duty, ttl=TTL, patience=PATIENCE)


class Keeper:
    """Removes what may go, in one worker that leads."""

    def __init__(self, worker: WorkerHost, retention: Retention, term: Term) -> None:
        self._worker = worker
        self._retention = retention
        self._term = term
        self._trouble = Trouble(log, "retention: removing", MOST, rights=_RIGHTS)
        #: What a person was told.
        self._said: set[str] = set()

    async def run(self) -> None:
        """Run now and then, until cancelled."""
        pause = FIRST
        while True:
            await self._rest(pause * random.uniform(0.8, 1.2))
            pause = await self.turn()

    async def _rest(self, seconds: float) -> None:
        until = anyio.current_time() + seconds
        while (left := until - anyio.current_time()) > 0:
            self._term.beat(self._trouble.lasting)
            await anyio.sleep(min(left, OFTEN))

    async def turn(self) -> float:
        """Run once; answers after how many seconds to run again."""
        worker = self._worker
        try:
            removed = await self._retention.run(
                worker.chancy, who=worker.name, limit=LIMIT, watch=lambda *_: self._term.beat()
            )
        except NotAllowed as exc:
            self._say(str(exc))
            return HOURLY
        except Exception as exc:  # noqa: BLE001 - what is not the database's is raised again
            return max(1.0, self._trouble.pause_after(exc))
        self._trouble.over()
        for problem in removed.problems:
            self._say(problem)
        self._said &= set(removed.problems)
        if removed:
            await self._tell(removed)
        return SOON if removed.more else HOURLY

    async def _tell(self, removed: Removed) -> None:
        log.info("retention has removed %s", removed)
        days = [str(day) for day in removed.days]  # of which a hint has room for a hundred
        counted: dict[str, object] = {
            "days": days[-100:],
            "dropped": removed.dropped,
            "deleted": removed.deleted,
            "seconds": round(removed.seconds, 3),
        }
        await self._worker.chancy.notify(REMOVED, json.dumps(counted))

    def _say(self, problem: str) -> None:
        if problem not in self._said:
            log.warning("retention: %s", problem)
            self._said.add(problem)
