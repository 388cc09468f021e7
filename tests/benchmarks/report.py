"""The report of a run: a table for each cell, and the raw figures beside it."""

import json
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psycopg

from tests.benchmarks.rounds import Figures

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


def table(figures: Figures, reference: str) -> str:
    """One cell as Markdown: each side's median, spread, and ratio to *reference*."""
    lines = [
        f"**{figures.cell.name}**: {figures.cell.what}.",
        "",
        f"| side | jobs/s, median | lowest to highest | beside {reference} |",
        "| --- | --- | --- | --- |",
    ]
    for side in sorted(figures.rates, key=figures.median, reverse=True):
        rates = figures.rates[side]
        lines.append(
            f"| {side} | {statistics.median(rates):,.0f} | {min(rates):,.0f} to {max(rates):,.0f}"
            f" | {figures.ratio(side, reference):.2f} |"
        )
    lines += ["", *_owed(figures)]
    lines += [f"* {side} could not: {why.splitlines()[-1]}" for side, why in figures.failed.items()]
    return "\n".join(lines)


def _owed(figures: Figures) -> list[str]:
    return [
        f"* {owed.side} owes {owed.least} of {of}: {ratio:.2f},"
        f" {'kept' if ratio >= owed.least else 'NOT kept'}"
        for owed, of, ratio in figures.kept()
    ]


def save(to: Path, about: dict[str, object], all_: Sequence[Figures]) -> None:
    """Keep the raw figures as JSON."""
    raw = {figures.cell.name: figures.rates for figures in all_}
    to.write_text(json.dumps(about | {"rates": raw}, indent=1) + "\n")
