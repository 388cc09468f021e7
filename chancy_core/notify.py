"""Hints to workers that there is something to do, sent after the fact and not too often.

NOTIFY takes a lock of the whole database at commit: inside the push it cost a factor of 3.5 to
5.3. So a hint goes out on a connection of its own, once the push is committed: at once, and from
then on at most each `PAUSE` seconds. A lost hint costs a polling interval and nothing else.
"""

import logging

import anyio

from chancy_core.hint import Hint
from chancy_core.store import statements
from chancy_core.store.store import TRANSIENT, Store

log = logging.getLogger("chancy.notify")

#: Seconds between two notifications of one process.
PAUSE = 0.05
#: Seconds that the last hints may take when the application closes.
LAST = 2.0


class Notifier:
    """Collects hints, and sends each once however often it was given meanwhile."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hints: dict[Hint, None] = {}
        self._more = anyio.Event()

    def send(self, hint: Hint) -> None:
        """Send a hint soon. Never blocks and never fails."""
        self._hints[hint] = None
        self._more.set()

    async def run(self) -> None:
        """Send what is given, at most each `PAUSE` seconds, until cancelled."""
        while True:
            await self._more.wait()
            self._more = anyio.Event()
            await self._send()
            await anyio.sleep(PAUSE)

    async def flush(self) -> None:
        """Send what is left, even when all is being cancelled."""
        with anyio.move_on_after(LAST, shield=True):
            await self._send()

    async def _send(self) -> None:
        hints, self._hints = self._hints, {}
        if not hints:
            return
        try:
            await self._store.run(statements.notify(self._store.names, hints, alone=True))
        except TRANSIENT as exc:
            log.info("hints were lost, workers will find the jobs by polling: %s", exc)
        except Exception:  # a defect of ours is not worth more than the hints
            log.exception("hints were lost, workers will find the jobs by polling")
        except BaseException:  # the application closes: `flush` sends them
            self._hints = hints | self._hints
            raise
