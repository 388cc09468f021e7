"""What applications ask of cron: `Cron`."""

from datetime import datetime
from typing import Any

from chancy_core.errors import InvalidValue
from chancy_core.function import JobFunction
from chancy_core.host import Application
from chancy_core.job import Job, Reference
from chancy_core.statement import Statement
from chancy_plugins.cron import statements
from chancy_plugins.cron.entry import CronNotFound, Entry, Fire, Listed
from chancy_plugins.cron.firing import Firing
from chancy_plugins.cron.missed import RUN_ONCE
from chancy_plugins.cron.schedule import HORIZON, Schedule

#: What workers are told by when an entry has changed; the subject is its key.
CHANGED = "cron.changed"


class Cron:
    """The entries of an application: jobs that run when the clocks of a zone show certain times.

        cron = Cron(chancy)
        await cron.declare("0 3 * * *", report.bind(city="Paris"), key="paris", tz="Europe/Paris")
        await cron.trigger("paris")

    Works inside `async with chancy`. Each call that names a key raises `CronNotFound` if no entry
    has it.
    """

    def __init__(self, chancy: Application) -> None:
        self._app = chancy

    async def declare(
        self,
        expression: str,
        job: Job | JobFunction[..., Any],
        *,
        key: str | None = None,
        tz: str = "UTC",
        missed: str = RUN_ONCE,
        jitter: float = 0.0,
    ) -> Listed:
        """Store an entry, or change the one of this key; answers what is stored.

        The key is the name of the job's function, where none is given. An entry that is there keeps
        its next tick unless its schedule is another, and stays paused if it is. Raises
        `InvalidValue` for what makes no sense, and for a schedule that is never reached.
        """
        made = job.bind() if isinstance(job, JobFunction) else job
        entry = Entry(
            key=getattr(made, "func", "") if key is None else key,
            job=made,
            schedule=Schedule(expression, tz),
            missed=missed,
            jitter=jitter,
        )
        now = await self._now()
        self._app.pushing([entry.job_of(now)])  # what cannot be pushed is refused here, not at 3:00
        next_at = entry.schedule.next(now)
        if next_at is None:
            raise InvalidValue(
                f"cron expression {expression!r}: the clocks of {tz} show no such time within "
                f"{HORIZON.days // 366} years"
            )
        stored = statements.declare(self._app.names, entry, next_at, in_code=False)
        if await self._app.database.run(stored):
            await self._app.notify(CHANGED, entry.key)
        return await self.entry(entry.key)

    async def delete(self, key: str) -> None:
        """Delete an entry. What it has pushed stays."""
        await self._change(key, statements.delete(self._app.names, key))

    async def pause(self, key: str) -> None:
        """Have an entry run no more, until it is resumed."""
        await self._change(key, statements.pause(self._app.names, key))

    async def resume(self, key: str) -> None:
        """Let an entry run again from now on; nothing is made up for that it paused.

        Raises `InvalidValue` if it makes no sense.
        """
        entry = (await self.entry(key)).sound()
        next_at = entry.schedule.next(await self._now())
        await self._change(key, statements.resume(self._app.names, key, next_at))

    async def trigger(self, key: str) -> Reference:
        """Run an entry now, be it paused or not; its schedule stays as it is.

        Where its job has a unique key that a live job holds, that one is referred to. Raises
        `InvalidValue` if it makes no sense.
        """
        entry = (await self.entry(key)).sound()
        reference = await self._app.push(entry.job_now(await self._now()))
        job = reference.id if reference.new else None
        await self._app.database.run(statements.triggered(self._app.names, key, job))
        return reference

    async def entries(self) -> list[Listed]:
        """Return all entries, by key; those that make no sense say so by their `problem`."""
        return await self._app.database.run(statements.entries(self._app.names))

    async def entry(self, key: str) -> Listed:
        """Return an entry."""
        found = await self._app.database.run(statements.entries(self._app.names, key))
        if not found:
            raise _unknown(key)
        return found[0]

    async def fires(self, key: str, limit: int = 100) -> list[Fire]:
        """Return when an entry has last run, the newest first.

        Those of an entry that was deleted are there too, for a while.
        """
        if not isinstance(limit, int) or not 1 <= limit <= 10_000:
            raise InvalidValue(f"fires: limit must be 1 to 10,000, not {limit!r}")
        return await self._app.database.run(statements.fires(self._app.names, key, limit))

    async def fire_due(self) -> list[tuple[str, datetime]]:
        """Fire what is due now, as workers do all the time; answers keys and ticks.

        For tests, which move the clock and run no worker.
        """
        firing = Firing(self._app)
        fired: list[tuple[str, datetime]] = []
        while True:
            turn = await firing.fire()
            fired += turn.fired
            if not turn.again:
                return fired

    async def _now(self) -> datetime:
        return await self._app.database.run(statements.now(self._app.names))

    async def _change(self, key: str, statement: Statement[bool]) -> None:
        if not await self._app.database.run(statement):
            raise _unknown(key)
        await self._app.notify(CHANGED, key)


def _unknown(key: str) -> CronNotFound:
    return CronNotFound(f"no cron entry has the key {key!r}; `chancy cron list` shows all")
