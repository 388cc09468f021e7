"""Functions in processes that take what all others leave: `Queue("reports", executor="nice")`.

Whatever runs functions elsewhere makes three calls: `perform.request` writes a call as bytes,
`perform.perform` runs it where these arrive (in `child.py`), and `perform.reply` reads the answer.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from attrs import field, frozen
from attrs.validators import ge, le
from chancy_core import perform
from chancy_core.errors import ChildDied
from chancy_core.executor import Call, Capability, Executor, Running

#: What is raised at our end of the pipe when nobody is at the other.
GONE = (anyio.IncompleteRead, anyio.BrokenResourceError, ConnectionError)


@frozen
class Options:
    """What a queue may say: `executor_options={"niceness": 19}`."""

    #: How far its processes stand back behind their worker, as `nice` counts it.
    niceness: int = field(default=10, validator=[ge(0), le(19)])


class NiceExecutor(Executor):
    """Runs one job at a time in each of its processes, which stand back behind all others."""

    Options = Options
    capabilities = Capability.SYNC | Capability.ASYNC | Capability.HARD_KILL
    default_concurrency = os.cpu_count() or 1

    async def __aenter__(self) -> Self:
        self._idle: list[Child] = []
        self._busy: dict[UUID, Child] = {}
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for child in self._idle:
            await child.end()

    def running(self) -> list[Running]:
        """Say where calls run, for `chancy top`: it is asked from another thread."""
        return [Running(job, pid=child.pid) for job, child in tuple(self._busy.items())]

    async def run(self, call: Call) -> Any:
        child = await self._child()
        self._busy[call.job.id] = child
        try:
            answer = await child.ask(perform.request(call))
        except BaseException as exc:  # it is gone, or the call is cancelled: it is asked no more
            status = await child.end()
            if isinstance(exc, GONE):
                raise ChildDied(f"its process has ended, with status {status}") from exc
            raise
        finally:
            self._busy.pop(call.job.id, None)
        if len(self._idle) + len(self._busy) < self.concurrency:
            self._idle.append(child)
        else:  # since the call began, `resize` has said that fewer may run
            await child.end()
        return perform.reply(call, answer)

    async def _child(self) -> "Child":
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            await child.end()
        told = {
            "niceness": self.options.niceness,
            "capabilities": self.capabilities.value,
            "backend": self.host.backend,
            "sources": list(self.host.sources),
            "plugins": list(self.host.plugins),
        }
        return await Child.start(json.dumps(told))


class Child:
    """A process that performs one call after the other, and the pipe to it."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._process = process
        self._to, self._from = process.stdin, BufferedByteReceiveStream(process.stdout)

    @classmethod
    async def start(cls, told: str) -> Self:
        path = f"import sys; sys.path[:] = {sys.path!r}"  # so that it finds what its worker finds
        serve = "from chancy_acme import child; child.main()"
        command = [sys.executable, "-u", "-c", f"{path}; {serve}", told]
        # Cancelled meanwhile, we would not know whom to end. A session of its own is a process
        # group, too, with all that its jobs start.
        with anyio.CancelScope(shield=True):
            process = await anyio.open_process(command, stderr=None, start_new_session=True)
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def ask(self, message: bytes) -> bytes:
        await self._to.send(len(message).to_bytes(4, "big") + message)
        size = await self._from.receive_exactly(4)
        return await self._from.receive_exactly(int.from_bytes(size, "big"))

    async def end(self) -> int | None:
        """End it, and what its job has started, at once; answers the status that it left."""
        with anyio.CancelScope(shield=True):
            if self.alive:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
            await self._process.aclose()
        return self._process.returncode
