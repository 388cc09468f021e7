"""What each worker does for cron, as long as it lives: declare, fire, forget, and wait."""

import logging
import random
from collections.abc import Callable

import anyio

from chancy_core.errors import DatabaseError
from chancy_core.host import Application
from chancy_plugins.cron import declared, statements
from chancy_plugins.cron.entry import Entry
from chancy_plugins.cron.firing import Firing, is_of_the_entry

log = logging.getLogger("chancy.cron")

#: Seconds between two looks, at most: after so many an entry is found that nobody told of.
CALM = 40.0
#: The fewest, and the most, seconds after which it is looked again what became of what was due.
SOON = (0.02, 0.2)
#: By how many seconds a worker is late for what is due: each by others, and by none in a hot loop.
STAGGER = (0.005, 0.05)
#: The most seconds between two tries, while the database cannot be asked.
MOST = 5.0
#: Seconds between two looks where only a person can mend what is wrong.
LASTING = 30.0
#: Seconds after which one that has not been heard of is taken for one that hangs.
PATIENCE = 120.0
#: Seconds until fires are first forgotten, and then between two times.
FIRST, HOURLY = 120.0, 3600.0

#: What only a person can mend, by what PostgreSQL says.
_MENDING = {
    "42P01": "its tables are not there: run `chancy migrate`",
    "42703": "its tables are too old: run `chancy migrate`",
    "42501": "the worker's role may not use its tables: run `chancy roles --sql` once more",
}


class Timekeeper:
    """Keeps the entries of one application, in one of its workers."""

    def __init__(self, app: Application) -> None:
        self._app = app
        #: Says that it goes on, and what keeps it from its work, to whoever supervises it.
        self.beat: Callable[[str | None], None] = lambda _: None
        self._firing = Firing(app)
        self._undeclared: dict[str, Entry] | None = None
        self._forgets_at = anyio.current_time() + random.uniform(0.5, 1.0) * FIRST
        self._woken = anyio.Event()
        self._tries = 0
        #: What a person was told to mend.
        self._said: str | None = None

    def wake(self) -> None:
        """Look at once: something has changed."""
        self._woken.set()

    async def run(self) -> None:
        """Declare what the code has, and fire what is due, until cancelled."""
        while True:
            self._woken = anyio.Event()  # before the look, which may be too early to see a change
            try:
                pause = await self._turn()
            except Exception as exc:  # noqa: BLE001 - what is not the database's is raised again
                pause = self._pause_after(exc)
            else:
                if self._tries:
                    log.info("cron looks at its tables again")
                self._tries, self._said = 0, None
                self.beat(None)
            with anyio.move_on_after(pause):
                await self._woken.wait()

    async def _turn(self) -> float:
        """Do what is to be done now; answers after how many seconds there is more."""
        await self._declare()
        turn = await self._firing.fire()
        if anyio.current_time() >= self._forgets_at:
            await self._forget()
        if turn.again:
            return random.uniform(*SOON)
        calm = CALM * random.uniform(0.8, 1.0)
        if turn.next_in is None or turn.next_in > calm:
            return calm
        # Not all workers at the same moment: the others then find that it is done.
        return max(0.0, turn.next_in) + random.uniform(*STAGGER)

    async def _declare(self) -> None:
        """Store the entries of this process's code, once."""
        if self._undeclared is None:
            self._undeclared = declared.entries()
        for key, entry in list(self._undeclared.items()):
            try:
                await self._store(entry)
            except Exception as exc:
                if not is_of_the_entry(exc):
                    raise
                log.error("cron %s cannot be declared: %s", key, exc)
            del self._undeclared[key]

    async def _store(self, entry: Entry) -> None:
        database = self._app.database
        next_at = entry.schedule.next(await database.run(statements.now(database.names)))
        stored = statements.declare(database.names, entry, next_at, in_code=True)
        if await database.run(stored):
            log.info("cron %s is declared as the code has it: %s", entry.key, entry.schedule)

    async def _forget(self) -> None:
        """Delete the fires that are not kept, a batch at a time."""
        self._forgets_at = anyio.current_time() + random.uniform(0.8, 1.0) * HOURLY
        database = self._app.database
        while await database.run(statements.forget(database.names)) >= statements.BATCH:
            self.beat(None)

    def _pause_after(self, exc: Exception) -> float:
        """Say what is wrong with the database, and answer for how many seconds it is left alone.

        Raises what is not the database's: whoever supervises this says whose defect that is.
        """
        state = getattr(exc, "sqlstate", None)
        if not isinstance(exc, DatabaseError) and not hasattr(exc, "sqlstate"):
            raise exc
        self._tries += 1
        mending = _MENDING.get(state or "")
        if mending or self._tries > 1:  # one is nothing: whoever restarts a server causes it
            self.beat(f"{mending or 'the database cannot be asked'} ({exc})")
        if mending is not None:
            if mending != self._said:
                log.error("cron does not work on this worker: %s (%s)", mending, exc)
            self._said = mending
            return LASTING * random.uniform(0.8, 1.0)
        if self._tries & (self._tries - 1) == 0:
            log.warning("cron cannot look what is due, try %d: %s", self._tries, exc)
        return random.uniform(0.0, min(MOST, 0.1 * 2.0 ** min(self._tries, 30)))
