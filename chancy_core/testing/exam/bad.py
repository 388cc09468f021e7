"""Eleven executors that are wrong, each by one mistake that is easily made: the exam's own exam.

`BAD` has them all, each with the parts of the exam that reject it. None is of use for anything
else.
"""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, ClassVar, Self

import anyio
from anyio import CapacityLimiter, lowlevel, to_thread

from chancy_core import perform, registry
from chancy_core.errors import ChildDied
from chancy_core.executor import Call, Capability, Executor
from chancy_core.testing.exam import jobs

log = logging.getLogger("chancy.exam")


class Right(Executor):
    """Awaits coroutine functions, and makes no mistake."""

    capabilities = Capability.ASYNC
    default_concurrency = 4

    async def run(self, call: Call) -> Any:
        """Await the function."""
        func, arguments = call.resolve(self.capabilities)
        return await func(**arguments)


class SwallowsErrors(Right):
    """Logs what a function raises, and has it succeed."""

    async def run(self, call: Call) -> Any:
        """Await the function."""
        func, arguments = call.resolve(self.capabilities)
        try:
            return await func(**arguments)
        except Exception:
            log.debug("job %s failed", call.job.id, exc_info=True)


class SwallowsCancellation(Right):
    """Takes being cancelled for a result."""

    async def run(self, call: Call) -> Any:
        """Await the function."""
        func, arguments = call.resolve(self.capabilities)
        try:
            return await func(**arguments)
        except anyio.get_cancelled_exc_class():
            log.debug("job %s was cancelled", call.job.id)


class LeaksThreads(Right):
    """Starts a thread beside each call, and never tells it that the call is over."""

    over: ClassVar[threading.Event] = threading.Event()

    async def run(self, call: Call) -> Any:
        """Await the function."""
        threading.Thread(target=self.over.wait, name="beside a call", daemon=True).start()
        return await super().run(call)


class LeaksFiles(Right):
    """Opens a file for each call, and does not close it."""

    opened: ClassVar[list[int]] = []

    async def run(self, call: Call) -> Any:
        """Await the function."""
        self.opened.append(os.open(os.devnull, os.O_WRONLY))
        return await super().run(call)


class OneAtATime(Right):
    """Has a lock around what it is called for several times at once."""

    async def __aenter__(self) -> Self:
        self._lock = anyio.Lock()
        return self

    async def run(self, call: Call) -> Any:
        """Await the function."""
        async with self._lock:
            return await super().run(call)


class IgnoresResize(Right):
    """Bounds its calls by the concurrency that it was made with."""

    async def __aenter__(self) -> Self:
        self._limiter = CapacityLimiter(self.concurrency)
        return self

    async def run(self, call: Call) -> Any:
        """Await the function."""
        async with self._limiter:
            return await super().run(call)


class MixesUp(Right):
    """Keeps the call in itself, where the next call finds its place."""

    async def run(self, call: Call) -> Any:
        """Await the function."""
        self._call = call
        await lowlevel.checkpoint()  # as any look at a network or a file would be
        return await super().run(self._call)


class WaitsForThreads(Executor):
    """Calls functions in threads, and waits for them even when it is cancelled."""

    capabilities = Capability.SYNC

    async def run(self, call: Call) -> Any:
        """Call the function in a thread."""
        func, arguments = call.resolve(self.capabilities)
        return await to_thread.run_sync(partial(func, **arguments))


class KeepsSlots(Executor):
    """Calls functions in threads, and has those count that go on although nobody waits for them."""

    capabilities = Capability.SYNC

    async def __aenter__(self) -> Self:
        self._running: set[Call] = set()
        return self

    async def run(self, call: Call) -> Any:
        """Call the function in a thread, once there are not too many."""
        while len(self._running) >= self.concurrency:
            await anyio.sleep(0.01)
        self._running.add(call)
        return await to_thread.run_sync(self._count, call, abandon_on_cancel=True)

    def _count(self, call: Call) -> Any:
        try:
            func, arguments = call.resolve(self.capabilities)
            return func(**arguments)
        finally:
            self._running.discard(call)


class ForgetsChildren(Executor):
    """Has child processes, and forgets one whose call is cancelled: it waits for ever."""

    capabilities = Capability.SYNC | Capability.ASYNC
    forgotten: ClassVar[list["subprocess.Popen[bytes]"]] = []

    async def __aenter__(self) -> Self:
        self._idle: list[subprocess.Popen[bytes]] = []
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the children."""
        for child in self._idle:
            end(child)

    async def run(self, call: Call) -> Any:
        """Send the call to a child."""
        child = self._idle.pop() if self._idle else start(self.host.backend, self.capabilities)
        self.forgotten.append(child)
        message = perform.request(call)
        answer = await to_thread.run_sync(ask, child, message, abandon_on_cancel=True)
        self.forgotten.remove(child)
        self._idle.append(child)
        return perform.reply(call, answer)


class KeepsTheDead(ForgetsChildren):
    """Has child processes, and gives calls to one that has died."""

    capabilities = Capability.SYNC | Capability.ASYNC | Capability.HARD_KILL

    async def run(self, call: Call) -> Any:
        """Send the call to a child."""
        child = self._idle.pop() if self._idle else start(self.host.backend, self.capabilities)
        message = perform.request(call)
        try:
            answer = await to_thread.run_sync(ask, child, message, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            end(child)
            raise
        self._idle.append(child)
        if not answer:
            raise ChildDied("the child process has died")
        return perform.reply(call, answer)


#: The executors, each with the parts that it does not pass.
BAD: Mapping[type[Executor], tuple[str, ...]] = {
    SwallowsErrors: ("raises",),
    SwallowsCancellation: ("cancels", "frees", "times out", "stops"),
    LeaksThreads: ("leaves nothing",),
    LeaksFiles: ("leaves nothing",),
    WaitsForThreads: ("cancels", "frees", "times out", "stops"),
    KeepsSlots: ("frees",),
    ForgetsChildren: ("leaves nothing",),
    OneAtATime: ("cancels", "frees", "floods", "resizes", "stops"),
    IgnoresResize: ("resizes",),
    MixesUp: ("floods",),
    KeepsTheDead: ("crashes",),
}


def start(backend: str, capabilities: Capability) -> "subprocess.Popen[bytes]":
    """Start a child process that performs calls."""
    serve = (
        f"from chancy_core.testing.exam.bad import serve; serve({backend!r}, {capabilities.value})"
    )
    return subprocess.Popen(
        [sys.executable, "-c", serve], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def serve(backend: str, capabilities: int) -> None:
    """Perform the calls that come in until no more can come: what a child does."""
    registry.load_sources([(jobs.__name__, None)])
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while head := source.read(4):
        message = source.read(int.from_bytes(head, "big"))
        answer = perform.perform(message, Capability(capabilities), backend)
        sink.write(len(answer).to_bytes(4, "big") + answer)
        sink.flush()


def ask(child: "subprocess.Popen[bytes]", message: bytes) -> bytes:
    """Send a call to a child and return what it answers; nothing if it has died."""
    assert child.stdin is not None
    assert child.stdout is not None
    with suppress(BrokenPipeError):
        child.stdin.write(len(message).to_bytes(4, "big") + message)
        child.stdin.flush()
    return child.stdout.read(int.from_bytes(child.stdout.read(4), "big"))


def end(child: "subprocess.Popen[bytes]") -> None:
    """End a child, and close the pipes to it."""
    with suppress(BrokenPipeError), child:
        child.kill()


def tidy() -> None:
    """End and close what the executors that leak have left in this process."""
    LeaksThreads.over.set()
    LeaksThreads.over = threading.Event()
    while LeaksFiles.opened:
        os.close(LeaksFiles.opened.pop())
    while ForgetsChildren.forgotten:
        end(ForgetsChildren.forgotten.pop())
