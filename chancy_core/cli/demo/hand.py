"""A worker of the demo, in a process of its own, which works until its standard input closes.

    python -m chancy_core.cli.demo.hand asyncio ada demo_4711_ has=disk

So it ends when the demo does, however that ends. What happens is told on standard output, each
time as an object of JSON on a line: what, and to whom.
"""

import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress

import anyio

from chancy_core.app import Chancy
from chancy_core.events import Event
from chancy_core.job import State
from chancy_core.worker import Worker

#: Seconds that jobs may take to end when the demo does.
GRACE = 2.0


def _tell(what: str, subject: str) -> None:
    line = json.dumps({"what": what, "subject": subject})
    with suppress(OSError):  # nobody listens any more
        os.write(1, line.encode() + b"\n")


def _told(what: str, when: Callable[[Event], bool] = lambda _: True) -> Callable[[Event], None]:
    """Return what tells of an event, if it is one *when* there is something to tell."""

    def tell(event: Event) -> None:
        if when(event):
            _tell(what, event.subject)

    return tell


async def work(name: str, prefix: str, tags: list[str]) -> None:
    """Work until told to stop, and tell what the demo wants to know."""
    chancy = Chancy(prefix=prefix, jobs=["chancy_core.cli.demo.jobs"])
    worker = Worker(chancy, name=name, tags=tags, grace_period=GRACE, signals=False)
    worker.events.on("worker.queue.started", _told("runs"))
    worker.events.on("job.rescued", _told("rescued"))
    worker.events.on("job.settled", _told("retried", lambda e: e.value[2].state is State.PENDING))
    async with anyio.create_task_group() as around:
        around.start_soon(_follow_the_demo, worker)
        async with chancy:
            await worker.start()
        around.cancel_scope.cancel()


async def _follow_the_demo(worker: Worker) -> None:
    while True:
        await anyio.wait_readable(0)
        if not os.read(0, 1024):
            break
    worker.stop()


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)  # the demo itself says what happens
    backend, name, prefix, *tags = sys.argv[1:]
    anyio.run(work, name, prefix, tags, backend=backend)
