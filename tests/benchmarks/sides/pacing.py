"""A client that pushes so many jobs a second, in a process of its own.

python -m tests.benchmarks.sides.pacing RATE      until its standard input ends

It pushes twenty times a second what is due by then, and says how many it has pushed so far. Each
job carries the time at which it was due, by the machine's clock.
"""

import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from subprocess import PIPE, Popen

import anyio
from anyio import to_thread

from chancy import Chancy, job
from tests.benchmarks.peers import side
from tests.benchmarks.sides import work

#: Seconds between two pushes.
STEP = 0.05

#: For each paced job that began here: when, and how long after it was due.
BEGAN: list[tuple[float, float]] = []


@job(name="benchmark.paced", queue="q")
async def paced(due: float) -> None:
    """Remember when it began, and how late."""
    now = time.monotonic()
    BEGAN.append((now, now - due))


async def pace(rate: float) -> None:
    """Push until told to stop; what could not be pushed in time is pushed as soon as it can."""
    over = anyio.Event()
    async with Chancy(side.DSN) as chancy, anyio.create_task_group() as tasks:
        tasks.start_soon(_until_told, over)
        begin, pushed = time.monotonic(), 0
        while not over.is_set():
            due = int((time.monotonic() - begin) * rate)
            if due > pushed:
                await chancy.push_many(paced.bind(due=begin + n / rate) for n in range(pushed, due))
                pushed = due
                print(pushed, flush=True)
            await anyio.sleep(STEP)


async def _until_told(over: anyio.Event) -> None:
    await to_thread.run_sync(sys.stdin.read)
    over.set()


class Pushed:
    """How many jobs the client says that it has pushed."""

    def __init__(self, process: "Popen[str]") -> None:
        self.number = 0
        self._process = process
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.number = int(line)

    def stop(self) -> None:
        """Have it end, once its last push is committed."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._thread.join()
        if self._process.wait():
            raise SystemExit("the client that pushes has failed")


@asynccontextmanager
async def pacing(rate: float) -> AsyncIterator[Pushed]:
    """Have jobs pushed at this rate in the block."""
    # Under the name that its jobs have here, too.
    script = "import sys; from tests.benchmarks.sides import pacing; pacing.main()"
    process = Popen([sys.executable, "-c", script, str(rate)], stdin=PIPE, stdout=PIPE, text=True)
    pushed = Pushed(process)
    try:
        with anyio.fail_after(60):
            while not pushed.number:
                await anyio.sleep(0.01)
        yield pushed
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(pushed.stop)


def main() -> None:
    work.run(pace(float(sys.argv[1])))


if __name__ == "__main__":
    main()
