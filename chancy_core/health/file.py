"""A file that says how a worker is, for a supervisor that cannot ask over a network."""

import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread
from attrs import asdict

from chancy_core.health.health import Health

log = logging.getLogger("chancy.health")

#: Seconds between two writes. A file that is several times as old is of a worker that is not live.
EVERY = 1.0


class Record:
    """Keeps a file: always whole, never older than a second while the worker's event loop turns.

    It is gone once the worker has stopped; one that was killed leaves it to grow old.
    """

    def __init__(self, path: str, look: Callable[[], Health]) -> None:
        self._path = Path(path)
        self._look = look
        self._failed = False
        #: Of its own: who waits for a thread must not look dead because jobs use them all.
        self._thread = anyio.CapacityLimiter(1)

    async def run(self) -> None:
        """Write it again and again, until cancelled; a file that cannot be written is logged."""
        try:
            while True:
                text = json.dumps({**asdict(self._look()), "pid": os.getpid(), "at": time.time()})
                await to_thread.run_sync(partial(self._write, text), limiter=self._thread)
                await anyio.sleep(EVERY)
        finally:
            with suppress(OSError):
                self._path.unlink()

    def _write(self, text: str) -> None:
        half = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            half.write_text(f"{text}\n", "utf-8")
            half.replace(self._path)
        except OSError as exc:
            if not self._failed:
                log.error("the health file cannot be written: %s", exc)
            self._failed = True
        else:
            self._failed = False
