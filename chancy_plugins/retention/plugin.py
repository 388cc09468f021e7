"""The plugin itself: `Retention`, and which of several holds for an application."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from attrs import define, field

from chancy_core import codec
from chancy_core.errors import InvalidPlugin, InvalidValue
from chancy_core.hookspecs import hookimpl
from chancy_core.host import Application, Service, WorkerHost
from chancy_plugins.retention import statements
from chancy_plugins.retention.calendar import Day, Removed, Standing
from chancy_plugins.retention.pace import Pace, Watcher
from chancy_plugins.retention.policy import USUAL, Duration, Keep, RetentionPolicy
from chancy_plugins.retention.run import Asked, Run

log = logging.getLogger("chancy.retention")

#: What overrules the rules that the code has.
VARIABLE = "CHANCY_RETENTION"

#: The one that each application was given.
_given: "WeakKeyDictionary[Application, Retention]" = WeakKeyDictionary()


@define(eq=False, kw_only=True)
class Retention:
    """The plugin `retention`: how long finished jobs are kept, if not for 30 days.

        Chancy(plugins=[Retention(
            keep=days(90),
            rules=[Keep(state="succeeded", queue="mail", for_=days(1))],
            export="/srv/archive",
        )])

    The first of the *rules* that is for a job holds for it, else *keep*: seconds, a timedelta, or
    None, which is for ever. Each day is written into a file of the folder *export* before it is
    dropped. `CHANCY_RETENTION` overrules *keep* and *rules*, where workers run.

    Raises `InvalidPlugin` for what makes no sense.
    """

    keep: Duration = USUAL
    rules: Iterable[Keep] = ()
    export: str | Path | None = None
    _policy: RetentionPolicy = field(init=False, repr=False)
    #: Whether nobody has said how long: what is installed, and was given nothing.
    _silent: bool = field(init=False, default=False, repr=False)
    #: What a person was told already.
    _said: set[str] = field(init=False, factory=set, repr=False)

    def __attrs_post_init__(self) -> None:
        try:
            self._policy = RetentionPolicy(self.keep, self.rules)
        except InvalidValue as exc:
            raise InvalidPlugin(f"retention: {exc}") from exc
        if self.export is not None and not isinstance(self.export, str | Path):
            raise InvalidPlugin(
                f"retention: export must be the path of a folder, not {codec.shown(self.export)}"
            )

    @classmethod
    def silent(cls) -> "Retention":
        """Return what holds where nobody has said anything."""
        made = cls()
        made._silent = True
        return made

    @classmethod
    def of(cls, chancy: Application) -> "Retention":
        """Return the one that an application was given, or that holds if it was given none."""
        return _given.get(chancy) or cls.silent()

    @property
    def policy(self) -> RetentionPolicy:
        """The rules that hold in this process: those of the environment, if it says any.

        What makes no sense there removes nothing, and is told of in the log.
        """
        text = os.environ.get(VARIABLE)
        if not text:
            return self._policy
        try:
            return RetentionPolicy.read(text)
        except InvalidValue as exc:
            self._say(f"{VARIABLE}: {exc}; nothing is removed")
            return RetentionPolicy(None)

    @property
    def told(self) -> bool:
        """Whether somebody has said how long, by code or by the environment."""
        return not self._silent or bool(os.environ.get(VARIABLE))

    @hookimpl
    def chancy_configure(self, app: Application) -> None:
        """Hold for an application, in place of what is installed."""
        if _given.setdefault(app, self) is not self:
            raise InvalidPlugin("retention: an application has one Retention, and this is another")

    @hookimpl
    def chancy_worker_services(self, worker: WorkerHost) -> Iterable[Service] | None:
        """Remove what may go for as long as the worker works: on one worker at a time."""
        from chancy_plugins.retention.service import service

        return [service(worker, self)] if _given.get(worker.chancy) is self else None

    async def run(
        self,
        chancy: Application,
        *,
        who: str | None = None,
        limit: float | None = None,
        watch: Watcher | None = None,
    ) -> Removed:
        """Remove now what may go, as a worker does each hour; answers what is gone.

            removed = await Retention(keep=days(7)).run(chancy)

        It ends after some *limit* seconds, if it is given one, with the rest left for another time.
        *watch* is called with what is done, and of how many rows. It may run beside workers, and
        any number of times. Workers that were told no rules go by these from now on only if *who*
        says whose they are.

        Raises `NotAllowed` if its role may remove nothing.
        """
        pace = Pace(watch=watch) if limit is None else Pace(limit, watch)
        standing = await self._standing(chancy)
        return await Run(chancy, await self._asked(chancy, standing, who), pace).go(standing)

    async def rules_of(self, chancy: Application) -> RetentionPolicy:
        """Return the rules by which `run` would go now."""
        return (await self._asked(chancy, await self._standing(chancy), None)).policy

    async def days(self, chancy: Application) -> list[Day]:
        """Return the days of the history, the oldest first, with their sizes."""
        return await chancy.database.run(statements.days(chancy.database.names))

    async def _standing(self, chancy: Application) -> Standing:
        database = chancy.database
        try:
            return await database.run(statements.standing(database.names))
        except LookupError:  # somebody has emptied the table
            await database.run(statements.row(database.names))
            return await database.run(statements.standing(database.names))

    async def _asked(self, chancy: Application, standing: Standing, who: str | None) -> Asked:
        """Return what is to be done: by our rules, or by what others were told if we were not."""
        if not self.told:
            return self._of_others(standing)
        asked = Asked(self.policy, self.export)
        document = {**asked.policy.pack(), "export": self.export is not None}
        if who is not None and standing.told != document and standing.owner:
            names = chancy.database.names
            before = await chancy.database.run(statements.tell(names, document, who))
            if before is not None:
                log.warning(
                    "retention: the rules are now %s; those that %s was told were others: %s",
                    *(asked.policy, standing.told_by, _in_words(before)),
                )
        return asked

    def _of_others(self, standing: Standing) -> Asked:
        if standing.told is None:
            return Asked(self._policy)
        try:
            policy = RetentionPolicy.unpack(standing.told)
            drops = standing.told.get("export") is False
        except InvalidValue as exc:
            self._say(f"retention removes nothing: {exc}")
            return Asked(RetentionPolicy(None))
        if not drops:
            self._say(
                "retention drops no day here: they are written down first, by workers that have "
                "Retention(export=...)"
            )
        return Asked(policy, drops=drops)

    def _say(self, problem: str) -> None:
        if problem not in self._said:
            self._said.add(problem)
            log.error("%s", problem)


def given(chancy: Application) -> bool:
    """Whether an application was given a `Retention`."""
    return chancy in _given


def _in_words(told: Any) -> str:
    try:
        return str(RetentionPolicy.unpack(told))
    except InvalidValue as exc:
        return str(exc)
