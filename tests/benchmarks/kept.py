"""The raw figures of runs, kept as JSON: each cell as it was measured last."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.benchmarks.catalogue import CELLS
from tests.benchmarks.cells import PEER_NAMES
from tests.benchmarks.figures import Figures


@frozen
class Kept:
    """A cell, and on what it was measured."""

    about: dict[str, Any]
    figures: Figures


def keep(to: Path, about: dict[str, object], figures: Figures) -> None:
    """Keep the figures of a cell, beside those of others that are there already."""
    raw = json.loads(to.read_text()) if to.exists() else {}
    raw[figures.cell.name] = {
        "about": about,
        "size": figures.size,
        "answers": figures.answers,
        "failed": figures.failed,
    }
    to.write_text(json.dumps(raw, indent=1) + "\n")


def load(source: Path) -> list[Kept]:
    """What was kept, in the order of the catalogue; cells that are no more are left out."""
    raw = json.loads(source.read_text())
    return [
        Kept(found["about"], Figures(cell, found["size"], found["answers"], found["failed"]))
        for cell in CELLS
        if (found := raw.get(cell.name))
    ]


#: What is left of a ratio that has fallen by a third.
FALLEN = 2 / 3


def fallen(before: Sequence[Kept], now: Figures) -> Iterator[str]:
    """Say of each side of ours whose ratio to the reference is less than two thirds of what it was.

    Ratios, since another machine, or another day, has other rates.
    """
    reference = now.cell.reference
    then = next((each.figures for each in before if each.figures.cell == now.cell), None)
    if then is None or reference not in set(then.sides()) & set(now.sides()):
        return
    for side in now.sides():
        if side in then.sides() and side not in {reference, *PEER_NAMES}:
            was, is_ = then.ratio(side, reference), now.ratio(side, reference)
            if is_ < was * FALLEN:
                yield f"{now.cell.name}, {side}: {is_:.2f} of {reference}, once {was:.2f}"
