"""A worker as an application writes it, for tests that end it from outside.

python serve.py asyncio|trio
"""

import sys
import time
from pathlib import Path

import anyio

from chancy import Chancy, Worker, job


@job(queue="thread")
def hold(begun: str, until: str) -> str:
    """Say so in a file, and end when another file is there."""
    with Path(begun).open("a") as file:
        file.write("begun\n")
    while not Path(until).exists():
        time.sleep(0.02)
    return "held"


@job(queue="process")
def whose() -> str:
    """Return under which name this function's module was loaded."""
    return whose.func.__module__


async def main() -> None:
    async with Chancy() as chancy:
        print("ready", flush=True)
        await Worker(chancy, name="served", grace_period=20).start()
    print("left", flush=True)


if __name__ == "__main__":
    anyio.run(main, backend=sys.argv[1])
