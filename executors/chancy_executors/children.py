"""A child process, as its parent sees it: what it is asked, how it ends, what it prints."""

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import anyio
from anyio.abc import Process

from chancy_core.errors import ChildDied, UnknownFunction
from chancy_core.progress import Progress
from chancy_executors import records
from chancy_executors.frames import LAST, PROGRESS, RECORD
from chancy_executors.output import Output, Relay

log = logging.getLogger("chancy.process")

#: Seconds that an idle child may take to leave when its executor closes.
_LEAVE = 5.0


class Child:
    """A child process, and the pipe to it: it is asked one thing at a time.

    What arrives are frames. Log records may come at any time, and are handled as they are read,
    which is while the child is asked something: one that logs more than that has to wait.
    """

    def __init__(self, process: Process, output: Output | None) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        #: Whether it has loaded what registers jobs.
        self.loaded = False
        #: Whether it wants to make way for another.
        self.leaves = False
        #: Told how far the job has come that it runs.
        self.hears: Callable[[Progress], None] = lambda _: None
        self._process = process
        self._to = process.stdin
        self._from = process.stdout
        self._data = bytearray()
        self._output = output

    @classmethod
    async def start(cls, environment: Mapping[str, str], relay: Relay | None) -> "Child":
        """Start a child; what it prints goes through *relay*, or else to our own stderr."""
        path = f"import sys; sys.path[:] = {sys.path!r}"
        serve = "from chancy_executors import child; child.main()"
        command = [sys.executable, "-c", f"{path}; {serve}"]
        output, end = relay.open() if relay else (None, None)
        try:
            process = await anyio.open_process(
                command, stderr=end, env=environment, start_new_session=True
            )
        except BaseException:
            if output is not None:
                output.close()
            raise
        finally:
            if end is not None:
                os.close(end)
        return cls(process, output)

    async def load(self, setup: Mapping[str, Any]) -> None:
        """Have it load what registers jobs.

        Raises `UnknownFunction` when it cannot load it, `ChildDied` when it does not even start.
        """
        problem = await self.ask(json.dumps(setup).encode())
        if problem:
            said = f"a child process could not load the jobs: {problem.decode()}"
            log.error(said)
            raise UnknownFunction(said)
        self.loaded = True

    @property
    def alive(self) -> bool:
        """Whether the process has not ended, even if nobody has been told of it yet."""
        if self._process.returncode is not None:
            return False
        if not hasattr(os, "waitid"):  # on macOS, before Python 3.13
            return True
        try:
            ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, ended) is None
        except ChildProcessError:
            return False

    @property
    def pid(self) -> int:
        """The number of its process, and of the group of what its jobs start."""
        return self._process.pid

    def begin(self) -> None:
        """Keep what it prints from now on, and forget what it has printed before."""
        if self._output is not None:
            self._output.begin()

    def printed(self) -> str | None:
        """Return the end of what it has printed since `begin`, if that is kept."""
        return None if self._output is None else self._output.text()

    async def ask(self, message: bytes) -> bytes:
        """Send a message and return the answer.

        Raises `ChildDied`, with how it died.
        """
        try:
            await self._to.send(len(message).to_bytes(4, "big") + message)
            kind, body = await self._receive()
            while kind in {RECORD, PROGRESS}:
                if kind == RECORD:
                    records.handle(body)
                elif told := Progress.parse(body):
                    self.hears(told)
                kind, body = await self._receive()
        except (
            anyio.EndOfStream,
            anyio.BrokenResourceError,
            ConnectionError,  # anyio lets asyncio's own through
        ) as exc:
            raise ChildDied(f"the child process {await self._end()}") from exc
        self.leaves = kind == LAST
        return body

    async def _receive(self) -> tuple[int, bytes]:
        data = self._data
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            data += await self._from.receive()
        end = 4 + int.from_bytes(data[:4], "big")
        kind, body = data[4], bytes(data[5:end])
        del data[:end]
        return kind, body

    async def _end(self) -> str:
        with anyio.move_on_after(_LEAVE):
            status = await self._process.wait()
            if status >= 0:
                return f"left with status {status}"
            known = -status in set(signal.Signals)  # real-time signals have no names
            return f"was killed by {signal.Signals(-status).name if known else f'signal {-status}'}"
        return "closed its pipe"

    async def kill(self) -> None:
        """End the child at once, with whatever processes its job has started."""
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own
            await self._process.aclose()
        if self._output is not None:
            self._output.close()

    async def leave(self) -> None:
        """Let the child go: it ends when its pipe closes."""
        with anyio.move_on_after(_LEAVE):
            await self._to.aclose()
            await self._process.wait()
        await self.kill()
