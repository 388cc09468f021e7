"""Ours beside the limit and the peers, in turns on one server: `python -m tests.benchmarks`.

    python -m tests.benchmarks [--cells push drain] [--rounds 5] [--jobs N] [--peers NAME ...]

Prints for each cell the median, the spread and the ratio of each side, and what is owed. `--to`
keeps the raw figures as JSON. Peers are installed from the package index, each into an environment
of its own below ~/.cache; one that cannot be is left out, and named with the reason.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.cells import CELLS, LIMIT, OWN, PEER_NAMES, Side
from tests.benchmarks.environments import NotInstalled
from tests.benchmarks.peers import PEERS
from tests.benchmarks.rounds import Figures, measure
from tests.benchmarks.server import durable_server


def sides(names: Sequence[str]) -> list[Side]:
    """Our own sides and the peers of these names that can be run."""
    found = list(OWN)
    for peer in PEERS:
        if peer.name in names:
            try:
                found.append(Side.of(peer))
            except NotInstalled as exc:
                print(f"left out: {exc}")
    return found


def main() -> int:
    """Measure, print and keep; the status is 1 if something that is owed is not there."""
    parser = argparse.ArgumentParser(description=__doc__)
    cells = [cell.name for cell in CELLS]
    parser.add_argument("--cells", nargs="+", choices=cells, default=cells)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, help="of each cell, in place of its own number")
    parser.add_argument(
        "--peers", nargs="*", choices=PEER_NAMES, default=PEER_NAMES, help="which of them, if any"
    )
    parser.add_argument("--to", type=Path, help="where the raw figures are kept")
    told = parser.parse_args()
    all_: list[Figures] = []
    there = sides(told.peers)
    with durable_server() as server:
        about = report.machine(server)
        for cell in CELLS:
            if cell.name in told.cells:
                all_.append(measure(cell, there, server, told.rounds, told.jobs or cell.jobs))
                print("\n" + report.table(all_[-1], LIMIT) + "\n", flush=True)
    if told.to:
        report.save(told.to, about, all_)
    return int(any(ratio < owed.least for each in all_ for owed, _, ratio in each.kept()))


if __name__ == "__main__":
    sys.exit(main())
