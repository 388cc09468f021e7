"""What an operation has at hand, and the list of them all."""

import importlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast
from uuid import UUID

from attrs import field, frozen

from chancy import QueuedJob
from chancy_core.postgres import Pool
from chancy_core.statement import Statement
from chancy_core.store.carrying import Request, carry_out
from chancy_core.store.store import Store
from tests.faults.explorer.situation import NAMES, Situation
from tests.faults.explorer.wire import Wire

#: In place of statements of `chancy_core/sql`: what to replace in which, and by what.
Change = Mapping[str, tuple[str, str]]


@frozen
class Part:
    """One session's part in a programme."""

    letter: str
    situation: Situation
    change: Change | None = None
    wire: Wire = field(init=False)

    @wire.default
    def _wire(self) -> Wire:
        return Wire(self.change)

    @property
    def store(self) -> Store:
        return Store(cast("Pool", self.wire), NAMES)

    @property
    def ids(self) -> list[UUID]:
        """The jobs, in an order of this session's own: the other way round in every other."""
        return list(self.situation.jobs)[:: -1 if self.letter == "B" else 1]

    @property
    def worker(self) -> UUID:
        """A worker that lives, and holds nothing at first."""
        return self.situation.workers[self.letter]

    @property
    def middle(self) -> UUID:
        """The job that others lock after one and before another, whatever their order."""
        return self.situation.jobs[1]

    def held(self) -> list[QueuedJob]:
        """What the holder runs, in this session's order."""
        return sorted(self.situation.running(), key=lambda job: self.ids.index(job.id))

    async def run(self, statement: Statement[Any]) -> Any:
        """Run a statement once: `Store.run` would try again after a deadlock, a finding here."""
        return await self.store._run([statement])

    async def ask(self, request: Request[Any]) -> Any:
        return await carry_out(request, self.run, lambda _: None)


Operation = Callable[[Part], Awaitable[Any]]
_OPERATIONS: dict[str, Operation] = {}
_SITUATIONS: dict[str, tuple[str, ...]] = {}


def operation(*where: str) -> Callable[[Operation], Operation]:
    """Let the search know of an operation, and of the situations that are of interest to it.

    One without a situation is played only where it is asked for.
    """

    def add(act: Operation) -> Operation:
        name = getattr(act, "__name__", "")
        _OPERATIONS[name], _SITUATIONS[name] = act, where
        return act

    return add


def listed() -> Mapping[str, Operation]:
    """All operations by name, in the order in which they are written."""
    importlib.import_module("tests.faults.explorer.operations")  # they enter themselves
    return _OPERATIONS


def situations(name: str) -> tuple[str, ...]:
    """Where an operation has something to do."""
    return _SITUATIONS[name]
