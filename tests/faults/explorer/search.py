"""Goes through the orders of programmes; of one that goes wrong it finds the shortest beginning."""

import random
from collections.abc import Iterator
from itertools import combinations_with_replacement

from attrs import define, field, frozen

from tests.faults.explorer.laws import wrong
from tests.faults.explorer.part import listed, situations
from tests.faults.explorer.play import Player
from tests.faults.explorer.played import LETTERS, Played, Programme, shown
from tests.faults.explorer.situation import NAMED

#: More steps than any session takes.
LONG = 40


@frozen
class Finding:
    """An order in which something goes wrong, and the shortest beginning of it that shows what."""

    played: Played
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        says = "\n    ".join(self.wrong)
        return f"{self.played.programme} {self.played.word}\n{shown(self.played.steps)}\n    {says}"


def orders(player: Player, programme: Programme, most: int) -> Iterator[Played]:
    """All orders of a programme, each once; of more than *most*, as many, drawn always the same."""
    unplayed = Unplayed(random.Random(str(programme)))
    for _ in range(most):
        played = player.play(programme, unplayed.word())
        unplayed.note(played)
        yield played
        if not unplayed.left:
            return


@define
class Unplayed:
    """The orders that were not played yet, as a tree of beginnings."""

    _draw: random.Random
    #: Who could go on after a beginning, as far as it is known.
    _ready: dict[str, str] = field(factory=dict)
    #: The beginnings of which every order was played.
    _over: set[str] = field(factory=set)

    @property
    def left(self) -> bool:
        return "" not in self._over

    def word(self) -> str:
        """An order that was not played, as far as it is known, and then any letters."""
        word = ""
        while word in self._ready:
            word += self._draw.choice([c for c in self._ready[word] if word + c not in self._over])
        return word + "".join(self._draw.choices(LETTERS, k=LONG))

    def note(self, played: Played) -> None:
        """Note that an order was played, and what else there is."""
        self._over.add(played.word)
        for place in reversed(range(len(played.ready))):
            beginning = played.word[:place]
            self._ready[beginning] = played.ready[place]
            if all(beginning + letter in self._over for letter in played.ready[place]):
                self._over.add(beginning)


def findings(player: Player, programme: Programme, most: int) -> Iterator[Finding | None]:
    """For each order of a programme, what is wrong with it, if anything is."""
    for played in orders(player, programme, most):
        yield _shortest(player, played) if wrong(played) else None


def _shortest(player: Player, whole: Played) -> Finding:
    for steps in range(1, len(whole.word)):
        played = player.play(whole.programme, whole.word, steps)
        if says := wrong(played):
            return Finding(played, tuple(says))
    return Finding(whole, tuple(wrong(whole)))


def pairs(*, thorough: bool = False) -> Iterator[Programme]:
    """Every pair of operations where both have something to do, or, if *thorough*, one has."""
    wanted = [name for name in listed() if situations(name)]
    for names in combinations_with_replacement(wanted, 2):
        first, second = (situations(name) for name in names)
        both = [name for name in NAMED if name in first and name in second]
        either = [name for name in NAMED if name in first or name in second]
        for situation in either if thorough else both or either[:1]:
            yield Programme(situation, names)


#: What locks several rows, in the order of ids or of keys: these wait crosswise, if any do.
LOCKING = {
    "pending": ("cancel", "purge", "delete_queue", "claim", "push"),
    "running": ("cancel", "succeed", "fail", "leave", "audit", "complete"),
    "orphaned": ("rescue", "succeed", "cancel", "claim", "renew"),
    "due": ("cancel", "retry", "delete_queue", "promote", "purge"),
    "mixed": ("retry", "purge", "cancel", "push"),
    "finished": ("retry", "purge", "push"),
    "limited": ("claim_limited", "declare", "delete_queue", "pause"),
}
#: Who holds the middle job for a moment, so that others hold one each and wait for it.
HOLDING = {"mixed": "cancel_undone", "finished": "retry_undone", "orphaned": "complete_undone"}


def triples(*, thorough: bool = False) -> Iterator[Programme]:
    """Two operations that lock, and one that holds what they want; or, if *thorough*, any three."""
    for situation, names in LOCKING.items():
        for two in combinations_with_replacement(names, 2):
            yield Programme(situation, (HOLDING.get(situation, "cancel_undone"), *two))
        for three in combinations_with_replacement(names, 3) if thorough else ():
            yield Programme(situation, three)
