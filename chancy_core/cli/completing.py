"""`chancy completion`: what a shell needs to complete the words of this command."""

from typing import Literal

from chancy_core import discovery
from chancy_core.cli import commands
from chancy_core.cli.calling import application
from chancy_core.cli.invocation import Here
from chancy_core.errors import OfferError


def completion(shell: Literal["bash", "zsh", "fish"], /, *, here: Here) -> None:
    """Write a script that completes commands and options, for your shell to read when it starts.

    Parameters
    ----------
    shell
        Which shell: bash, zsh or fish.
    """
    app = application()
    for name in commands.offered():
        try:
            app.command(discovery.load(commands.GROUP, name), name=name)
        except OfferError as exc:
            here.output.say(f"left out: {exc}")
    script = app.generate_completion(prog_name="chancy", shell=shell)
    here.output.item({"script": script}, script)
