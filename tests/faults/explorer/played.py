"""What is to be played, and what came of it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from attrs import define, frozen

from tests.faults.explorer.part import Change
from tests.faults.explorer.session import Rows
from tests.faults.explorer.situation import Situation
from tests.faults.history import History, Moved

LETTERS = "ABC"


@frozen
class Programme:
    """Operations that meet in a situation, and statements that are to be broken."""

    situation: str
    operations: tuple[str, ...]
    change: Change | None = None

    def __str__(self) -> str:
        return f"{self.situation} {' '.join(self.operations)}"


@define
class Done:
    """One step of an order: who asked what, after how many others, and what came of it."""

    letter: str
    says: str
    answer: Any = "waits"
    #: Who went on while this one waited.
    behind: str = ""

    def __str__(self) -> str:
        waited = f" (waited for {self.behind})" if self.behind else ""
        return f"    {self.letter}  {self.says}{waited}: {self.answer!s:.300}"


@frozen
class Played:
    """An order that was played: its steps, what the sessions were told, what became of the jobs."""

    programme: Programme
    #: The order as it came about: a letter for each step.
    word: str
    #: Who else could have gone on, before each step.
    ready: tuple[str, ...]
    steps: Sequence[Done]
    #: What the operations answered, or the errors that they raised; of those that came to an end.
    answers: dict[str, Any]
    situation: Situation
    moved: tuple[Moved, ...]
    #: Rows at the end: (id, state, worker, lease, cancelling, unique_key) of live jobs.
    live: Rows
    #: (id, state, lease) of finished ones.
    finished: Rows
    #: Leases for which something was written along.
    effects: list[UUID]
    whole: bool = True

    def told(self, name: str) -> list[tuple[str, Any]]:
        """The letters and the answers of those who did *name*, and were not interrupted."""
        acting = zip(LETTERS, self.programme.operations, strict=False)
        return [(a, self.answers[a]) for a, did in acting if did == name and a in self.answers]

    def does(self, *names: str) -> bool:
        """Whether any of these operations takes part."""
        return bool(set(names) & set(self.programme.operations))

    def history(self) -> History:
        return History((), self.moved)


def shown(done: Sequence[Done]) -> str:
    """The steps of an order, each with its answer."""
    return "\n".join(map(str, done))
