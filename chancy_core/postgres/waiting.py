"""What psycopg's generators wait for, waited for through anyio.

A generator yields what it needs of its socket and is sent what is ready. Any of the functions here
may be cancelled at any await: the generator then rests at a yield, and driving it again goes on.
"""

from collections import deque
from collections.abc import Generator
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

import anyio
import psycopg
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from chancy_core.postgres.failures import CallTimeout
from chancy_core.postgres.private import READ, WRITE, ready_now

T = TypeVar("T")
Steps = Generator[int, int, T]
ConnectSteps = Generator[tuple[int, int], int, T]

BUSY = 0.005  # seconds that a connection may keep the loop to itself
RECHECK = 0.01  # seconds between two looks at a socket that is waited for in both directions


class Pace:
    """Keeps one connection from starving the others.

    A checkpoint costs more than a query, so that the loop gets its turn only from a connection that
    has not waited for `BUSY` seconds: one that copies a large table may never have to wait.
    """

    __slots__ = ("fd", "interrupted", "since", "waiting")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        #: The generator that was interrupted last, and what it waited for.
        self.interrupted: tuple[Generator[int, int, Any] | None, int] = (None, 0)
        self.since = monotonic()
        self.waiting = False

    def left(self, steps: Generator[int, int, Any]) -> int:
        """Return what an interrupted generator waits for, or 0 for another one."""
        interrupted, wanted = self.interrupted
        self.interrupted = (None, 0)
        return wanted if interrupted is steps else 0

    def tired(self) -> bool:
        """Whether the loop has been kept for too long."""
        return monotonic() - self.since > BUSY

    async def begin(self) -> None:
        """Give way to a cancellation that has come already, before anything is sent."""
        if self.tired():
            await self.rest()
        else:
            await checkpoint_if_cancelled()

    async def rest(self) -> None:
        """Give the loop its turn."""
        await checkpoint()
        self.since = monotonic()

    async def until(self, wanted: int) -> int:
        """Wait until the socket can do (a part of) what is wanted; say what it can do."""
        self.waiting = True
        try:
            if not wanted & WRITE:
                await anyio.wait_readable(self.fd)
                return READ
            # Nothing in anyio waits for both directions at once. With a full output buffer the
            # server reads first, nearly always; if it waits for us to read, we see it soon.
            with anyio.move_on_after(RECHECK if wanted & READ else None):
                await anyio.wait_writable(self.fd)
            return ready_now(self.fd, wanted)
        except (anyio.ClosedResourceError, OSError, ValueError) as error:
            raise psycopg.OperationalError("the connection was closed while in use") from error
        finally:
            self.waiting = False
            self.since = monotonic()

    async def readable(self, timeout: float | None) -> bool:
        """Wait until something can be read; with a timeout of 0, only look."""
        if ready_now(self.fd, READ):
            return True
        if timeout is None or timeout > 0:
            with anyio.move_on_after(timeout):
                await self.until(READ)
        return bool(ready_now(self.fd, READ))


def advance(steps: Steps[T], pace: Pace) -> tuple[int, T | None]:
    """Drive a generator as far as it goes without waiting.

    Returns what it waits for then; 0, and its result, if it came to its end.
    """
    try:
        wanted = next(steps)
        while wanted & WRITE and not pace.tired():
            # A socket is nearly always writable: asking costs a hundredth of a round of the loop.
            ready = ready_now(pace.fd, wanted)
            if not ready:
                break
            wanted = steps.send(ready)
    except StopIteration as end:
        return 0, end.value
    return wanted, None


async def drive(steps: Steps[T], pace: Pace, wanted: int = 0) -> T:
    """Drive a generator to its end; one that was left at a yield goes on.

    What it waits for there is known from `advance` (*wanted*), or from its interruption. It is not
    asked for once more: those that psycopg has compiled for sending take integers alone.
    """
    try:
        wanted = wanted or pace.left(steps) or next(steps)
        while True:
            ready = 0
            if wanted & WRITE:
                if pace.tired():
                    await pace.rest()
                ready = ready_now(pace.fd, wanted)
            wanted = steps.send(ready or await pace.until(wanted))
    except StopIteration as end:
        result: T = end.value
        return result
    except BaseException:
        pace.interrupted = steps, wanted
        raise


async def drive_connecting(steps: ConnectSteps[T]) -> T:
    """Drive a generator that says itself which socket it waits on, as this may change."""
    try:
        fd, wanted = next(steps)
        while True:
            fd, wanted = steps.send(await Pace(fd).until(wanted))
    except StopIteration as end:
        result: T = end.value
        return result


class Mutex:
    """A fair lock that any task may release.

    psycopg holds its lock across the yields of async generators, which may be closed by another
    task than the one that ran them: `anyio.Lock` refuses that.
    """

    __slots__ = ("_locked", "_waiters", "limit")

    def __init__(self) -> None:
        self._locked = False
        self._waiters: deque[anyio.Event] = deque()
        self.limit: float | None = None

    async def __aenter__(self) -> None:
        if not self._locked:
            self._locked = True
            return
        turn = anyio.Event()
        self._waiters.append(turn)
        try:
            with anyio.move_on_after(self.limit):
                await turn.wait()
        except BaseException:
            self._leave(turn)
            raise
        if not turn.is_set():
            self._leave(turn)
            msg = f"the connection was in use by another task for {self.limit:g} s"
            raise CallTimeout(msg)

    def _leave(self, turn: anyio.Event) -> None:
        if turn.is_set():
            self.release()  # it was ours already: let the next one have it
        else:
            self._waiters.remove(turn)

    def release(self) -> None:
        """Hand over to whoever has waited longest."""
        if self._waiters:
            self._waiters.popleft().set()
        else:
            self._locked = False

    def locked(self) -> bool:
        """Whether some task holds it."""
        return self._locked

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class NoLock:
    """For who holds the lock already."""

    async def __aenter__(self) -> None:
        """Nothing to take."""

    async def __aexit__(self, *exc: object) -> None:
        """Nothing to give back."""
