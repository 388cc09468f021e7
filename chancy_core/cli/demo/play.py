"""What happens in the demo: it is opened, shown, cleaned up, and judged."""

import os
import platform
import signal
import sys

import anyio
from anyio import to_thread
from rich.console import Console

from chancy_core import signals
from chancy_core.app import Chancy, background
from chancy_core.cli.demo import report
from chancy_core.cli.demo.acts import Acts
from chancy_core.cli.demo.crew import hired
from chancy_core.cli.demo.figures import Figures
from chancy_core.cli.demo.sources import source_files
from chancy_core.cli.demo.stage import Stage
from chancy_core.cli.demo.telling import Teller

#: The exit status of what was interrupted by Ctrl-C, as shells have it.
INTERRUPTED = 128 + signal.SIGINT


async def play(backend: str, as_json: bool) -> int:
    """Show it all, and return the exit status; SIGINT and SIGTERM end it, cleaned up."""
    # Talk goes elsewhere where a program reads the figures.
    console = Console(stderr=as_json, highlight=False)
    told: list[signal.Signals] = []
    async with background() as tasks:
        with anyio.CancelScope() as scope:

            def stop(number: signal.Signals) -> None:
                told.append(number)
                scope.cancel()

            tasks.start_soon(signals.obey, stop)
            figures = await _show(backend, console)
    if told:
        console.print("Stopped: the demo's workers and tables are gone.")
        return 128 + told[0]
    report.show(console, figures)
    if as_json:
        sys.stdout.write(report.as_json(figures) + "\n")
    return 0 if figures.agreed else 1


async def _show(backend: str, console: Console) -> Figures:
    """Play all acts, in a room of their own that is gone in the end."""
    stage = Stage(await to_thread.run_sync(source_files))
    chancy = Chancy(prefix=f"demo_{os.getpid()}_")
    with Teller(console) as teller:
        teller.title(
            f"chancy demo: {len(stage.files):,} source files of Python "
            f"{platform.python_version()}, read by jobs"
        )
        async with chancy:
            try:
                async with hired(chancy, backend) as crew:
                    return await Acts(chancy, crew, teller, stage).play()
            finally:
                with anyio.CancelScope(shield=True):
                    await chancy.migrate(to=dict.fromkeys(chancy.migrator().lines, 0))
