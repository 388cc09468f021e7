"""Measures the sides of a cell in turns, on one server: each time on a database of its own."""

import json
import os
import statistics
import subprocess
from collections.abc import Iterator, Sequence

from attrs import field, frozen

from chancy_core.testing import database
from tests.benchmarks.cells import PEER_NAMES, ROOT, Cell, Owed, Side

#: Seconds that one side may take in one round.
PATIENCE = 900


@frozen
class Figures:
    """The rates of each side of a cell, round by round."""

    cell: Cell
    rates: dict[str, list[float]] = field(factory=dict)
    #: Peers that could not do it, and why.
    failed: dict[str, str] = field(factory=dict)

    def median(self, side: str) -> float:
        """The median of a side's rates."""
        return statistics.median(self.rates[side])

    def ratio(self, side: str, other: str) -> float:
        """The median of the ratios of each round: both were measured under the same weather."""
        pairs = zip(self.rates[side], self.rates[other], strict=True)
        return statistics.median(mine / its for mine, its in pairs)

    def best_peer(self) -> str | None:
        """The peer with the best median."""
        there = [name for name in self.rates if name in PEER_NAMES]
        return max(there, key=self.median, default=None)

    def kept(self) -> Iterator[tuple[Owed, str, float]]:
        """Each thing that is owed and could be measured: of whom, and the ratio."""
        for owed in self.cell.owed:
            of = owed.of or self.best_peer()
            if of in self.rates and owed.side in self.rates:
                yield owed, of, self.ratio(owed.side, of)


def measure(cell: Cell, sides: Sequence[Side], server: str, rounds: int, jobs: int) -> Figures:
    """Measure all sides in turns, so often; what each gave is printed as it comes.

    A peer that fails is left out from then on. Raises `Failed` where one of ours does.
    """
    figures = Figures(cell, {side.name: [] for side in sides})
    for number in range(rounds):
        # In another order each time, so that nobody always follows the same one.
        turn = number % len(sides)
        for side in (*sides[turn:], *sides[:turn]):
            if side.name in figures.failed:
                continue
            said = f"{cell.name:8} round {number + 1}  {side.name:20}"
            try:
                rate = _once(cell, side, server, max(1, round(jobs * side.share)))
            except Failed as exc:
                if side.name not in PEER_NAMES:
                    raise
                figures.failed[side.name] = str(exc)
                figures.rates.pop(side.name)
                print(f"{said} failed: {exc}", flush=True)
            else:
                figures.rates[side.name].append(rate)
                print(f"{said} {rate:12,.0f}/s", flush=True)
    return figures


class Failed(Exception):
    """A side could not do what a cell asks for; says what it printed."""


def _once(cell: Cell, side: Side, server: str, jobs: int) -> float:
    with database(server) as dsn:
        done = subprocess.run(
            [*side.command, cell.name, str(jobs)],
            cwd=ROOT, env=os.environ | side.environment | {"CHANCY_BENCHMARK_DSN": dsn},
            check=False, capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Failed(f"{side.name} at {cell.name}: {said}")
    answer = json.loads(done.stdout.splitlines()[-1])
    return float(answer["rate"])
