"""The contract that every executor keeps: how a claimed job comes to be run.

The worker owns slots, deadlines, cancellation and settling; an executor only runs one call and
says how it ended. It is found by its entry point in the group `chancy.executors`, and a queue
names it.
"""

import abc
import copy
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar, Self
from uuid import UUID

from attrs import define, evolve, field, frozen

from chancy_core import codec
from chancy_core.beside import NOBODY, Beside
from chancy_core.capability import Capability
from chancy_core.errors import InvalidValue, Unsupported
from chancy_core.function import JobFunction
from chancy_core.job import Job, LimitKind, QueuedJob
from chancy_core.progress import Progress

__all__ = [
    "Call",
    "Capability",
    "Executor",
    "ExecutorHost",
    "Left",
    "NoOptions",
    "Running",
    "check_support",
]

log = logging.getLogger("chancy.run")

#: How the name of a thread begins that runs a job; the name of its function follows. By it is told
#: what a process that ends leaves behind.
JOB_THREAD = "chancy-job "


@frozen
class NoOptions:
    """The options of an executor that has none."""


@frozen
class ExecutorHost:
    """What an executor may know of the worker that it serves."""

    #: Where the registered functions come from, for executors that run them elsewhere.
    sources: Sequence[tuple[str, str | None]]
    #: The kind of event loop that the worker runs on, as `anyio.run` names it.
    backend: str
    #: The plugins with hooks beside the function, for executors that run it elsewhere:
    #: `beside.loaded` loads them there.
    plugins: Sequence[tuple[str, str, str]] = ()


@frozen
class Running:
    """A call that an executor runs, and where somebody who looks from outside finds it."""

    job: UUID
    #: The process that runs nothing else meanwhile.
    pid: int | None = None
    #: The thread of the worker's process, by the number that the system gives it.
    thread: int | None = None


@frozen(eq=False)
class Left:
    """A function that goes on although its call has ended: nobody waits for it any more."""

    job: QueuedJob
    #: Says where it is at this moment, by its stack; nothing once it has ended.
    where: Callable[[], str] = field(repr=False)
    #: Where it was when its call ended.
    was: str = field(default="", repr=False)
    #: When its call ended, by `time.monotonic()`.
    since: float = field(factory=time.monotonic)

    @property
    def overdue(self) -> float:
        """Seconds since its call has ended."""
        return time.monotonic() - self.since


@define(eq=False)
class Call:
    """One attempt to be run: the job, its arguments as JSON, and what time it has."""

    job: QueuedJob
    #: The job's arguments as they are stored, a JSON object: for executors that send them on.
    arguments: str = field(repr=False)
    #: Seconds that it had when it was made, or None.
    time_left: float | None = field(default=None, kw_only=True)
    #: The plugins of this process, as the function meets them.
    hooks: Beside = field(default=NOBODY, kw_only=True)
    #: Who else is told at once of the function's progress, in the function's thread.
    hears: Callable[[Progress], None] | None = field(default=None, kw_only=True, repr=False)
    #: When these are over, by `time.monotonic()`.
    deadline: float | None = field(init=False)
    #: What its function, which ran elsewhere, has made of the job's meta, as JSON; None if nothing.
    new_meta: str | None = field(default=None, init=False, repr=False)
    #: How far its function has come, as it said last; written about once a second.
    progress: Progress | None = field(default=None, init=False, repr=False)
    #: What of it goes on, when `run` was cancelled: of an executor that cannot end its function.
    left: Left | None = field(default=None, init=False)
    #: What its function has printed, or the end of it, where the executor keeps that: a failure of
    #: the attempt is stored with it.
    output: str | None = field(default=None, init=False, repr=False)
    _given: QueuedJob | None = field(default=None, init=False)
    _unwanted: bool = field(default=False, init=False)

    @deadline.default
    def _deadline(self) -> float | None:
        return None if self.time_left is None else time.monotonic() + self.time_left

    def resolve(
        self, capabilities: Capability, *, here: bool = False
    ) -> tuple[Callable[..., Any], Mapping[str, Any]]:
        """Return the function and its structured arguments, for an executor that runs it here.

        Among them is what is injected: the job, and what plugins give. Calling it enters contexts
        of plugins: cheaply if it is awaited *here*, in this task, and `hooks.clear` called after.

        Raises `UnknownFunction` if nothing is registered under the job's name, or only something
        older; `Unsupported` if an executor of these *capabilities* cannot run it; `InvalidValue` if
        the arguments cannot be lifted, or do not fit the annotations; `Unprepared` if no plugin
        gives what the function wants of them.
        """
        job = self.job
        made = self.hooks.function(job.func)
        kwargs = job.kwargs if job.version == made.version else made.lift(job.kwargs, job.version)
        check_support(job, made, capabilities)
        arguments = codec.structure(made.func, kwargs)
        if made.injected is not None:
            # The meta is the function's own: what it makes of it is compared with the job's.
            self._given = evolve(job, meta=copy.deepcopy(job.meta), deadline=self.deadline)
            object.__setattr__(self._given, "_heard", self.hear)
            arguments[made.injected] = self._given
        if made.wanted:
            arguments |= self.hooks.arguments(job, made)
        return (self.hooks.here if here else self.hooks.around)(job, made), arguments

    def hear(self, progress: Progress) -> None:
        """Take note of how far its function has come."""
        self.progress = progress
        if self.hears is not None:
            self.hears(progress)

    @property
    def unwanted(self) -> bool:
        """Whether nobody wants it to go on: the job is cancelled, or its time is over.

        If not, a job whose `run` is cancelled goes back into the queue. An executor with the
        capability `REMOTE` leaves its function alone then: the next claim is to find it.
        """
        late = self.deadline is not None and time.monotonic() >= self.deadline
        return self._unwanted or late

    def end(self, *, unwanted: bool = False) -> None:
        """Say that the attempt is over: its function sees it by `job.over`, in whatever thread.

        *unwanted* says that the function is to end, wherever it runs.

        The worker does so when it cancels `run`. A function that runs elsewhere is told by its
        executor, or not at all.
        """
        self._unwanted |= unwanted
        if self._given is not None:
            object.__setattr__(self._given, "_over", True)

    def changed_meta(self) -> str | None:
        """Return the job's meta as JSON if its function has changed it, else None.

        A meta that cannot be stored stays as it was, and a warning is logged.
        """
        if self._given is None:
            return self.new_meta
        try:
            text = codec.encode(self._given.meta, f"meta of {self.job.func}")
        except InvalidValue as exc:
            log.warning("job %s: its meta stays as it was: %s", self.job.id, exc)
            return None
        try:
            before = codec.as_text(self.job.meta)
        except (ValueError, RecursionError):
            before = None  # somebody wrote it by hand: it can be read, and not written again
        return None if text == before else text


def check_support(job: Job, made: JobFunction[..., Any], capabilities: Capability) -> None:
    """Raise `Unsupported` if an executor of these *capabilities* cannot run the job."""
    kind = Capability.ASYNC if made.is_async else Capability.SYNC
    if kind is not capabilities and kind not in capabilities:  # the first is far quicker
        word = "coroutine" if made.is_async else "plain"
        raise Unsupported(
            f"{job.func} is a {word} function, which the executor of queue {job.queue!r} cannot run"
        )
    if made.needs and made.needs not in capabilities:
        raise Unsupported(
            f"{job.func} needs an executor with {made.needs.words}, and the one of queue "
            f"{job.queue!r} has only {capabilities.words}"
        )
    if not job.limits:
        return
    if job.limit(LimitKind.MEMORY) is not None and Capability.MEMORY_LIMIT not in capabilities:
        raise Unsupported(
            f"{job.func} has a memory limit, which only an executor with a process for each job "
            f"can keep; the one of queue {job.queue!r} cannot"
        )


class Executor(abc.ABC):
    """Runs the jobs of one queue on one worker.

    It is made for one use of `async with`: what it holds open belongs to that block. `run` is
    called up to *concurrency* times at once, and cancelled when an attempt has to end.
    """

    #: An attrs class; the queue's `executor_options` are structured into it.
    Options: ClassVar[type[Any]] = NoOptions
    capabilities: ClassVar[Capability]
    #: The concurrency of a queue that leaves it open.
    default_concurrency: ClassVar[int] = 1

    def __init__(self, options: Any, concurrency: int, host: ExecutorHost) -> None:
        self.options = options
        self.concurrency = concurrency
        self.host = host

    @classmethod
    def outlives_worker(cls, options: Any) -> bool:  # noqa: ARG003 - most need not know them
        """Return whether, with these options, what it runs outlives the worker.

        Then the death of a worker is no crash of its jobs: see `Capability.REMOTE`.
        """
        return Capability.REMOTE in cls.capabilities

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(  # noqa: B027 - an executor that holds nothing has nothing to close
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of everything: no thread, child or file of this executor's stays behind."""

    @classmethod  # noqa: B027 - what most have to say is said by their options
    def check(cls, options: Any, sources: Sequence[tuple[str, str | None]]) -> None:
        """Find out, when a queue is declared, what would keep its jobs from being run.

        *options* are those of the queue, *sources* the modules in which the declaring process has
        registered jobs, for `registry.load_sources`: none, where a producer knows jobs by their
        names only. It may block: a coroutine has it called in a thread. What this process lacks
        and a worker may have is no reason to refuse a queue. Raises `InvalidQueue`.
        """

    def resize(self, concurrency: int) -> None:
        """Run up to *concurrency* calls at once from now on; what runs is not touched."""
        self.concurrency = concurrency

    def running(self) -> Sequence[Running]:
        """Return where the calls are that run: those of which it is known. For `chancy top`.

        It is asked from another thread, and must not wait for anything.
        """
        return ()

    @property
    def left(self) -> Iterable[Left]:
        """What goes on of calls that have ended; the worker names each that lasts, by its stack.

        For executors that cannot end a function.
        """
        return ()

    def settled(self, jobs: Sequence[QueuedJob]) -> None:  # noqa: B027 - most keep nothing
        """Hear of outcomes that are written by now, or never will be. It must not wait.

        For executors that keep what has come of a call until then: what a worker that dies had not
        written is found by the job's next claim.
        """

    @abc.abstractmethod
    async def run(self, call: Call) -> Any:
        """Run *call* and return what the function returned; `codec.Encoded` if it is JSON already.

        Raises what the function raised (`perform.Raised` if that happened elsewhere), or
        `UnknownFunction`, `Unsupported`, `MemoryLimitExceeded`, `ChildDied`. When cancelled, it
        ends the function if it can, or says by `call.left` that it goes on, and lets the
        cancellation through.
        """
