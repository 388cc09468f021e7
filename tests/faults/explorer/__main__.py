"""Plays one order: `python -m tests.faults.explorer running cancel leave ABABBB`."""

import os
import sys
from contextlib import ExitStack

from chancy import Chancy
from chancy_core import embedded
from chancy_core.testing import database
from tests.faults.explorer.laws import wrong
from tests.faults.explorer.play import Player
from tests.faults.explorer.played import Programme, shown


def main(situation: str, *rest: str) -> int:
    """Show each step and its answer; 1 if something is wrong with them."""
    *operations, word = rest
    with ExitStack() as stack:
        server = os.environ.get("CHANCY_TEST_DSN")
        dsn = stack.enter_context(database(server or stack.enter_context(embedded.throwaway()).dsn))
        with Chancy(dsn) as chancy:
            chancy.sync_migrate()
        player = stack.enter_context(Player(dsn))
        played = player.play(Programme(situation, tuple(operations)), word)
    says = wrong(played)
    print(f"{played.programme} {played.word}", shown(played.steps), *says, sep="\n")
    return bool(says)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
