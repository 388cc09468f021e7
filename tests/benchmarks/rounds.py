"""Measures the sides of a cell in turns, on one server: each on a database of its own."""

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack

from chancy_core.testing import database
from tests.benchmarks.cells import PEER_NAMES, ROOT, Cell, Side
from tests.benchmarks.figures import Answer, Figures

#: Seconds that one side may take in one round.
PATIENCE = 3600


class Failed(Exception):
    """A side could not do what a cell asks for; says what it printed."""


class Missing(Failed):
    """A side lacks something here, such as a newer Python; says what."""


def measure(cell: Cell, sides: Sequence[Side], server: str, rounds: int, size: int) -> Figures:
    """Measure all sides in turns, so often; what each gave is printed as it comes.

    A peer that fails is left out from then on, and so is whoever lacks something. Raises `Failed`
    where one of ours fails.
    """
    figures = Figures(cell, size, {side.name: [] for side in sides})
    with ExitStack() as keeping:
        kept = {s.name: keeping.enter_context(database(server)) for s in sides if cell.keeps}
        for number in range(rounds):
            # In another order each time, so that nobody always follows the same one.
            turn = number % len(sides)
            for side in (*sides[turn:], *sides[:turn]):
                if side.name in figures.failed:
                    continue
                said = f"{cell.name:14} round {number + 1}  {side.name:28}"
                try:
                    answer = _once(cell, side, server, size, kept.get(side.name))
                except Failed as exc:
                    if side.name not in PEER_NAMES and not isinstance(exc, Missing):
                        raise
                    figures.failed[side.name] = str(exc)
                    figures.answers.pop(side.name)
                    how = "left out" if isinstance(exc, Missing) else "failed"
                    print(f"{said} {how}: {exc}", flush=True)
                else:
                    figures.answers[side.name].append(answer)
                    print(f"{said} {_shown(cell, answer)}", flush=True)
    return figures


def _shown(cell: Cell, answer: Answer) -> str:
    return ", ".join(
        f"{column.show(answer[column.figure])} {column.title}"
        for column in cell.columns
        if column.figure in answer
    )


def _once(cell: Cell, side: Side, server: str, size: int, kept: str | None) -> Answer:
    with ExitStack() as own:
        dsn = kept or own.enter_context(database(server))
        try:
            done = subprocess.run(
                [*side.command, cell.name, str(max(1, round(size * side.share)))],
                cwd=ROOT, env=os.environ | side.environment | {"CHANCY_BENCHMARK_DSN": dsn},
                check=False, capture_output=True, text=True, timeout=PATIENCE,
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise Failed(f"{side.name} at {cell.name}: not done after {PATIENCE} s") from exc
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise Failed(f"{side.name} at {cell.name}: {said}")
    answer = json.loads(done.stdout.splitlines()[-1])
    if why := answer.get("missing"):
        raise Missing(why)
    return {name: float(value) for name, value in answer.items()}
