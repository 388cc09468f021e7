"""What a queue allows of command lines: which, with what of a job's own, and where they run."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from chancy_core import codec
from chancy_core.errors import InvalidValue
from chancy_core.job import QueuedJob

#: The variables of the worker's environment that each command has, besides those for locales.
_KEPT = frozenset({"PATH", "HOME", "LANG", "TZ", "TMPDIR"})
#: The most bytes of each stream that a result can hold: as JSON, a byte may take six.
_MOST_OUTPUT = 80_000
#: The most seconds between asking a command to end and ending it. A worker that stops gives
#: cancelled jobs 0.8 s, and one whose lease is about to end gives exclusive ones a second: then
#: another may begin them.
MOST_GRACE = 0.5


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
