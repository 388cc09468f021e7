"""The demo's last words: its figures as a table, or as JSON."""

import json

from attrs import asdict
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from chancy_core.cli.demo.figures import Figures, Share, Spread


def show(console: Console, figures: Figures) -> None:
    """Print the table, what it measures, and what was checked."""
    console.print()
    console.print(_table(figures))
    for line in (
        f"{figures.files:,} files, {figures.lines:,} lines, {figures.tokens:,} tokens",
        f"crashes: how often the worker of such a job had died; {figures.killed} was killed",
        "retries: how many failed attempts they had; all on purpose",
        "wait: from push to begin, for jobs begun once; all were pushed at the start",
        "run: from the begin of the last attempt until its outcome is written",
    ):
        console.print(Text(f"  {line}"), soft_wrap=True)
    console.print()
    for check in figures.checks:
        mark, style = ("ok   ", "green") if check.holds else ("WRONG", "bold red")
        console.print(Text(f"  {mark}  {check.what}", style), soft_wrap=True)
    said = "The totals agree." if figures.agreed else "The totals do not agree."
    console.print(Text(f"\n{said}", "bold green" if figures.agreed else "bold red"))


def as_json(figures: Figures) -> str:
    """Return the figures as one JSON document; times are in seconds."""
    document = asdict(figures)
    document["checks"] = {check.what: check.holds for check in figures.checks}
    document["agreed"] = figures.agreed
    return json.dumps(document, indent=2)


def _table(figures: Figures) -> Table:
    table = Table(
        title=f"{figures.jobs:,} jobs in {figures.seconds:.1f} s",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        show_footer=True,
    )
    jobs = sum(share.jobs for share in figures.shares)
    table.add_column("worker", "all")
    table.add_column("executor")
    for title, total in (
        ("jobs", jobs),
        ("retries", figures.retries),
        ("crashes", figures.crashes),
    ):
        table.add_column(title, f"{total:,}", justify="right")
    for title in ("wait p50", "p99 s", "run p50", "p99 ms"):
        table.add_column(title, justify="right", no_wrap=True)
    for share in figures.shares:
        table.add_row(*_row(share))
    return table


def _row(share: Share) -> tuple[str, ...]:
    return (
        share.worker,
        share.executor,
        f"{share.jobs:,}",
        f"{share.retries:,}",
        f"{share.crashes:,}",
        *_times(share.wait, 1, ".1f"),
        *_times(share.run, 1000, ".0f"),
    )


def _times(spread: Spread | None, scale: float, form: str) -> tuple[str, str]:
    if spread is None:
        return "-", "-"
    return f"{spread.p50 * scale:{form}}", f"{spread.p99 * scale:{form}}"
