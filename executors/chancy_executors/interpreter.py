"""Runs functions in sub-interpreters: threads of the worker's process that share no Python."""

import json
import logging
import os
import platform
from collections.abc import Iterable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import anyio
import attrs

from chancy_core import perform
from chancy_core.errors import BrokenOffer, InvalidQueue, InvalidValue
from chancy_core.executor import Call, Capability, Executor, ExecutorHost, Left, Running
from chancy_executors import records, subinterpreter
from chancy_executors.interpreters import Interpreter
from chancy_executors.stragglers import Stragglers, not_negative
from chancy_executors.subinterpreter import Subinterpreter

log = logging.getLogger("chancy.interpreter")

#: Seconds that interpreters without a job may take to end when their executor closes, and seconds
#: between two looks.
_LEAVE, _LOOK = 5.0, 0.005


@attrs.frozen
class InterpreterOptions:
    """What a queue can set for this executor."""

    #: After so many jobs an interpreter makes way for a fresh one, and what its jobs have left in
    #: it goes with it; None keeps it for as long as the queue is run.
    max_jobs_per_interpreter: int | None = attrs.field(default=1000)
    #: How many functions may go on after their attempts were closed, without keeping their slots.
    max_stuck: int = attrs.field(default=8, validator=not_negative)

    @max_jobs_per_interpreter.validator
    def _at_least_one(self, field: "attrs.Attribute[int | None]", value: int | None) -> None:
        if value is not None and value < 1:
            raise InvalidValue(f"{field.name} must be 1 or more, or None, not {value}")


class InterpreterExecutor(Executor):
    """For plain Python that computes, on several processors and in one process.

    Each job has a sub-interpreter to itself while it runs, with a lock (GIL) of its own. They are
    made when they are first needed, load the modules that register jobs, and stay for further jobs.
    Calls, results and log records cross as JSON.

    Nobody can end what runs in one: at its deadline, or when it is cancelled, the attempt is
    closed, its function is told and goes on, as on `thread`; its interpreter is not used again.
    Many modules in C refuse to be loaded there, which `check` finds. What crashes one ends the
    worker. It needs Python 3.13, where it is an experiment.
    """

    Options = InterpreterOptions
    capabilities = Capability.SYNC | Capability.ASYNC
    default_concurrency = os.cpu_count() or 1

    def __init__(self, options: Any, concurrency: int, host: ExecutorHost) -> None:
        """Make it. Raises `BrokenOffer` on a Python without sub-interpreters."""
        if not subinterpreter.AVAILABLE:
            raise BrokenOffer(
                "the executor 'interpreter' needs sub-interpreters, which CPython has from version "
                f"{'.'.join(map(str, subinterpreter.NEEDED))} on; here there is "
                f"{platform.python_implementation()} {platform.python_version()}"
            )
        self._left = Stragglers(log, options.max_stuck)
        self._idle: list[Interpreter] = []
        self._busy: dict[UUID, Interpreter] = {}
        #: All whose threads may not have ended.
        self._all: list[Interpreter] = []
        super().__init__(options, concurrency, host)

    @classmethod
    def check(
        cls,
        options: Any,  # noqa: ARG003 - they say nothing about what can be loaded
        sources: Sequence[tuple[str, str | None]],
    ) -> None:
        """Load the modules that register jobs in a sub-interpreter, and end that again.

        Raises `InvalidQueue`, which names the module that refuses. On a Python without
        sub-interpreters nothing is refused: the worker that runs the queue may have another one,
        and says so if it has not.
        """
        if not subinterpreter.AVAILABLE or not sources:
            return
        load = f"from chancy_executors import inside; inside.check({json.dumps(list(sources))!r})"
        made = Subinterpreter()
        try:
            problem = made.exec(load)
        finally:
            made.destroy()
        if problem is not None:
            raise InvalidQueue(problem)

    @property
    def concurrency(self) -> int:
        """How many calls may run at once: fewer while more than `max_stuck` functions are stuck."""
        return self._left.room(self._slots)

    @concurrency.setter
    def concurrency(self, slots: int) -> None:
        self._slots = slots

    @property
    def left(self) -> Iterable[Left]:
        """The functions that go on although their attempts are closed."""
        return tuple(self._left)

    async def __aenter__(self) -> Self:
        subinterpreter.warn()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the interpreters, but for those whose functions go on: these are named."""
        for interpreter in self._idle:
            interpreter.let_go()
        await self._left.close("a sub-interpreter")
        with anyio.move_on_after(_LEAVE, shield=True) as waited:
            while self._ending():
                await anyio.sleep(_LOOK)
        if waited.cancelled_caught:
            log.warning(
                "%d sub-interpreters have not ended after %g s: what they load takes longer, or "
                "threads go on in them that their jobs have started",
                self._ending(),
                _LEAVE,
            )

    def _ending(self) -> int:
        """Count those that were let go and have not ended, but for those whose functions go on."""
        return sum(one.thread.is_alive() and one not in self._left for one in self._all)

    def running(self) -> list[Running]:
        """Return the threads of the calls that run."""
        busy = tuple(self._busy.items())
        return [Running(job, thread=one.thread.native_id) for job, one in busy]

    async def run(self, call: Call) -> Any:
        """Send the call to a sub-interpreter and return what it answers."""
        interpreter = self._interpreter()
        try:
            if not interpreter.loaded:
                await interpreter.load(self._setup())
            self._busy[call.job.id] = interpreter
            interpreter.hears = call.hear
            answer = await interpreter.perform(call.job.func, perform.request(call))
        except BaseException:
            self._leave(call, interpreter)
            raise
        finally:
            self._busy.pop(call.job.id, None)
        if interpreter.calls == self.options.max_jobs_per_interpreter:
            interpreter.let_go()
        else:
            self._idle.append(interpreter)
        return perform.reply(call, answer)

    def _interpreter(self) -> Interpreter:
        """Return one that waits for work, or a new one."""
        while self._idle:
            interpreter = self._idle.pop()
            if not interpreter.over:
                return interpreter
            interpreter.let_go()
        made = Interpreter(partial(self._left.ended, how="ended"))
        self._all = [*(one for one in self._all if one.thread.is_alive()), made]
        return made

    def _leave(self, call: Call, interpreter: Interpreter) -> None:
        """Wait no longer for what it does, and tell it so."""
        with self._left.lock:
            if interpreter.busy and not interpreter.over:
                call.left = Left(call.job, interpreter.where, interpreter.where())
                self._left.add(interpreter, call.left)
        interpreter.let_go()
        if call.left is not None:
            self._left.complain(call.left)

    def _setup(self) -> dict[str, Any]:
        """Return what an interpreter is told before its first call."""
        return {
            "sources": list(self.host.sources),
            "plugins": list(self.host.plugins),
            "backend": self.host.backend,
            "capabilities": self.capabilities.value,
            "levels": records.levels(),
        }
