"""The way from other threads into an event loop, be it of asyncio or of trio."""

import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from anyio.lowlevel import current_token

T = TypeVar("T")


class Crossing(Generic[T]):
    """Hands things over to the event loop on which it is made, from whatever thread they are sent.

    The loop is woken once for all that was sent before it turns. Sending never blocks. *receive*
    is called on the loop, with what has come, in its order; it must not raise.
    """

    def __init__(self, receive: Callable[[list[T]], None]) -> None:
        native: Any = current_token().native_token
        # What wakes a loop of asyncio, or else one of trio.
        self._soon = getattr(native, "call_soon_threadsafe", None) or native.run_sync_soon
        self._receive = receive
        # Whose loop it is, is told by the context, and the sender's tells of another.
        self._context = copy_context()
        self._lock = threading.Lock()
        self._sent: list[T] = []

    def send(self, thing: T) -> None:
        """Hand it over. Where the loop has ended there is nobody left to want it."""
        with self._lock:
            self._sent.append(thing)
            if len(self._sent) > 1:
                return  # the loop is woken already, and has not looked yet
        with suppress(RuntimeError):  # it has ended
            self._soon(self._context.run, self._arrive)

    def _arrive(self) -> None:
        with self._lock:
            things, self._sent = self._sent, []
        self._receive(things)
