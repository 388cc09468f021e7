"""The commands of `chancy`: ours in a table, and those that installed packages offer.

A command is a function or an `App` of cyclopts. None is imported before it is called, so that
`chancy --help` costs no more than this list.
"""

import difflib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from chancy_core import discovery
from chancy_core.cli.failing import Refused
from chancy_core.cli.settings import publish

if TYPE_CHECKING:
    from cyclopts import App

#: The group of entry points by which packages offer commands: a name, a function or an `App`.
GROUP = "chancy.commands"


@frozen
class Command:
    """One command: where it is in this package, what its line says, and under which heading."""

    place: str
    help: str
    heading: str


_ASK, _RUN, _SET_UP = "Jobs and queues", "Running them", "Setting up"

#: Ours, by name, in the order in which they are listed.
COMMANDS = {
    "push": Command("pushing:push", "Push a job, or many from a file.", _ASK),
    "queue": Command("queues:app", "List, declare and change queues.", _ASK),
    "job": Command("jobs:app", "List, show, retry, cancel and purge jobs.", _ASK),
    "dev": Command("developing:dev", "A server, and a worker that follows your changes.", _RUN),
    "worker": Command("working:worker", "Run jobs until it is stopped.", _RUN),
    "workers": Command("workers:workers", "List workers.", _RUN),
    "top": Command("showing:top", "Show what workers run, since when, and what it takes.", _RUN),
    "demo": Command("demonstrating:demo", "Show it working, on a server of its own.", _RUN),
    "migrate": Command("migrating:migrate", "Bring the schema to the newest version.", _SET_UP),
    "roles": Command("granting:roles", "Say who may do what in the database.", _SET_UP),
    "check": Command("checking:check", "Say what would keep it from working.", _SET_UP),
    "plugins": Command("plugging:plugins", "List what installed packages offer.", _SET_UP),
    "completion": Command("completing:completion", "Write what completes its words.", _SET_UP),
}


def offered() -> dict[str, str]:
    """Return who offers which command, without importing any; what is ours is nobody else's."""
    publish({}, os.environ)  # pyproject.toml may say who comes in
    return {
        name: " and ".join(sorted({entry.dist.name for entry in entries if entry.dist}))
        for name, entries in discovery.offers(GROUP).items()
        if name not in COMMANDS
    }


def mount(app: "App", wanted: str | None) -> None:
    """Add our commands to *app*, and the *wanted* one if it is a package's, which is loaded.

    Raises `Refused` if nobody has it, and what `discovery.load` does, which names the distribution.
    """
    for name, command in COMMANDS.items():
        app.command(f"{__package__}.{command.place}", name=name, help=command.help)
    if wanted is None or wanted in COMMANDS:
        return
    strangers = offered()
    if wanted not in strangers:
        close = difflib.get_close_matches(wanted, [*COMMANDS, *strangers], n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise Refused(f"no command is called {wanted!r}: {meant}`chancy --help` lists them")
    app.command(discovery.load(GROUP, wanted), name=wanted)


def named(tokens: Sequence[str], valued: frozenset[str]) -> str | None:
    """Return the command that *tokens* name: the first that is no option, nor the value of one.

    *valued* are the options that take a value and may stand before the command.
    """
    rest = iter(tokens)
    for token in rest:
        if not token.startswith("-"):
            return token
        if token in valued:
            next(rest, None)
    return None
