"""The raw figures of runs, kept as JSON: each cell as it was measured last."""

import json
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.benchmarks.catalogue import CELLS
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
