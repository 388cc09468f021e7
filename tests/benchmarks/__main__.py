"""Ours beside the limit and the peers, in turns on one server: `python -m tests.benchmarks`.

    python -m tests.benchmarks [--cells push drain] [--rounds 5] [--size N | --scale 0.01]
                               [--peers NAME ...] [--to FIGURES.json] [--page docs/performance.md]
                               [--since FIGURES.json]

Prints for each cell the median, the spread and the ratio of each side, and what is owed. `--to`
keeps the raw figures as JSON, beside those of other cells that are there already; `--page` writes
the tables of all that is kept there into a page, and draws its plots. Peers are installed from
their package index, each into an environment of its own below ~/.cache; one that cannot be is left
out, and named with the reason.

The status is 1 if something that is owed is not there; with `--since`, if a ratio to the side that
the others are measured by has fallen by a third since those figures were kept.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import kept, page, report
from tests.benchmarks.catalogue import CELLS
from tests.benchmarks.cells import PEER_NAMES, SCALE, Cell, Side, scaled
from tests.benchmarks.environments import NotInstalled
from tests.benchmarks.figures import Figures
from tests.benchmarks.peers import PEERS
from tests.benchmarks.rounds import Failed, measure
from tests.benchmarks.server import durable_server

#: How often each side is measured, if neither the run nor the cell says so.
ROUNDS = 5


def peers(names: Sequence[str]) -> list[Side]:
    """The peers of these names that can be run."""
    found = []
    for peer in PEERS:
        if peer.name in names:
            try:
                found.append(Side.of(peer))
            except NotInstalled as exc:
                print(f"left out: {exc}")
    return found


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cells = [cell.name for cell in CELLS]
    parser.add_argument("--cells", nargs="*", choices=cells, default=cells)
    parser.add_argument("--rounds", type=int, help="of each cell, in place of its own number")
    parser.add_argument("--size", "--jobs", type=int, help="of each cell, in place of its own")
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes, such as 0.01")
    parser.add_argument(
        "--peers", nargs="*", choices=PEER_NAMES, default=PEER_NAMES, help="which of them, if any"
    )
    parser.add_argument("--to", type=Path, help="where the raw figures are kept")
    parser.add_argument("--since", type=Path, help="figures that were kept, to compare with")
    parser.add_argument("--page", type=Path, help="the page that is written from what is kept")
    return parser


def main() -> int:
    """Measure, print and keep; the status is 1 if something is not as it should be."""
    told = arguments().parse_args()
    if told.page and not told.to:
        raise SystemExit("--page is written from the figures that --to keeps")
    os.environ[SCALE] = str(told.scale)
    wanted = [cell for cell in CELLS if cell.name in told.cells]
    fine = measured(wanted, told) if wanted else True
    if told.page:
        page.write(told.page, kept.load(told.to))
    return int(not fine)


def measured(wanted: Sequence[Cell], told: argparse.Namespace) -> bool:
    """Measure these cells, print and keep them; answers whether all is as it should be."""
    others = peers(told.peers) if any(cell.peers for cell in wanted) else []
    before = kept.load(told.since) if told.since else None
    fine = True
    with durable_server() as server:
        about = report.machine(server)
        for cell in wanted:
            there = [*cell.sides, *(others if cell.peers else ())]
            rounds = told.rounds or cell.rounds or ROUNDS
            try:
                figures = measure(cell, there, server, rounds, told.size or scaled(cell.size))
            except Failed as exc:  # the other cells may take an hour, and can be measured
                print(f"\n**{cell.name}** could not be measured: {exc}\n", flush=True)
                fine = False
                continue
            print("\n" + report.table(figures) + "\n", flush=True)
            if told.to:
                kept.keep(told.to, about, figures)
            fine &= not figures.broken() if before is None else steady(before, figures)
    return fine


def steady(before: Sequence[kept.Kept], figures: Figures) -> bool:
    """Whether no ratio has fallen much; those that have are named."""
    fallen = list(kept.fallen(before, figures))
    for each in fallen:
        print(f"has fallen: {each}\n", flush=True)
    return not fallen


if __name__ == "__main__":
    sys.exit(main())
