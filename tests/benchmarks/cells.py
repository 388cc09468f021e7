"""What a cell is: one thing that is measured, on which sides, in what figures, and what is owed."""

import os
import sys
from pathlib import Path

from attrs import field, frozen

from tests.benchmarks.environments import command_of
from tests.benchmarks.peers import PEERS, Peer

ROOT = Path(__file__).parents[2]
#: The names that stand for all peers in what is owed: for the best of those written in Python.
PYTHON_PEERS = "the best Python peer"
PEER_NAMES = tuple(peer.name for peer in PEERS)

#: By how much each size is multiplied: `--scale 0.01` is a quick look at what takes minutes.
SCALE = "CHANCY_BENCHMARK_SCALE"


def scaled(size: int, least: int = 1) -> int:
    """A size as this run has it."""
    return max(least, round(size * float(os.environ.get(SCALE, "1"))))


@frozen
class Side:
    """Somebody who can be measured: a command, and how many of a cell's jobs it gets."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(factory=dict)
    share: float = 1.0

    @classmethod
    def of(cls, peer: Peer) -> "Side":
        """A peer; raises `NotInstalled` if it cannot be run here."""
        command, environment = command_of(peer)
        return cls(peer.name, command, peer.environment | environment, peer.share)


def own(module: str, *arguments: str) -> list[str]:
    """The command of a side that is a module of this package."""
    return [sys.executable, "-m", f"tests.benchmarks.sides.{module}", *arguments]


def ours(name: str, module: str, *arguments: str, backend: str = "asyncio") -> Side:
    """A side that runs our own code, on this event loop."""
    return Side(name, own(module, *arguments), {"CHANCY_BENCHMARK_BACKEND": backend})


@frozen
class Column:
    """One figure of each side: under which name a side answers it, and how it is shown."""

    figure: str
    title: str
    digits: int = 0

    def show(self, value: float) -> str:
        """A value as it stands in a table."""
        return f"{value:,.{self.digits}f}"


@frozen
class Owed:
    """What a figure of a side has to be: at least, or at most, so much.

    Of another side's figure, if *of* names one or `PYTHON_PEERS`; else the figure itself.
    """

    side: str
    least: float | None = None
    of: str | None = None
    figure: str = "rate"
    most: float | None = None

    def met(self, value: float) -> bool:
        """Whether a ratio, or a figure, is what is owed."""
        return (self.least is None or value >= self.least) and (
            self.most is None or value <= self.most
        )

    def __str__(self) -> str:
        bound = f"at least {self.least:,g}" if self.most is None else f"at most {self.most:,g}"
        what = "" if self.figure == "rate" else f" in {self.figure}"
        return f"{self.side} owes{what} {bound}" + (f" of {self.of}" if self.of else "")


RATE = Column("rate", "jobs/s")


@frozen
class Cell:
    """One thing that is measured: by this name at each side."""

    name: str
    what: str
    #: How much of it is done in each round at full size, and of what.
    size: int
    sides: tuple[Side, ...]
    owed: tuple[Owed, ...] = ()
    unit: str = "jobs"
    columns: tuple[Column, ...] = (RATE,)
    #: The side beside which the others stand.
    reference: str = ""
    #: Whether the peers can do it, too.
    peers: bool = False
    #: How often, if that is not left to the run: what takes long is long enough once.
    rounds: int | None = None
    #: Whether each side keeps its database over all rounds: where filling it takes minutes.
    keeps: bool = False

    @property
    def main(self) -> Column:
        """The figure that the cell is about."""
        return self.columns[0]
