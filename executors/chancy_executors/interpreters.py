"""A sub-interpreter, as its worker sees it: the thread that it lives in, and the way to it."""

import json
import logging
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import anyio

from chancy_core.errors import ChildDied, UnknownFunction, Unprepared
from chancy_core.executor import JOB_THREAD
from chancy_core.progress import Progress
from chancy_executors import records
from chancy_executors.frames import PROGRESS, RECORD
from chancy_executors.subinterpreter import Subinterpreter

log = logging.getLogger("chancy.interpreter")

#: What is read at once, in bytes.
_CHUNK = 65_536
#: What its thread is called while it runs no job.
_IDLE = "chancy-interpreter"


class Interpreter:
    """A sub-interpreter in a thread of its own: it is asked one thing at a time.

    The thread makes it, runs it, and ends it. What arrives from it are frames, as from a child
    process: log records may come at any time, and are handled while it is asked something.
    """

    def __init__(self, ended: Callable[["Interpreter"], None]) -> None:
        """Start it; *ended* is called in its thread when nothing of ours runs in it any more."""
        #: Whether it has loaded what registers jobs.
        self.loaded = False
        #: How many calls it has answered.
        self.calls = 0
        #: Whether a call was sent to it that it has not answered.
        self.busy = False
        #: Whether nothing of ours runs in it any more.
        self.over = False
        #: Told how far the job has come that it runs.
        self.hears: Callable[[Progress], None] = lambda _: None
        self._ended = ended
        self._problem: str | None = None
        self._data = bytearray()
        self._telling = threading.Lock()
        self._told = False
        #: Its thread, which Python waits for: it must not be ended amidst what it runs.
        self.thread = threading.Thread(target=self._live, name=_IDLE)
        with ExitStack() as opened:
            self._here, self._there = map(opened.enter_context, socket.socketpair())
            self._end, self._leash = map(opened.enter_context, socket.socketpair())
            self._here.setblocking(False)
            if hasattr(socket, "SO_NOSIGPIPE"):  # macOS
                self._there.setsockopt(socket.SOL_SOCKET, socket.SO_NOSIGPIPE, 1)
            self.thread.start()
            opened.pop_all()

    def _live(self) -> None:
        """Make it, run it until it is let go, and end it: all that its thread does."""
        made: Subinterpreter | None = None
        try:
            made = Subinterpreter()
            self._problem = made.exec(
                "from chancy_executors import inside\n"
                f"inside.main({self._there.fileno()}, {self._leash.fileno()})"
            )
        except Exception as exc:
            self._problem = f"{type(exc).__name__}: {exc}"
            log.exception("a sub-interpreter could not be made")
        finally:
            self.over = True  # before it is told: then nobody takes it for one that goes on
            self._ended(self)
            self.tell()
            with suppress(OSError):
                self._there.shutdown(socket.SHUT_RDWR)
        try:
            if made is not None:
                made.destroy()
        except Exception:
            log.exception("a sub-interpreter could not be ended")
        finally:
            self._there.close()
            self._leash.close()

    async def load(self, setup: Mapping[str, Any]) -> None:
        """Have it load what registers jobs.

        Raises `UnknownFunction` when it cannot load it, `Unprepared` when it does not even start.
        """
        problem = await self._ask(json.dumps(setup).encode())
        if problem:
            said = problem.decode()
            log.error(said)
            raise UnknownFunction(said)
        self.loaded = True

    async def perform(self, func: str, message: bytes) -> bytes:
        """Send a call of *func* and return the answer.

        Raises `ChildDied` if it ends before that, by what no job should do.
        """
        self.busy = True
        self.thread.name = JOB_THREAD + func
        answer = await self._ask(message)
        self.busy = False
        self.thread.name = _IDLE
        self.calls += 1
        return answer

    async def _ask(self, message: bytes) -> bytes:
        try:
            await self._send(len(message).to_bytes(4, "big") + message)
            kind, body = await self._receive()
            while kind in {RECORD, PROGRESS}:
                if kind == RECORD:
                    records.handle(body)
                elif told := Progress.parse(body):
                    self.hears(told)
                kind, body = await self._receive()
        except (EOFError, ConnectionError) as exc:
            said = f"the sub-interpreter ended before it had answered: {self._problem}"
            raise (ChildDied(said) if self.loaded else Unprepared(said)) from exc
        return body

    async def _send(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._here.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self._here)

    async def _receive(self) -> tuple[int, bytes]:
        data = self._data
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            await anyio.wait_readable(self._here)
            with suppress(BlockingIOError):
                some = self._here.recv(_CHUNK)
                if not some:
                    raise EOFError
                data += some
        end = 4 + int.from_bytes(data[:4], "big")
        kind, body = data[4], bytes(data[5:end])
        del data[:end]
        return kind, body

    def where(self) -> str:
        """Return where its function is, as far as that can be seen; nothing once it has ended."""
        return "" if self.over else "  in a sub-interpreter, whose stack is not seen from here\n"

    def tell(self) -> None:
        """Tell what runs in it that it is over, and have it end after that. Never waits."""
        with self._telling:
            if not self._told:
                self._told = True
                self._end.send(b"\0")  # what was forked here may have this end open, too
                self._end.close()

    def let_go(self) -> None:
        """Do the same, and ask it nothing more; called once, where it was asked."""
        self.tell()
        with suppress(OSError):
            self._here.shutdown(socket.SHUT_RDWR)
        self._here.close()
