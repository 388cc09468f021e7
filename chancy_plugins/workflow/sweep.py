"""What each worker does for workflows as long as it lives: look what was left; and forget."""

import logging
import os
import random
from collections.abc import Callable

import anyio

from chancy_core.codec import shown
from chancy_core.host import Application
from chancy_plugins.trouble import Trouble
from chancy_plugins.workflow import left
from chancy_plugins.workflow.going import FIRST, Going

log = logging.getLogger("chancy.workflow")

#: Seconds between two looks, and until the first.
CALM, SOON = 60.0, 3.0
#: Seconds for which one look takes page after page, before all others have their turn.
TURN = 2.0
#: The most seconds between two tries, while the database cannot be asked.
MOST = 10.0
#: Seconds after which one that was not heard of is taken for one that hangs.
PATIENCE = 300.0
#: Seconds until workflows are first forgotten, and then between two times.
FORGETS, HOURLY = 120.0, 3600.0
#: The variable that says for how many days workflows are kept that have ended, and the default.
KEEP, DAYS = "CHANCY_WORKFLOW_KEEP", 30.0


def kept() -> float:
    """Return for how many seconds workflows are kept that have ended."""
    given = os.environ.get(KEEP)
    try:
        days = float(given) if given else DAYS
    except ValueError:
        days = -1.0
    if not 0 <= days <= 36_500:
        log.error("%s must be a number of days, 0 to 36,500, not %s: it is 30", KEEP, shown(given))
        days = DAYS
    return days * 86_400


class Sweeper:
    """Looks for what crashes, `complete_ex` and cancelled jobs have left, for one application."""

    def __init__(self, app: Application) -> None:
        self._app = app
        #: Says that it goes on, and what keeps it from that, to whoever supervises it.
        self.beat: Callable[[str | None], None] = lambda _: None
        self._going = Going(app)
        self._after = {"queued": FIRST, "bad": FIRST}
        self._due = FIRST
        self._forgets_at = anyio.current_time() + random.uniform(0.5, 1.0) * FORGETS
        self._keep = kept()
        self._trouble = Trouble(log, "looking after workflows", MOST)

    async def run(self) -> None:
        """Look, until cancelled."""
        pause = random.uniform(0.3, 1.0) * SOON
        while True:
            await anyio.sleep(pause)
            try:
                await self.turn()
                if anyio.current_time() >= self._forgets_at:
                    await self._forget()
            except Exception as exc:  # noqa: BLE001 - what is not the database's is raised again
                pause = self._trouble.pause_after(exc)
                self.beat(self._trouble.lasting)
            else:
                self._trouble.over()
                self.beat(None)
                pause = CALM * random.uniform(0.8, 1.2)

    async def turn(self) -> None:
        """Look once: at a page, and while there are more, for a while."""
        names, until = self._app.names, anyio.current_time() + TURN
        while True:
            look = await self._app.database.run(left.look(names, **self._after, due=self._due))
            self.beat(None)
            self._after = {kind: look.after.get(kind, FIRST) for kind in self._after}
            self._due = look.due[-1] if len(look.due) == left.FLOWS else FIRST
            await self._going.look_again(look.stuck)
            await self._going.go_on(look.due)
            more = "queued" in look.after or self._due != FIRST
            if not more or anyio.current_time() > until:
                return

    async def _forget(self) -> None:
        """Delete workflows that are not kept any longer, some at a time."""
        self._forgets_at = anyio.current_time() + random.uniform(0.8, 1.0) * HOURLY
        while await self._app.database.run(left.forget(self._app.names, self._keep)):
            self.beat(None)
            await anyio.lowlevel.checkpoint()
