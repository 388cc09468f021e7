"""The report of a run: on what it was made, and a table for each cell."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version

import psycopg

from tests.benchmarks.figures import Figures

SETTINGS = ("shared_buffers", "fsync", "synchronous_commit", "full_page_writes", "autovacuum")
NAMES = ("chancy", "anyio", "trio", "psycopg")


def machine(server: str) -> dict[str, object]:
    """What the figures depend on."""
    with psycopg.connect(server) as conn:
        settings = {
            name: (conn.execute("SELECT current_setting(%s)", [name]).fetchone() or ("?",))[0]
            for name in SETTINGS
        }
        postgresql = conn.info.server_version
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "postgresql": f"{postgresql // 10000}.{postgresql % 10000}",
        "versions": {name: version(name) for name in NAMES},
        "settings": settings,
    }


def table(figures: Figures) -> str:
    """One cell as Markdown: each side's figures, the spread of the first, and its ratio."""
    cell, main = figures.cell, figures.cell.main
    head = ["side", f"{main.title}, median", "lowest to highest"]
    beside = cell.reference if cell.reference in figures.sides() else ""
    head += [f"beside {beside}"] if beside else []
    others = [column for column in cell.columns[1:] if _measured(figures, column.figure)]
    head += [column.title for column in others]
    lines = [f"**{cell.name}**: {cell.what}.", "", _row(head), _row(["---"] * len(head))]
    for side in figures.sides():
        found = figures.values(side, main.figure)
        row = [side, main.show(figures.median(side))]
        row.append(f"{main.show(min(found))} to {main.show(max(found))}")
        row += [f"{figures.ratio(side, beside):.2f}"] if beside else []
        for column in others:
            there = figures.values(side, column.figure)
            row.append(column.show(figures.median(side, column.figure)) if there else "")
        lines.append(_row(row))
    return "\n".join([*lines, "", *_owed(figures)])


def _measured(figures: Figures, figure: str) -> bool:
    return any(figures.values(side, figure) for side in figures.sides())


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _owed(figures: Figures) -> list[str]:
    lines = []
    for owed, of, value in figures.kept():
        whom = f" ({of})" if of != owed.of else ""
        said = "kept" if owed.met(value) else "NOT kept"
        lines.append(f"* {owed}{whom}: {value:,.2f}, {said}")
    lines += [f"* {side} could not: {why.splitlines()[-1]}" for side, why in figures.failed.items()]
    return lines
