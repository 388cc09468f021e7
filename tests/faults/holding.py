"""Keeps a worker from renewing its lease, as a database does that does not answer this thread."""

import threading
import time
from typing import Any

from chancy import Worker
from chancy_core.heartbeat import Heartbeat


def stop_renewing(_: Worker, options: dict[str, Any]) -> None:
    """After so many seconds, let the next renewal wait for ever."""
    once, until = Heartbeat._once, time.monotonic() + options["after"]

    def wait(self: Heartbeat) -> None:
        if time.monotonic() > until:
            threading.Event().wait()
        once(self)

    Heartbeat._once = wait  # type: ignore[method-assign]
