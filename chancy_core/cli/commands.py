"""The commands of `chancy`, and their options."""

import sys

import anyio
from cyclopts import App

from chancy_core.cli.demo import demo as run_demo
from chancy_core.errors import ChancyError

app = App(name="chancy", help="A job queue on PostgreSQL for asyncio and trio.")


@app.command
def demo(*, trio: bool = False) -> None:
    """Show it working: an embedded server, three queues, thousands of jobs, their sums checked.

    Parameters
    ----------
    trio
        Run on trio instead of asyncio.
    """
    try:
        agreed = anyio.run(run_demo, backend="trio" if trio else "asyncio")
    except ChancyError as exc:
        sys.exit(f"chancy: {exc}")
    sys.exit(0 if agreed else 1)
