"""What is measured, on which sides, and what is owed."""

import sys
from pathlib import Path

from attrs import field, frozen

from tests.benchmarks.environments import python_of
from tests.benchmarks.peers import PEERS, Peer

#: What everything is measured against, and what it is measured for.
LIMIT, OURS, TRIO = "limit", "chancy, asyncio", "chancy, trio"


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
        return cls(
            peer.name, [str(python_of(peer)), "-E", str(peer.path)], peer.environment, peer.share
        )


def own(module: str) -> list[str]:
    """The command of a side that is a module of this package."""
    return [sys.executable, "-m", f"tests.benchmarks.{module}"]


OWN = (
    Side(LIMIT, own("limit")),
    Side(OURS, own("ours"), {"CHANCY_BENCHMARK_BACKEND": "asyncio"}),
    Side(TRIO, own("ours"), {"CHANCY_BENCHMARK_BACKEND": "trio"}),
)
ROOT = Path(__file__).parents[2]


@frozen
class Owed:
    """At least so much of another side's figure; of the best of all peers', if it names none."""

    side: str
    least: float
    of: str | None = None


@frozen
class Cell:
    """One thing that is measured: by this name at each side, in jobs per second."""

    name: str
    what: str
    jobs: int
    owed: tuple[Owed, ...] = ()


CELLS = (
    Cell(
        "push",
        "jobs are pushed in bulk",
        100_000,
        (Owed(OURS, 0.5, LIMIT), Owed(OURS, 1.0)),
    ),
    Cell(
        "drain",
        "one worker process runs asynchronous jobs that do nothing",
        100_000,
        (Owed(OURS, 0.6, LIMIT), Owed(OURS, 2.0), Owed(TRIO, 0.75, OURS)),
    ),
)
PEER_NAMES = tuple(peer.name for peer in PEERS)
