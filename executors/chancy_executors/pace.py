"""The latest of what is said too often: passed on now and then."""

import threading
import time
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T")

#: Seconds, at least, between two words of a job about its progress.
PAUSE = 0.1


class Paced(Generic[T]):
    """Passes on what it is told: at once after a pause, else the last of it when that is over."""

    def __init__(self, send: Callable[[T], None], pause: float = PAUSE) -> None:
        """*pause* is in seconds. *send* is called in the thread that tells, or in a timer's."""
        self._send = send
        self._pause = pause
        self._sent_at = -inf
        self._latest: T | None = None
        self._timer: threading.Timer | None = None
        # A handler of a signal may tell something while its own thread does.
        self._lock = threading.RLock()

    def tell(self, word: T) -> None:
        """Pass it on, now or soon, unless there is something later by then."""
        with self._lock:
            self._latest = word
            if self._timer is not None:
                return
            wait = self._sent_at + self._pause - time.monotonic()
            if wait <= 0:
                self._pass_on()
                return
            self._timer = threading.Timer(wait, self._pass_on)
            self._timer.start()

    def forget(self) -> None:
        """Pass nothing on of what was told before."""
        with self._lock:
            self._latest = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _pass_on(self) -> None:
        with self._lock:
            self._timer = None
            word, self._latest = self._latest, None
            if word is not None:
                self._sent_at = time.monotonic()
                self._send(word)
