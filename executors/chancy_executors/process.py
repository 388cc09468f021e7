"""Runs functions in child processes, one job in one child at a time."""

import os
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import anyio
import attrs

from chancy_core import perform
from chancy_core.errors import ExecutionError, InvalidValue
from chancy_core.executor import Call, Capability, Executor, Running
from chancy_core.showing import shown
from chancy_executors import records
from chancy_executors.children import Child
from chancy_executors.output import Relay

#: What no child is given unless it is asked for: the way into the database. Patterns of a shell.
WITHHELD = ("CHANCY_DSN", "PG*")
#: Variables that name a database, and the one that says in a child which of them it was not given.
_DATABASES = ("CHANCY_DSN", "DATABASE_URL")
_MARK = "CHANCY_WITHHELD"
#: What decides which code a program loads: no queue's row has a say in that.
_LOADING = ("LD_*", "DYLD_*", "PYTHON*", "DJANGO_SETTINGS_MODULE")
#: The most that can be kept of what is printed, in bytes.
_MOST = 1_000_000


@attrs.frozen
class ProcessOptions:
    """What a queue can set for this executor."""

    #: After so many jobs a child makes way for a fresh one, and what its jobs have leaked goes with
    #: it; None keeps it for as long as the queue is run.
    max_jobs_per_child: int | None = attrs.field(default=1000)
    #: After a job that leaves a child with more resident memory, in bytes, it makes way; None keeps
    #: it. Where there is no `/proc`, what counts is the most that it ever had.
    max_memory_per_child: int | None = attrs.field(default=None)
    #: What a child calls before it loads jobs, as "module:function": a function of a module that
    #: the worker loads its jobs from, or "django:setup".
    initializer: str | None = attrs.field(default=None)
    #: Variables that children have besides their worker's; None as the value has them given what
    #: the worker has there, though it would be withheld.
    environment: Mapping[str, str | None] = attrs.field(factory=dict)
    #: Variables of the worker's, or patterns such as "AWS_*", that children do not have, besides
    #: `WITHHELD`.
    scrub: Sequence[str] = attrs.field(default=())
    #: How many bytes are kept, from the end, of what a child prints during an attempt that fails.
    #: With 0, none, and children have the worker's own stderr.
    max_output: int = attrs.field(default=16_384)

    @max_jobs_per_child.validator
    @max_memory_per_child.validator
    def _at_least_one(self, field: "attrs.Attribute[int | None]", value: int | None) -> None:
        if value is not None and value < 1:
            raise InvalidValue(f"{field.name} must be 1 or more, or None, not {value}")

    @initializer.validator
    def _names_a_function(self, _: Any, value: str | None) -> None:
        if value is not None and not re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", value):
            raise InvalidValue(
                f"initializer must name a function as 'module:function', not {shown(value)}"
            )

    @environment.validator
    def _is_harmless(self, _: Any, variables: Mapping[str, str | None]) -> None:
        for name, value in variables.items():
            if not name or "=" in name or "\0" in f"{name}{value}":
                raise InvalidValue(f"environment: {shown(name)} cannot be a variable's name")
            if value is not None and _matches(name, _LOADING):
                raise InvalidValue(
                    f"environment: {name} says which code a child loads: set it for the worker"
                )

    @max_output.validator
    def _is_bounded(self, _: Any, value: int) -> None:
        if not 0 <= value <= _MOST:
            raise InvalidValue(f"max_output must be 0 to {_MOST:,} bytes, not {value}")


class ProcessExecutor(Executor):
    """For work that computes, or that may crash: each job has a process to itself while it runs.

    Children are started when they are first needed, load the modules that register jobs, and stay
    for further jobs. One that does not end by its deadline, or is cancelled, is killed; a child
    that dies costs the job that it ran, and no other. Arguments, results and log records cross as
    JSON; what children print goes to stderr, and its end is kept with an attempt that fails.

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
        self._busy: dict[UUID, Child] = {}
        keep = self.options.max_output
        self._relay = Relay(keep) if keep else None
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
            if self._relay is not None:
                await self._relay.aclose()

    def running(self) -> list[Running]:
        """Return the children of the calls that run."""
        return [Running(job, pid=child.pid) for job, child in tuple(self._busy.items())]

    async def run(self, call: Call) -> Any:
        """Send the call to a child and return what it answers."""
        child = await self._child()
        try:
            if not child.loaded:
                await child.load(self._setup())
            child.begin()
            child.hears = call.hear
            self._busy[call.job.id] = child
            answer = await child.ask(perform.request(call))
        except BaseException:
            await child.kill()
            call.output = child.printed()
            raise
        finally:
            self._busy.pop(call.job.id, None)
        try:
            return perform.reply(call, answer)
        except ExecutionError:
            call.output = child.printed()
            raise
        finally:
            if child.leaves:
                with anyio.CancelScope(shield=True):  # the job has ended: its deadline is met
                    await child.leave()
            else:
                self._idle.append(child)

    async def _child(self) -> Child:
        """Return a child that waits for work; one that died while it was idle costs no job."""
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            await child.kill()
        return await Child.start(_environment(self.options), self._relay)

    def _setup(self) -> dict[str, Any]:
        """Return what a child is told before its first call."""
        return {
            "sources": list(self.host.sources),
            "plugins": list(self.host.plugins),
            "backend": self.host.backend,
            "capabilities": self.capabilities.value,
            "levels": records.levels(),
            "initializer": self.options.initializer,
            "max_jobs": self.options.max_jobs_per_child,
            "max_memory": self.options.max_memory_per_child,
        }


def _environment(options: ProcessOptions) -> dict[str, str]:
    """Return the environment of a child: its worker's, but for what is withheld."""
    withheld = (*WITHHELD, *options.scrub)
    given = {name: value for name, value in os.environ.items() if not _matches(name, withheld)}
    for name, told in options.environment.items():
        value = os.environ.get(name) if told is None else told
        if value is not None:
            given[name] = value
    # An application that names no database would find another one, which nobody meant.
    missing = [name for name in _DATABASES if os.environ.get(name) and name not in given]
    return given | ({_MARK: missing[0]} if missing else {})


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
