"""The page about performance: what was measured stands between two markers, and is written here.

What people have written around them stays as it is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks import plot, report
from tests.benchmarks.catalogue import LIMIT
from tests.benchmarks.figures import Figures
from tests.benchmarks.kept import Kept

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

#: The cells that are drawn, and what stands above them.
DRAWN = {
    "push": "Bulk push, jobs a second",
    "drain": "Drain by one worker process, jobs a second",
    "growth": "Drain in a database that has grown, jobs a second",
}


def write(page: Path, measured: Sequence[Kept]) -> None:
    """Write the tables into the page, and the plots into the folder of its name beside it.

    Raises ValueError if its markers are not there.
    """
    text = page.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"{page} has no markers {BEGIN} and {END}")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    folder = page.with_suffix("")
    pictures = draw(folder, measured)
    page.write_text(f"{before}{BEGIN}\n\n{tables(measured, pictures)}\n\n{END}{after}")


def draw(folder: Path, measured: Sequence[Kept]) -> dict[str, str]:
    """Draw what is to be drawn; answers where, for each cell, as the page has to name it."""
    drawn = {}
    for each in measured:
        name = each.figures.cell.name
        if name in DRAWN and each.figures.sides():
            folder.mkdir(exist_ok=True)
            path = folder / f"{name}.svg"
            path.write_text(plot.bars(DRAWN[name], bars(each.figures)))
            drawn[name] = f"{folder.name}/{path.name}"
    return drawn


def bars(figures: Figures) -> list[plot.Bar]:
    """A bar for each side; the limit and the peers are others."""
    mine = {side.name for side in figures.cell.sides} - {LIMIT}
    found = []
    for side in figures.sides():
        values = figures.values(side, figures.cell.main.figure)
        middle = figures.median(side)
        found.append(plot.Bar(side, middle, min(values), max(values), ours=side in mine))
    return found


def tables(measured: Sequence[Kept], pictures: dict[str, str]) -> str:
    """All cells, each with on what and how it was measured."""
    parts = []
    for each in measured:
        figures = each.figures
        parts.append(report.table(figures))
        if picture := pictures.get(figures.cell.name):
            parts.append(f"![{DRAWN[figures.cell.name]}]({picture})")
        often = "once" if figures.rounds == 1 else f"{figures.rounds} times in turns"
        parts.append(f"{figures.size:,} {figures.cell.unit}, {often}; {_on(each.about)}.")
    if measured:
        parts.append(_settings(measured[-1].about))
    return "\n\n".join(parts)


def _on(about: dict[str, Any]) -> str:
    return (
        f"{about['date']}, {about['system']}, Python {about['python']},"
        f" PostgreSQL {about['postgresql']}"
    )


def _settings(about: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    settings = ", ".join(f"`{name} = {value}`" for name, value in about["settings"].items())
    return f"Versions: {versions}. Settings of the server: {settings}."
