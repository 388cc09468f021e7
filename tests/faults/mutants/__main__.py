"""Take each guard out, and show which tests miss it: `python -m tests.faults.mutants`.

The exit status is 1 if a mutant survives, or if the code as it is fails a test.
"""

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from chancy_core import embedded
from tests.faults.mutants.guards import MUTANTS
from tests.faults.mutants.trial import Ran, trials
from tests.faults.sizes import figure


def told(ran: Ran) -> str:
    """A line about a run, and all that it printed if it did not come out as it should."""
    name = ran.mutant.name if ran.mutant else "the code as it is"
    tests = ran.failed if ran.mutant else {f"{len(ran.passed)} tests"}
    colour = "red" if ran.mutant else "green"
    line = f"{name} | {', '.join(sorted(tests))} | {ran.seconds:.1f} s | {colour}"
    return line if ran.as_it_should else f"{ran.output}\n{name} | NOT {colour}: {ran.asked - tests}"


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", help="try the mutants whose names hold this")
    only = options.parse_args().only
    mutants = [mutant for mutant in MUTANTS if only in mutant.name]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = os.environ.get("CHANCY_TEST_DSN")
        if server is None:
            lease = embedded.throwaway(settings={"max_connections": "200"})
            server = stack.enter_context(lease).dsn
        runs = []
        for ran in trials(mutants, server, folder):
            print(told(ran), flush=True)
            runs.append(ran)
    caught = sum(ran.as_it_should for ran in runs if ran.mutant)
    figure("mutants: caught, of", [caught, len(mutants)])
    for ran in runs:
        if ran.mutant:
            red = [test.partition("::")[2] for test in sorted(ran.failed)]
            figure(f"mutant: {ran.mutant.name}; red", red or "NOTHING")
    return int(not all(ran.as_it_should for ran in runs))


if __name__ == "__main__":
    sys.exit(main())
