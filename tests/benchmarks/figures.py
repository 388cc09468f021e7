"""What was measured, round by round, and what it comes to. Pure."""

import statistics
from collections.abc import Iterator, Mapping

from attrs import field, frozen

from tests.benchmarks.cells import PYTHON_PEERS, Cell, Owed
from tests.benchmarks.peers import PEERS

Answer = Mapping[str, float]


@frozen
class Figures:
    """The answers of each side of a cell, round by round."""

    cell: Cell
    size: int
    answers: dict[str, list[Answer]] = field(factory=dict)
    #: Those that could not do it, and why.
    failed: dict[str, str] = field(factory=dict)

    @property
    def rounds(self) -> int:
        """How often each side was measured."""
        return max((len(found) for found in self.answers.values()), default=0)

    def values(self, side: str, figure: str) -> list[float]:
        """What a side gave, round by round."""
        return [answer[figure] for answer in self.answers[side] if figure in answer]

    def median(self, side: str, figure: str | None = None) -> float:
        """The median of a side's figure: of the cell's main one, if none is named."""
        return statistics.median(self.values(side, figure or self.cell.main.figure))

    def ratio(self, side: str, other: str, figure: str | None = None) -> float:
        """The median of the ratios of each round: both were measured under the same weather."""
        name = figure or self.cell.main.figure
        pairs = zip(self.values(side, name), self.values(other, name), strict=True)
        return statistics.median(mine / its if its else float("inf") for mine, its in pairs)

    def sides(self) -> list[str]:
        """Those that were measured, in the order of the cell, or the best first if peers are in."""
        names = [name for name, found in self.answers.items() if found]
        return sorted(names, key=self.median, reverse=True) if self.cell.peers else names

    def best_peer(self) -> str | None:
        """The peer with the best median, of those in Python."""
        known = {peer.name for peer in PEERS if peer.language == "Python"}
        return max((name for name in self.sides() if name in known), key=self.median, default=None)

    def kept(self) -> Iterator[tuple[Owed, str | None, float]]:
        """Each thing that is owed and could be measured: of whom, and the ratio or the figure."""
        there = self.sides()
        for owed in self.cell.owed:
            of = self.best_peer() if owed.of == PYTHON_PEERS else owed.of
            if owed.side not in there or (owed.of and of not in there):
                continue
            if not self.values(owed.side, owed.figure):
                continue
            if of is None:
                yield owed, None, self.median(owed.side, owed.figure)
            else:
                yield owed, of, self.ratio(owed.side, of, owed.figure)

    def broken(self) -> list[Owed]:
        """What is owed and not there."""
        return [owed for owed, _, value in self.kept() if not owed.met(value)]
