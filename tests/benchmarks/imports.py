"""What the first import costs: the application's, as a multiple of what it cannot do without.

    python -m tests.benchmarks.imports

Each import is timed in a fresh interpreter, 20 times in turns, so that what else the
machine does falls on both; compared are the medians.
"""

import statistics
import subprocess
import sys

OURS = "from chancy import Chancy, Worker, Queue, Job, QueuedJob, Limit, Reference, job"
THEIRS = "import anyio, attrs, pluggy"
ROUNDS = 20
LIMIT = 2.5

TIMED = "import time; begin = time.perf_counter(); {}; print(time.perf_counter() - begin)"


def measure(statement: str) -> float:
    """Seconds that *statement* takes in an interpreter that has just started."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def ratio(rounds: int = ROUNDS) -> tuple[float, float, float]:
    """(our median, theirs, ours divided by theirs)."""
    times: dict[str, list[float]] = {OURS: [], THEIRS: []}
    for statement in times:
        measure(statement)  # once for the files to be read and compiled
    for _ in range(rounds):
        for statement, found in times.items():
            found.append(measure(statement))
    ours, theirs = (statistics.median(found) for found in times.values())
    return ours, theirs, ours / theirs


def main() -> None:
    ours, theirs, factor = ratio()
    print(f"{OURS}: {ours * 1000:.1f} ms")
    print(f"{THEIRS}: {theirs * 1000:.1f} ms")
    print(f"ratio {factor:.2f}, limit {LIMIT}")
    sys.exit(factor > LIMIT)


if __name__ == "__main__":
    main()
