"""An exam on either event loop, side by side, each in a process of its own.

What waits, for children or for what an executor does wrong, takes no longer on both than on one.
"""

import json
import subprocess
import sys
from pathlib import Path

import anyio

from chancy_core.errors import ExamFailed
from chancy_core.executor import Executor
from chancy_core.testing import check_executor
from chancy_core.testing.exam.bad import tidy

ROOT = Path(__file__).parents[2]


def failures(made: type[Executor], patience: float = 10.0) -> dict[str, dict[str, str]]:
    """Examine an executor that can be imported; return what it has failed, by the loop."""
    command = [sys.executable, "-W", "error", "-m", __name__, f"{made.__module__}:{made.__name__}"]
    exams = {
        loop: subprocess.Popen(
            [*command, str(patience), loop], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for loop in ("asyncio", "trio")
    }
    said = {loop: exam.communicate()[0] for loop, exam in exams.items()}
    return {loop: json.loads(text) for loop, text in said.items()}


async def examine(made: type[Executor], patience: float) -> dict[str, str]:
    try:
        await check_executor(made, patience=patience)
    except ExamFailed as failed:
        return dict(failed.failures)
    finally:
        tidy()
    return {}


if __name__ == "__main__":
    module, name = sys.argv[1].split(":")
    executor = getattr(__import__(module, fromlist=[name]), name)
    print(json.dumps(anyio.run(examine, executor, float(sys.argv[2]), backend=sys.argv[3])))
