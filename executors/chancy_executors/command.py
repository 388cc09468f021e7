"""Runs command lines: those that a queue allows, by their names, and never by a shell."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import IO, Any, Self
from uuid import UUID

import anyio
from anyio import to_thread
from anyio.abc import Process

from chancy_core.errors import CommandFailed, InvalidValue, UnknownFunction, Unprepared, Unsupported
from chancy_core.executor import Call, Capability, Executor, Running
from chancy_core.job import LimitKind, QueuedJob
from chancy_executors.allowed import Command, CommandOptions, Given
from chancy_executors.tail import Tail

#: How much of what a command has said belongs into the text of its error, in characters.
_SAID = 2000


class CommandExecutor(Executor):
    """For programs: each job is a command line, in a session of its own.

    A job names a command that its queue allows, in place of a function. It may give `args`, which
    are added to the command's own as far as the queue allows that, and `stdin`, a text. The result
    has `status`, and the ends of `stdout` and `stderr`.

    A command is over when its process is. Whatever of its session's process group is left then, or
    when the job is cancelled, is killed.
    """

    Options = CommandOptions
    capabilities = Capability.COMMAND | Capability.HARD_KILL
    default_concurrency = os.cpu_count() or 1

    async def __aenter__(self) -> Self:
        self._programs: dict[UUID, Program] = {}
        return self

    def running(self) -> list[Running]:
        """Return the processes of the commands that run, without what these have started."""
        return [Running(job, pid=each.pid) for job, each in tuple(self._programs.items())]

    async def run(self, call: Call) -> Any:
        """Run the command and return how it ended, if that is a success.

        Raises `CommandFailed` if it is none; `UnknownFunction` for a command that the queue does
        not allow, `Unprepared` for one that cannot be started here.
        """
        name = call.job.func
        command = self._command(call.job)
        given = Given.read(call.job, command)
        size = self.options.max_output
        with closing(Tail(size)) as out, closing(Tail(size)) as err:
            program = await Program.start(name, command, given, out, err)
            self._programs[call.job.id] = program
            try:
                status = await program.ended()
            finally:
                await program.end(self.options.grace)
                self._programs.pop(call.job.id, None)
            if status not in command.statuses:
                raise CommandFailed(f"{name} {_ending(status)}{_last_words(err.text())}")
            return {"status": status, "stdout": out.text(), "stderr": err.text()}

    def _command(self, job: QueuedJob) -> Command:
        allowed: dict[str, Command] = self.options.commands
        if job.func not in allowed:
            raise UnknownFunction(
                f"queue {job.queue!r} allows no command {job.func!r}; "
                f"it allows {', '.join(sorted(allowed))}"
            )
        if job.limit(LimitKind.MEMORY) is not None:
            raise Unsupported(
                f"{job.func} has a memory limit, which the executor of queue {job.queue!r} does "
                "not keep; a command that begins with `prlimit` may have one of its own"
            )
        return allowed[job.func]


class Program:
    """A process that runs a command, and leads a session and a process group of its own."""

    def __init__(self, process: Process, *tails: Tail) -> None:
        self._process = process
        self._tails = tails

    @classmethod
    async def start(
        cls, name: str, command: Command, given: Given, out: Tail, err: Tail
    ) -> "Program":
        """Start a command.

        Raises `Unprepared` if that is not possible here, `InvalidValue` if it is not anywhere.
        """
        variables = command.variables()
        program = shutil.which(command.argv[0], path=variables.get("PATH"))
        if program is None:
            raise Unprepared(f"{name}: there is no program {command.argv[0]!r} here")
        try:
            with ExitStack() as files:
                stdin: int | IO[bytes] = subprocess.DEVNULL
                if given.stdin is not None:
                    file = await to_thread.run_sync(_file, given.stdin)
                    stdin = files.enter_context(file)
                # Whoever starts a process has to know its number, whatever happens meanwhile.
                with anyio.CancelScope(shield=True):
                    process = await anyio.open_process(
                        [str(Path(program).absolute()), *command.argv[1:], *given.args],
                        stdin=stdin,
                        stdout=out.writer,
                        stderr=err.writer,
                        cwd=command.folder,
                        env=variables,
                        start_new_session=True,
                    )
        except OSError as exc:
            if exc.errno == errno.E2BIG:
                raise InvalidValue(f"{name}: its arguments are longer than a system takes") from exc
            raise Unprepared(f"{name} cannot be started here: {exc}") from exc
        return cls(process, out, err)

    @property
    def pid(self) -> int:
        """The number of its process, and of the group of all that this has started."""
        return self._process.pid

    async def ended(self) -> int:
        """Wait until the process has ended, and return its status: below 0, the signal's number."""
        async with anyio.create_task_group() as tasks:
            for tail in self._tails:
                tasks.start_soon(tail.follow)
            status = await self._process.wait()
            tasks.cancel_scope.cancel()
        for tail in self._tails:
            tail.drain()
        return status

    async def end(self, grace: float) -> None:
        """See that nothing of it runs any more, whether it has ended or not."""
        with anyio.CancelScope(shield=True):
            if grace and self._process.returncode is None:
                self._tell(signal.SIGTERM)
                with anyio.move_on_after(grace):
                    await self.ended()
            self._tell(signal.SIGKILL)
            await self._process.aclose()

    def _tell(self, number: signal.Signals) -> None:
        """Send a signal to all of the group; its number is not used again as soon as it is free."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _file(text: str) -> IO[bytes]:
    """Return a file without a name that has this text, to be read at whatever pace, or not."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever asked for it closes it
    file.write(text.encode())
    file.seek(0)
    return file


def _ending(status: int) -> str:
    if status >= 0:
        return f"left with status {status}"
    known = -status in set(signal.Signals)  # real-time signals have no names
    return f"was killed by {signal.Signals(-status).name if known else f'signal {-status}'}"


def _last_words(said: str) -> str:
    said = said.strip()
    if not said:
        return ", and said nothing on stderr"
    return f": {said if len(said) <= _SAID else f'...{said[-_SAID:]}'}"
