"""Jobs that tell of the interpreter in which they run; sub-interpreters import them from here."""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import anyio

from chancy import INJECTED, QueuedJob, job

logger = logging.getLogger("acme.secluded")
#: What `count` has counted in this interpreter.
calls: list[int] = []


@job
def count() -> int:
    """Return how often this was called in its interpreter."""
    calls.append(1)
    return len(calls)


@job
def place() -> list[int]:
    """Return the process and the thread."""
    return [os.getpid(), threading.get_native_id()]


@job
def advance(path: str, *, me: QueuedJob = INJECTED) -> None:
    """Say how far it has come, more often than is passed on, and go on while a file is there."""
    for done in range(100):
        me.progress(done, of=100)
    while Path(path).exists():
        time.sleep(0.002)


@job
def ask_who_handles(number: int) -> str | None:
    handler = signal.getsignal(number)
    return None if handler is None else repr(handler)


@job
def listen(path: str, *, me: QueuedJob = INJECTED) -> None:
    """Make a file, and ask whether it is to go on; in the end the file says what was raised."""
    file = Path(path)
    file.touch()
    try:
        while True:
            me.checkpoint()
            time.sleep(0.002)
    except BaseException as exc:
        file.write_text(type(exc).__name__)
        raise


@job
async def wait(path: str) -> None:
    """Make a file, and wait for ever; in the end the file says what was raised."""
    file = Path(path)
    file.touch()
    try:
        await anyio.sleep_forever()
    except BaseException as exc:
        file.write_text(type(exc).__name__)
        raise


@job
def start_a_thread(path: str) -> None:
    """Start a thread that goes on for as long as there is a file."""
    file = Path(path)
    file.touch()

    def stay() -> None:
        while file.exists():
            time.sleep(0.005)

    threading.Thread(target=stay).start()


@job
def log(text: str) -> None:
    logger.warning("it says %s", text)
    try:
        {}[text]
    except KeyError:
        logger.exception("it failed")


@job
def show(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)
