"""The calls that have jobs wait for longer, or less long: their priorities are changed."""

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, overload
from uuid import UUID

from chancy_core.calls import Calls
from chancy_core.door import twin
from chancy_core.given import Which, identities
from chancy_core.priority import HIGHEST, Priority, changes
from chancy_core.statement import Statement
from chancy_core.sync import Twins
from chancy_core.within import Within

if TYPE_CHECKING:
    import psycopg

    from chancy_core.filter import Answer

    Sync = psycopg.Connection[Any] | psycopg.Cursor[Any]
    Async = psycopg.AsyncConnection[Any] | psycopg.AsyncCursor[Any]


class Ranking(Calls):
    """Coroutines; a part of `Chancy`."""

    async def reprioritize_jobs(
        self, which: Which, priority: int | None = None, *, by: int | None = None
    ) -> "list[Answer]":
        """Give jobs that wait another priority, by reference or by filter.

            await chancy.reprioritize_jobs(references, 10)
            await chancy.reprioritize_jobs(JobFilter(queue="mail", state="pending"), by=-5)

        It is *priority*, or *by* so much more, within -32,768 to 32,767; higher runs first. Answers
        for each: one that runs, or is finished, is skipped. Raises `InvalidValue`.
        """
        from chancy_core.store import requests

        change = Priority.asked(priority, by)
        return await self.ask(requests.reprioritize(self.names, identities(which), change))

    def reprioritizing(
        self, more: Mapping[UUID, int], *, most: int = HIGHEST
    ) -> Statement[Mapping[UUID, int]]:
        """Return the statement that has jobs which wait come earlier, each by so much.

        For plugins: beside statements of their own it is run by `database.run`, which commits all
        of them or none. Priorities rise to *most* at most; none is lowered, unless the number is
        negative. It answers the priorities by id, and leaves out jobs that run or are finished, and
        such as somebody else has locked. Raises `InvalidValue` for what is no priority.
        """
        from chancy_core.store import statements

        return statements.reprioritize(self.names, changes(more, most), most=most, wait=False)


class RankingTwins(Twins):
    """Their twins for threads; a part of `Chancy`."""

    @twin
    def sync_reprioritize_jobs(
        self, which: Which, priority: int | None = None, *, by: int | None = None
    ) -> "list[Answer]":
        """Give jobs that wait another priority; one answer for each."""
        from chancy_core.store import requests

        change = Priority.asked(priority, by)
        return self.ask_sync(requests.reprioritize(self.names, identities(which), change))


class RankingWithin(Within):
    """The same within a transaction of the caller's; a part of `Chancy`."""

    @overload
    def reprioritize_jobs_ex(
        self, conn: "Sync", which: Which, priority: int | None = None, *, by: int | None = None
    ) -> "list[Answer]": ...
    @overload
    def reprioritize_jobs_ex(
        self, conn: "Async", which: Which, priority: int | None = None, *, by: int | None = None
    ) -> "Awaitable[list[Answer]]": ...
    def reprioritize_jobs_ex(
        self,
        conn: "Sync | Async",
        which: Which,
        priority: int | None = None,
        *,
        by: int | None = None,
    ) -> Any:
        """Give jobs another priority in the caller's transaction, as `reprioritize_jobs` does."""
        from chancy_core.store import requests

        change = Priority.asked(priority, by)
        return self._change(conn, requests.reprioritize(self.names, identities(which), change))
