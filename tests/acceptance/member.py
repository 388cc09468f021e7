"""One worker of a fleet, in a process of its own, whose clock can be wrong.

python member.py asyncio|trio NAME [--ahead S] [--lease S] [--grace S]
"""

import argparse
import os
import signal
import sys
from pathlib import Path

options = argparse.ArgumentParser()
options.add_argument("backend")
options.add_argument("name")
options.add_argument("--ahead", type=float, default=0, help="seconds by which its clock is wrong")
options.add_argument("--lease", type=float, help="seconds for which a renewal is good")
options.add_argument("--grace", type=float, default=30)
told = options.parse_args() if __name__ == "__main__" else options.parse_args(["asyncio", "m"])

if told.ahead:
    sys.path.insert(0, str(Path(__file__).parent))
    from wrong_clock import set_ahead

    set_ahead(told.ahead)

import time  # noqa: E402
from datetime import UTC, datetime  # noqa: E402

import anyio  # noqa: E402

from chancy import INJECTED, Chancy, QueuedJob, Worker, job  # noqa: E402
from chancy_core import heartbeat  # noqa: E402


def say(log: str, word: object) -> None:
    with Path(log).open("a") as file:  # so short a line is written at once, whoever else writes
        file.write(f"{word}\n")


@job
async def tick() -> list[float]:
    """Return how late it is, as this process sees it."""
    return [time.time(), datetime.now(UTC).timestamp()]


@job
async def nap(log: str, seconds: float, *, me: QueuedJob = INJECTED) -> None:
    """Take a while, and say so at the end."""
    await anyio.sleep(seconds)
    say(log, me.id)


@job
async def hold(log: str, until: str, *, me: QueuedJob = INJECTED) -> None:
    """Say that it has begun; end when a file is there, or at once if a worker died of it."""
    say(log, me.id)
    while not me.crashes and not await anyio.Path(until).exists():
        await anyio.sleep(0.1)


@job
async def poison() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Told(Worker):
    def stop(self) -> None:
        super().stop()
        print("stops", flush=True)


async def main() -> None:
    if told.lease:
        heartbeat.LEASE, heartbeat.INTERVAL = told.lease, told.lease / 5
    async with Chancy() as chancy:
        print("ready", flush=True)
        await Told(chancy, name=told.name, grace_period=told.grace).start()
    print("left", flush=True)


if __name__ == "__main__":
    anyio.run(main, backend=told.backend)
