"""The commands of `chancy`, and their options."""

import sys

from cyclopts import App

from chancy_core.cli import demo as show
from chancy_core.errors import ChancyError

app = App(name="chancy", help="A job queue on PostgreSQL for asyncio and trio.")


@app.command
def demo(*, trio: bool = False, json: bool = False) -> None:
    """Show it working, in half a minute: workers, queues that change, a kill -9, a rescue.

    Parameters
    ----------
    trio
        Run on trio instead of asyncio.
    json
        Print the final figures as JSON; all that is told goes to standard error.
    """
    try:
        status = show.demo(trio=trio, json=json)
    except ChancyError as exc:
        sys.exit(f"chancy: {exc}")
    sys.exit(status)
