"""The functions that run as the demo's jobs. Each reads one source file."""

from pathlib import Path

import anyio

from chancy_core.cli.demo import sources
from chancy_core.function import INJECTED
from chancy_core.job import QueuedJob
from chancy_core.registry import job

#: What the meta of a job says that is to fail at its first attempt.
STUMBLES = "stumbles"


class Stumbled(Exception):
    """A job failed, as it was meant to."""


def _stumble(me: QueuedJob) -> None:
    if me.meta.get(STUMBLES) and me.attempts == 0:
        raise Stumbled("the first attempt fails, on purpose")


@job(queue="lines", max_attempts=2)
async def lines(path: str, rest: float, *, me: QueuedJob = INJECTED) -> int:
    """Return how many lines the file has, after *rest* seconds; on the worker's event loop."""
    _stumble(me)
    await anyio.sleep(rest)  # as if the file came from far away
    return sources.lines(await anyio.Path(path).read_bytes())


@job(queue="hashes", max_attempts=2)
def digest(path: str, *, me: QueuedJob = INJECTED) -> str:
    """Return the file's SHA-256; a function that blocks, in a thread."""
    _stumble(me)
    return sources.digest(Path(path).read_bytes())


@job(queue="tokens", max_attempts=2)
def tokens(path: str, *, me: QueuedJob = INJECTED) -> int:
    """Return how many tokens the file has; computed in a process."""
    _stumble(me)
    return sources.tokens(Path(path).read_bytes())
