"""The plugin itself: what each worker does of it, as long as it lives."""

import logging
import random
from collections.abc import Callable, Iterable
from typing import Any

import anyio

from chancy_core.codec import shown
from chancy_core.errors import InvalidPlugin
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Application, Service, WorkerHost
from chancy_plugins.reprioritize import statements
from chancy_plugins.reprioritize.ageing import Ageing
from chancy_plugins.reprioritize.statements import Overtaken
from chancy_plugins.trouble import Trouble

log = logging.getLogger("chancy.reprioritize")

#: By which part of the time between two steps a step is made late, at most.
LATE = 0.25
#: The fewest, and the most, seconds between two looks.
PAUSE = (1.0, 300.0)
#: The most seconds between two tries, while the database cannot be asked.
MOST = 5.0
#: Seconds after which one that was not heard of is taken for one that hangs.
PATIENCE = 4 * PAUSE[1]


class Reprioritize:
    """The plugin `reprioritize`, with rules by which jobs gain priority while they wait.

        Chancy(plugins=[Reprioritize(Ageing(queue="mail", after=60, by=5))])

    Every worker of the application looks; each step of a job is made once, whoever does it. One
    rule can be written without `Ageing`: `Reprioritize(queue="mail", after=60, by=5)`.

    Raises `InvalidPlugin` for what makes no sense.
    """

    def __init__(self, *rules: Ageing, **rule: Any) -> None:
        self.rules = (*rules, *([_made(rule)] if rule or not rules else []))
        keys: set[str] = set()
        for one in self.rules:
            if not isinstance(one, Ageing):
                raise InvalidPlugin(f"reprioritize: a rule is an Ageing(...), not {shown(one)}")
            if one.key in keys:
                raise InvalidPlugin(f"reprioritize: two rules are about the same jobs: {one.key}")
            keys.add(one.key)

    @hookimpl
    def chancy_worker_services(self, worker: WorkerHost) -> Iterable[Service]:
        """Apply the rules for as long as the worker works, each by itself."""
        return [_service(worker.chancy, one) for one in self.rules]

    async def apply(self, app: Application) -> dict[str, int]:
        """Apply the rules now, as workers do from time to time; answers how many jobs each raised.

        For tests, which move the clock and run no worker.
        """
        return {one.key: await Walk(app, one, pause=0.0).go() for one in self.rules}


def _made(rule: dict[str, Any]) -> Ageing:
    try:
        return Ageing(**rule)
    except TypeError as exc:
        raise InvalidPlugin(f"reprioritize: {exc}") from exc


def _service(app: Application, rule: Ageing) -> Service:
    walk = Walk(app, rule)

    async def run() -> None:  # written here, so that a stack that leads here is the plugin's
        await walk.run()

    service = Service(f"ageing {rule.key}", run, patience=PATIENCE)
    walk.beat = service.beat
    return service


class Walk:
    """Applies one rule to all that waits, one batch after the other."""

    def __init__(self, app: Application, rule: Ageing, pause: float | None = None) -> None:
        self._app = app
        self._rule = rule
        least, most = PAUSE
        self._pause = max(least, min(most, rule.every * LATE)) if pause is None else pause
        #: Says that it goes on, and what keeps it from that, to whoever supervises it.
        self.beat: Callable[[str | None], None] = lambda _: None
        self._trouble = Trouble(log, "changing the priorities of what waits", MOST)

    async def run(self) -> None:
        """Apply the rule from time to time, until cancelled."""
        while True:
            try:
                raised = await self.go()
            except Exception as exc:  # noqa: BLE001 - what is not the database's is raised again
                pause = self._trouble.pause_after(exc)
                self.beat(self._trouble.lasting)
            else:
                self._trouble.over()
                self.beat(None)
                if raised:
                    log.info("%d jobs have waited, and come earlier: %s", raised, self._rule.key)
                pause = self._pause * random.uniform(0.8, 1.0)
            await anyio.sleep(pause)

    async def go(self) -> int:
        """Raise whom it is time for; answers how many. Stops where somebody else is at it."""
        database, rule, raised = self._app.database, self._rule, 0
        while True:
            found = await database.run(statements.look(database.names, rule, self._pause))
            if found.early:
                return raised
            self.beat(None)
            ended = found.seen < rule.batch
            moved = statements.move(database.names, rule, found, ended=ended)
            try:
                raised += await self._raise(moved, found)
            except Overtaken:
                return raised
            if ended:
                return raised

    async def _raise(self, moved: Any, found: statements.Look) -> int:
        database, rule = self._app.database, self._rule
        if not found.steps:
            await database.run(moved)
            return 0
        more = {id_: min(steps * rule.by, 65_535) for id_, steps in found.steps.items()}
        asked = self._app.reprioritizing(more, most=rule.most)
        return len((await database.run(moved, asked))[1])
