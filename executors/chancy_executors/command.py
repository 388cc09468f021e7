"""Runs command lines: those that a queue allows, by their names, and never by a shell."""

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import IO, Any

import anyio
import attrs
from anyio import to_thread
from anyio.abc import Process

from chancy_core import codec
from chancy_core.errors import CommandFailed, InvalidValue, UnknownFunction, Unprepared, Unsupported
from chancy_core.executor import Call, Capability, Executor
from chancy_core.job import LimitKind, QueuedJob
from chancy_executors.tail import Tail

#: The variables of the worker's environment that each command has, besides those for locales.
_KEPT = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR"})
#: The most bytes of each stream that a result can hold: as JSON, a byte may take six.
_MOST_OUTPUT = 80_000
#: The most seconds between asking a command to end and ending it. A worker that stops gives
#: cancelled jobs 0.8 s, and one whose lease is about to end gives exclusive ones a second: then
#: another may begin them.
MOST_GRACE = 0.5
#: How much of what a command has said belongs into the text of its error, in characters.
_SAID = 2000


@attrs.frozen
class Command:
    """A command line that the jobs of a queue may run."""

    #: The program, by its name or its absolute path, and its first arguments.
    argv: list[str] = attrs.field()
    #: How many arguments a job may add.
    args: int = attrs.field(default=0)
    #: Variables that the command is given.
    environment: dict[str, str] = attrs.field(factory=dict)
    #: The names of further variables that it has from the worker.
    inherit: list[str] = attrs.field(factory=list)
    #: The folder in which it runs, an absolute path; None for the worker's own.
    folder: str | None = attrs.field(default=None)
    #: The exit statuses that count as success.
    statuses: list[int] = attrs.field(factory=lambda: [0])

    @argv.validator
    def _begins_with_a_program(self, _: Any, argv: list[str]) -> None:
        program = argv[0] if argv else ""
        if not program or ("/" in program and not Path(program).is_absolute()):
            raise InvalidValue(
                "argv must be a list that begins with a program, by its name or its absolute "
                f"path, not {codec.shown(argv)}"
            )

    @args.validator
    def _not_negative(self, _: Any, number: int) -> None:
        if number < 0:
            raise InvalidValue(
                f"args must be the number of arguments that a job may add, from 0, not {number}"
            )

    @environment.validator
    @inherit.validator
    def _are_variables(self, field: "attrs.Attribute[Any]", names: Iterable[str]) -> None:
        wrong = [name for name in names if not name or "=" in name]
        if wrong:
            raise InvalidValue(
                f"{field.name}: a variable has a name without '=', unlike {codec.shown(wrong[0])}"
            )

    @folder.validator
    def _is_absolute(self, _: Any, folder: str | None) -> None:
        if folder is not None and not Path(folder).is_absolute():
            raise InvalidValue(f"folder must be an absolute path, not {codec.shown(folder)}")

    @statuses.validator
    def _can_be_left_with(self, _: Any, statuses: list[int]) -> None:
        if not statuses or not all(0 <= status <= 255 for status in statuses):
            raise InvalidValue(
                f"statuses must be one or more from 0 to 255, not {codec.shown(statuses)}"
            )

    def variables(self) -> dict[str, str]:
        """Return the environment of the command: what it needs of the worker's, and its own."""
        kept = _KEPT.union(self.inherit)
        own = {
            name: value
            for name, value in os.environ.items()
            if name in kept or name.startswith("LC_")
        }
        return own | self.environment


@attrs.frozen
class CommandOptions:
    """What a queue can set for this executor."""

    #: The commands that its jobs may run, by their names.
    commands: dict[str, Command] = attrs.field()
    #: How many bytes are kept of the end of stdout, and of that of stderr.
    max_output: int = attrs.field(default=16_384)
    #: Seconds from SIGTERM to SIGKILL for a command that has to end; 0 for SIGKILL at once.
    grace: float = attrs.field(default=0.0)

    @commands.validator
    def _not_empty(self, _: Any, commands: dict[str, Command]) -> None:
        if not commands:
            raise InvalidValue('commands must allow at least one, such as {"date": {"argv": [...]}')

    @max_output.validator
    def _fits_a_result(self, _: Any, size: int) -> None:
        if not 0 <= size <= _MOST_OUTPUT:
            raise InvalidValue(f"max_output must be 0 to {_MOST_OUTPUT:,} bytes, not {size:,}")

    @grace.validator
    def _is_short(self, _: Any, grace: float) -> None:
        if not 0 <= grace <= MOST_GRACE:
            raise InvalidValue(
                f"grace must be 0 to {MOST_GRACE} seconds, since a worker that stops waits no "
                f"longer, not {grace}"
            )


@attrs.frozen
class Given:
    """What a job gives to its command: further arguments, and what is there to be read."""

    args: list[str] = attrs.field(factory=list)
    stdin: str | None = None

    @classmethod
    def read(cls, job: QueuedJob, command: Command) -> "Given":
        """Return what a job gives. Raises `InvalidValue` for what its command does not take."""
        try:
            given: Given = codec.structured(f"arguments of {job.func}", job.kwargs, cls)
        except InvalidValue as exc:
            raise InvalidValue(
                f"{exc}; a command takes `args`, a list of strings, and `stdin`, a string"
            ) from None
        if len(given.args) > command.args:
            raise InvalidValue(
                f"{job.func}: queue {job.queue!r} allows {command.args} arguments of a job's own, "
                f"not {len(given.args)}"
            )
        return given


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
            running = await Running.start(name, command, given, out, err)
            try:
                status = await running.ended()
            finally:
                await running.end(self.options.grace)
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


class Running:
    """A process that runs a command, and leads a session and a process group of its own."""

    def __init__(self, process: Process, *tails: Tail) -> None:
        self._process = process
        self._tails = tails

    @classmethod
    async def start(
        cls, name: str, command: Command, given: Given, out: Tail, err: Tail
    ) -> "Running":
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
