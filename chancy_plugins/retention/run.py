"""One run: finish what was begun, drop the days that may go, and look through the others."""

import logging
from datetime import date
from hashlib import blake2b
from pathlib import Path

from attrs import define, field, frozen

from chancy_core import codec
from chancy_core.errors import ChancyError
from chancy_core.host import Application
from chancy_plugins.retention import rows, statements
from chancy_plugins.retention.calendar import Day, Removed, Standing, Walk
from chancy_plugins.retention.dropping import Dropping, Kept
from chancy_plugins.retention.export import Exporter, NotExported
from chancy_plugins.retention.pace import Pace
from chancy_plugins.retention.policy import Policy

log = logging.getLogger("chancy.retention")


class NotAllowed(ChancyError):
    """The role of this program may not remove finished jobs; the message says what to do."""


@frozen
class Asked:
    """What a run is to do: by which rules, and what is written down before a day is dropped."""

    policy: Policy
    #: The folder; None if nothing is written down.
    export: str | Path | None = None
    #: Whether days are dropped as a whole: not by who does not know where they are written down.
    drops: bool = True

    @property
    def rules(self) -> str:
        """The rules as a mark that other rules do not have."""
        packed = codec.encode(self.policy.pack(), "rules of retention")
        return blake2b(packed.encode(), digest_size=12).hexdigest()


@define(eq=False)
class Run:
    """What is done in one run, and what has come of it."""

    _app: Application
    _asked: Asked
    _pace: Pace
    _days: list[date] = field(init=False, factory=list)
    _dropped: int = field(init=False, default=0)
    _deleted: int = field(init=False, default=0)
    _batches: int = field(init=False, default=0)
    _problems: list[str] = field(init=False, factory=list)
    _more: bool = field(init=False, default=False)

    async def go(self, standing: Standing) -> Removed:
        """Do all that is to be done, as far as the time goes. Raises `NotAllowed`."""
        if not standing.owner:
            raise NotAllowed(
                "this role does not own the history, and may remove nothing from it: run `chancy "
                "retention run` now and then as one that does, such as chancy_migrate"
            )
        await self._finish()
        for day in await self._look():
            if day.leaving:
                if not day.ours:
                    self._problems.append(f"{day.table} is taken out of the history by somebody")
            elif not day.goes(self._asked.policy):
                await self._walk(day)
            elif self._asked.drops and await self._written_down(day, standing):
                await self._drop(day)
        return self._removed()

    async def _look(self) -> list[Day]:
        database = self._app.database
        return await database.run(statements.days(database.names))

    async def _finish(self) -> None:
        going = {day.day for day in await self._look() if day.goes(self._asked.policy)}
        done, problems = await Dropping(self._app).finish(going.__contains__)
        for one in done:
            self._count(one.day, one.rows)
        self._problems += problems
        await self._app.database.run(statements.tidy(self._app.database.names))

    async def _written_down(self, day: Day, standing: Standing) -> bool:
        if self._asked.export is None:
            return True
        database = self._app.database
        try:
            exporter = Exporter(self._asked.export, database, standing.installation)
            written = await exporter.write(day.day, self._pace)
        except NotExported as exc:
            self._problems.append(str(exc))
            return False
        if written is not None:
            log.info("%s: its %d jobs are in %s", day.table, written, exporter.path(day.day))
        return True

    async def _drop(self, day: Day) -> None:
        try:
            async with self._pace:  # a file of half a gigabyte is gone: let the disk breathe
                await Dropping(self._app).drop(day)
        except Kept as exc:
            self._problems.append(str(exc))
            self._more = True
        else:
            self._count(day.day, day.rows)
            self._pace.tell(f"{day.table} is dropped", day.rows)

    def _count(self, day: date, jobs: int) -> None:
        self._days.append(day)
        self._dropped += jobs

    async def _walk(self, day: Day) -> None:
        walk = day.walk(self._asked.policy, self._asked.rules)
        if walk is None:
            return
        database = self._app.database
        begun = False
        while not (self._pace.over and self._batches):  # however slow, each run comes further
            if not begun:
                await database.run(rows.begin(database.names, walk, self._asked.rules))
                begun = True
            async with self._pace:
                batch = await self._step(walk)
            self._batches += 1
            self._deleted += batch.gone
            self._pace.tell(f"looking through {day.day}", batch.seen)
            if batch.last:
                return
        self._more = True

    async def _step(self, walk: Walk) -> rows.Batch:
        database, asked = self._app.database, self._asked
        step = rows.step(database.names, walk, asked.policy, asked.rules)
        _, batch = await database.run(statements.gently(database.names), step)
        return batch  # type: ignore[no-any-return]

    def _removed(self) -> Removed:
        return Removed(
            tuple(sorted(self._days)),
            self._dropped,
            self._deleted,
            tuple(self._problems),
            self._more,
            self._pace.seconds,
        )
