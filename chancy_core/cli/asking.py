"""A question before something is done that cannot be undone."""

import sys

import anyio

from chancy_core.cli.failing import Refused
from chancy_core.cli.output import Output


async def ensure(question: str, output: Output, *, yes: bool) -> None:
    """Return if a person agrees, or has said *yes* already.

    Raises `Refused` if not, and where nobody can be asked.
    """
    if yes:
        return
    if not sys.stdin.isatty() or not output.watched:
        raise Refused(f"{question} Nobody can be asked here: say --yes")
    output.say(f"{question} [y/N]")
    await anyio.wait_readable(sys.stdin)  # so that Ctrl-C is heard on every event loop
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise Refused("nothing was done")
