"""Runs functions in child processes, one job in one child at a time."""

import json
import logging
import os
import signal
import sys
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import anyio
import attrs
from anyio.abc import Process

from chancy_core import perform
from chancy_core.errors import ChildDied, InvalidValue, UnknownFunction
from chancy_core.executor import Call, Capability, Executor, ExecutorHost

log = logging.getLogger("chancy.process")

#: Seconds that an idle child may take to leave when its executor closes.
_LEAVE = 5.0


@attrs.frozen
class ProcessOptions:
    """What a queue can set for this executor."""

    #: After so many jobs a child makes way for a fresh one, and what its jobs have leaked goes with
    #: it; None keeps it for as long as the queue is run.
    max_jobs_per_child: int | None = attrs.field(default=1000)

    @max_jobs_per_child.validator
    def _at_least_one(self, _: Any, value: int | None) -> None:
        if value is not None and value < 1:
            raise InvalidValue(f"max_jobs_per_child must be 1 or more, or None, not {value}")


class ProcessExecutor(Executor):
    """For work that computes, or that may crash: each job has a process to itself while it runs.

    Children are started when they are first needed, load the modules that register jobs, and stay
    for further jobs. One that does not end by its deadline, or is cancelled, is killed; a child
    that dies costs the job that it ran, and no other. Arguments and results cross as JSON.

    A memory limit bounds what an attempt takes beyond what its child had before, in address space.
    Where `DJANGO_SETTINGS_MODULE` is set, children set Django up before they load any job.
    """

    Options = ProcessOptions
    capabilities = (
        Capability.SYNC | Capability.ASYNC | Capability.HARD_KILL | Capability.MEMORY_LIMIT
    )
    default_concurrency = os.cpu_count() or 1

    async def __aenter__(self) -> Self:
        self._idle: list[Child] = []
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the idle children go; no other is left once all runs have ended."""
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for child in self._idle:
                    tasks.start_soon(child.leave)

    async def run(self, call: Call) -> Any:
        """Send the call to a child and return what it answers."""
        child = await self._child()
        try:
            answer = await child.ask(perform.request(call))
        except BaseException:
            await child.kill()
            raise
        if child.answered == self.options.max_jobs_per_child:
            with anyio.CancelScope(shield=True):  # the job has ended: its deadline is met
                await child.leave()
        else:
            self._idle.append(child)
        return perform.reply(call, answer)

    async def _child(self) -> "Child":
        """Return a child that waits for work; one that died while it was idle costs no job."""
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            await child.kill()
        return await Child.start(self.host, self.capabilities)


class Child:
    """A child process, and the pipe to it: frames of four bytes of length, and the content.

    One side speaks at a time: what arrives begins with a frame, and nothing follows it.
    """

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        #: How many jobs it has run.
        self.answered = -1  # the first answer is about its start
        self._process = process
        self._to = process.stdin
        self._from = process.stdout

    @classmethod
    async def start(cls, host: ExecutorHost, capabilities: Capability) -> "Child":
        """Start a child and have it load what registers jobs.

        Raises `UnknownFunction` when it cannot load it, `ChildDied` when it does not even start.
        """
        path = f"import sys; sys.path[:] = {sys.path!r}"
        serve = "from chancy_executors import child; child.main()"
        process = await anyio.open_process(
            [sys.executable, "-c", f"{path}; {serve}"], stderr=None, start_new_session=True
        )
        child = cls(process)
        setup = {
            "sources": list(host.sources),
            "plugins": list(host.plugins),
            "backend": host.backend,
            "capabilities": capabilities.value,
        }
        try:
            problem = await child.ask(json.dumps(setup).encode())
        except BaseException:
            await child.kill()
            raise
        if problem:
            await child.kill()
            said = f"a child process could not load the jobs: {problem.decode()}"
            log.error(said)
            raise UnknownFunction(said)
        return child

    @property
    def alive(self) -> bool:
        """Whether the process has not ended, as far as this process has been told."""
        return self._process.returncode is None

    async def ask(self, message: bytes) -> bytes:
        """Send a message and return the answer.

        Raises `ChildDied`, with how it died.
        """
        try:
            await self._to.send(len(message).to_bytes(4, "big") + message)
            answer = await self._receive()
        except (
            anyio.EndOfStream,
            anyio.BrokenResourceError,
            ConnectionError,  # anyio lets asyncio's own through
        ) as exc:
            raise ChildDied(f"the child process {await self._end()}") from exc
        self.answered += 1
        return answer

    async def _receive(self) -> bytes:
        data = bytearray(await self._from.receive())
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            data += await self._from.receive()
        return bytes(data[4:])

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
            if self.alive:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own
            await self._process.aclose()

    async def leave(self) -> None:
        """Let the child go: it ends when its pipe closes."""
        with anyio.move_on_after(_LEAVE):
            await self._to.aclose()
            await self._process.wait()
        await self.kill()
