"""Goes on with workflows where nobody else did: with each alone, where together they fail."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import UUID

from chancy_core import codec
from chancy_core.host import Application, WorkerHost
from chancy_core.statement import Statement
from chancy_plugins.workflow import left, statements
from chancy_plugins.workflow.statements import Gone

T = TypeVar("T")

log = logging.getLogger("chancy.workflow")

#: What the database says of rows that make no sense: of data, of what it is to be, of its size.
_REFUSED = ("22", "23", "54", "P0")
#: Less than any identity.
FIRST = UUID(int=0)


class Going:
    """Records what became of jobs, and queues what is ready, for one application.

    A worker that does so is given as *woken*: it looks for what it has queued itself, at once.
    """

    def __init__(self, app: Application, woken: WorkerHost | None = None) -> None:
        self._app = app
        self._wake = app.wake if woken is None else woken.wake
        self._told: set[str] = set()

    async def look_again(self, jobs: Sequence[UUID]) -> int:
        """Record what became of these jobs of steps; answers how many were looked at."""
        names = self._app.names
        for at in range(0, len(jobs), statements.PAGE):
            await self._each(
                jobs[at : at + statements.PAGE],
                lambda some: statements.look_again(names, some),
                lambda one, problem: left.break_(names, problem, jobs=[one]),
            )
        return len(jobs)

    async def go_on(self, flows: Sequence[UUID]) -> None:
        """Queue what is ready of these workflows: all of it."""
        names = self._app.names
        for flow in flows:
            await self._each(
                [flow],
                lambda some: statements.go_on(names, some),
                lambda one, problem: left.break_(names, problem, flows=[one]),
            )

    async def follow(self, gone: Gone) -> None:
        """Tell workers of what was queued, and queue what there is more."""
        await self._wake(*gone.queues)
        if gone.more:
            await self.go_on(gone.more)

    async def _each(
        self,
        some: Sequence[UUID],
        make: Callable[[Sequence[UUID]], Statement[Gone]],
        break_: Callable[[UUID, str], Statement[list[UUID]]],
    ) -> None:
        """Do something with several; if that fails for what is in the rows, with each alone."""
        try:
            while (gone := await self._app.database.run(make(some))).queues or gone.more:
                await self._wake(*gone.queues)
                if not gone.more:
                    return
                if set(gone.more) != set(some):
                    await self.go_on(gone.more)
                    return
        except Exception as exc:
            if not is_of_the_rows(exc):
                raise
            if len(some) > 1:
                for one in some:
                    await self._each([one], make, break_)
                return
            await self._break(break_(some[0], codec.said(exc)), exc)

    async def _break(self, statement: Statement[list[UUID]], exc: Exception) -> None:
        """Leave a workflow alone that cannot go on, and say so once."""
        for flow in await self._app.database.run(statement):
            text = f"workflow {flow} cannot go on, and has failed: {codec.said(exc)}"
            if text not in self._told:
                self._told.add(text)
                log.error("%s", text)


def is_of_the_rows(exc: Exception) -> bool:
    """Whether an error is about what is in some rows, and not about the way to the database."""
    return (getattr(exc, "sqlstate", None) or "")[:2] in _REFUSED


async def persist(run: Callable[[], Awaitable[T]], tries: int = 5) -> T:
    """Do once more what may be done twice, while the way to the database is lost."""
    import anyio

    for n in range(tries):
        try:
            return await run()
        except Exception as exc:
            state = getattr(exc, "sqlstate", "") or ""
            if not hasattr(exc, "sqlstate") or (state and state[:2] not in {"08", "57"}):
                raise
            await anyio.sleep(0.1 * 2.0**n)
    return await run()
