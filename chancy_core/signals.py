"""SIGTERM and SIGINT: heard once in a process, and told to all of its workers that obey them."""

import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import anyio
from attrs import field, frozen

STOPS = (signal.SIGTERM, signal.SIGINT)


@frozen(eq=False)
class _Listener:
    told: Callable[[signal.Signals], object]
    #: Set when it is its turn to hear for all.
    turn: anyio.Event = field(factory=anyio.Event)


#: The first of them hears: an event loop keeps one receiver for each signal, the newest.
_listeners: list[_Listener] = []


async def obey(told: Callable[[signal.Signals], object]) -> None:
    """Call *told* for each signal to stop that this process receives, until cancelled.

    Returns at once on any but the main thread, which alone is given signals by Python. While
    the one that heard leaves and the next takes its turn, for a moment nobody hears.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    me = _Listener(told)
    _listeners.append(me)
    try:
        if _listeners[0] is not me:
            await me.turn.wait()
        with _received() as received:
            async for number in received:
                for listener in tuple(_listeners):
                    listener.told(number)
    finally:
        _listeners.remove(me)
        if _listeners:
            _listeners[0].turn.set()


@contextmanager
def _received() -> Iterator[AsyncIterator[signal.Signals]]:
    """Receive signals to stop; from then on those have them who had them before.

    asyncio's loop would leave SIGINT to Python, which raises KeyboardInterrupt at any line, even
    within what cancels a task group: then that waits for ever. Who had it before cancels the main
    task (`asyncio.Runner`), and what is being left is left in order.
    """
    before = [(number, signal.getsignal(number)) for number in STOPS]
    late = False
    try:
        with anyio.open_signal_receiver(*STOPS) as received:
            yield received
    except KeyboardInterrupt:  # it came between the two
        late = True
    finally:
        for number, had in before:
            if had is not None:  # else it is no handler of Python's
                signal.signal(number, had)
    if late:
        signal.raise_signal(signal.SIGINT)
