"""Goes through the orders of programmes; of one that goes wrong it finds the shortest beginning."""

import random
from collections.abc import Iterator
from itertools import combinations_with_replacement
from math import factorial, prod

from attrs import frozen

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
    """All orders of a programme, or *most* that are drawn, always the same, if there are more."""
    played = player.play(programme)
    yield played
    if _how_many(played.word) > most:
        yield from _drawn(player, programme, most, {played.word})
        return
    while (word := _following(played)) is not None:
        played = player.play(programme, word)
        yield played


def _how_many(word: str) -> int:
    """In how many orders these steps could be put if nobody waited for anybody."""
    return factorial(len(word)) // prod(factorial(word.count(letter)) for letter in LETTERS)


def _following(played: Played) -> str | None:
    """How the next order begins: at the last place where another session could go on, it does."""
    for place in range(len(played.ready) - 1, -1, -1):
        for letter in played.ready[place]:
            if letter > played.word[place]:
                return played.word[:place] + letter
    return None


def _drawn(player: Player, programme: Programme, most: int, seen: set[str]) -> Iterator[Played]:
    draw = random.Random(str(programme))
    letters = LETTERS[: len(programme.operations)]
    for _ in range(2 * most):
        if len(seen) >= most:
            return
        played = player.play(programme, "".join(draw.choices(letters, k=LONG)))
        if played.word not in seen:
            seen.add(played.word)
            yield played


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
