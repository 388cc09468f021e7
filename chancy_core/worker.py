"""A worker as applications see it: what it is called, when it works, and how it is stopped."""

import logging
import os
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio

from chancy_core import registry
from chancy_core.codec import shown, unstorable
from chancy_core.errors import ChancyError, InvalidValue
from chancy_core.job import QueuedJob
from chancy_core.queue import Queue, named
from chancy_core.tags import check_tags, own_tags

if TYPE_CHECKING:
    import signal

    from anyio.abc import TaskStatus

    from chancy_core.app import Chancy
    from chancy_core.assign import Lanes
    from chancy_core.health import Health
    from chancy_core.health.vitals import Vitals

log = logging.getLogger("chancy.worker")


def _check(name: str, grace_period: float) -> None:
    problem = unstorable(name) if isinstance(name, str) else "it must be a string"
    if problem is None and len(name) > 200:
        problem = f"it has at most 200 characters, not {len(name):,}"
    if problem is not None:
        raise InvalidValue(f"a worker's name, {shown(name)}: {problem}")
    number = isinstance(grace_period, int | float) and not isinstance(grace_period, bool)
    if not number or not grace_period >= 0:
        raise InvalidValue(
            f"worker {name!r}: grace_period must be 0 or more seconds, not {shown(grace_period)}"
        )


def _address(health: str) -> tuple[str, int]:
    from chancy_core.health import address  # not for those who only push

    return address(health)


def _check_queues(queues: Iterable[str] | None, worker: str) -> frozenset[str] | None:
    """Return the queues that somebody chose. Raises `InvalidValue` for what names none."""
    if queues is None:
        return None
    if isinstance(queues, str) or not isinstance(queues, Iterable):
        raise InvalidValue(
            f"worker {worker!r}: queues must be a set of names, such as {{'mail'}}, "
            f"not {shown(queues)}"
        )
    chosen = frozenset(named(name) for name in list(queues))
    if not chosen:
        raise InvalidValue(f"worker {worker!r}: queues names none; leave it out to run all")
    return chosen


class Worker:
    """Runs the jobs of all queues whose tags match this worker's.

        await Worker(chancy, tags={"has=gpu"}).start()      # until stopped
        async with Worker(chancy) as worker: ...            # behind a block

    When it stops (`stop`, SIGTERM or SIGINT, the end of the block, or when `start` is cancelled),
    it claims nothing more, lets its jobs end for *grace_period* seconds, cancels and gives back
    the rest, and writes all outcomes. Stopping it again skips the grace period. A coroutine that
    swallows cancellation cannot be ended: its job is given back, and named until it ends. With
    `signals=False` no signal is listened to: for programs that have a use of their own for them.

    *queues* are the names of those that it may run, of all that match; None stands for all. A
    queue that is declared later counts as well.

    *health* is a port, or an address such as `127.0.0.1:8080`, on which it answers `GET /live` and
    `GET /ready` with 200 or 503; *health_file* is kept to say the same. `health` is how it is.

    `events` tells what happens here and what other processes have said.

    Raises `InvalidValue` for a name or tags that cannot be stored, for *queues* that name none,
    for *health* that is no address, and for a *grace_period* below 0.
    """

    def __init__(
        self,
        chancy: "Chancy",
        *,
        tags: Iterable[str] = (),
        queues: Iterable[str] | None = None,
        name: str | None = None,
        grace_period: float = 30.0,
        signals: bool = True,
        health: str | None = None,
        health_file: "str | os.PathLike[str] | None" = None,
    ) -> None:
        from chancy_core.events import Events  # not for those who only push

        self.name = name or f"{os.uname().nodename}-{os.getpid()}"
        _check(self.name, grace_period)
        #: What it is called by; once it has started, with what the installed providers know.
        self.tags = own_tags(self.name) | check_tags(tags, self.name)
        #: The names of the queues that it may run; None stands for all.
        self.only = _check_queues(queues, self.name)
        self.grace_period = grace_period
        self.signals = signals
        self.chancy = chancy
        self.events = Events()
        #: What it runs; None until it has started.
        self.lanes: Lanes | None = None
        self.stopping = anyio.Event()
        self.hurry = anyio.Event()
        #: Set once it has stopped, and all is written.
        self.stopped = anyio.Event()
        #: Whether no job was cancelled because the grace period was over, or skipped.
        self.drained = True
        #: Where it answers probes, `/live` and `/ready`: (host, port). None if nowhere.
        self.health_at = None if health is None else _address(health)
        #: The file that says how it is.
        self.health_file = None if health_file is None else os.fspath(health_file)
        self.vitals: Vitals | None = None
        self._begun = False

    @property
    def health(self) -> "Health":
        """How it is at this moment: whether it is alive, and ready for jobs. For any thread."""
        from chancy_core.health import Health

        if self.vitals is None or self.stopped.is_set():
            why = "it has not started" if self.vitals is None else "it has stopped"
            return Health(live=False, ready=False, reasons=(why,))
        return self.vitals.look()

    @property
    def queues(self) -> dict[str, Queue]:
        """The queues that it runs at this moment, with the settings that it follows."""
        lanes = self.lanes.current if self.lanes else {}
        return {name: lane.queue for name, lane in lanes.items() if lane.opened}

    @property
    def running(self) -> list[QueuedJob]:
        """The jobs that run here at this moment, or have been claimed and are about to."""
        return [claimed.job for lane in self.lanes or () for claimed in lane.held]

    @property
    def slots(self) -> int:
        """How many jobs may run here at once, of all queues that it runs at this moment."""
        lanes = self.lanes.current.values() if self.lanes else ()
        return sum(lane.executor.concurrency for lane in lanes if lane.opened)

    @property
    def stale(self) -> int:
        """How many outcomes were discarded here: their lease was lost before they were written."""
        return 0 if self.vitals is None else self.vitals.stale

    async def wake(self, *queues: str) -> None:
        """Look at once for new jobs in these queues, and tell other workers of them."""
        if self.lanes is not None:
            self.lanes.feed(queues)
        await self.chancy.wake(*queues)

    async def start(self) -> None:
        """Work until stopped. Must be called inside `async with chancy`.

        Raises `MigrationsNeeded` if the database does not fit this code, and `ChancyError` if it
        was started before: each life has a Worker of its own.
        """
        await self._prepare()
        async with anyio.create_task_group() as around:
            around.start_soon(self._obey_signals)
            try:
                await self._live()
            finally:
                around.cancel_scope.cancel()

    async def __aenter__(self) -> Self:
        await self._prepare()
        self._tasks = await anyio.create_task_group().__aenter__()
        try:
            await self._tasks.start(self._work)
        except BaseException as exc:
            await self._tasks.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self.stop()
        if isinstance(exc, Exception):
            # The block's own error passes as it is: the task group would wrap it in a group.
            await self._tasks.__aexit__(None, None, None)
            return False
        return await self._tasks.__aexit__(exc_type, exc, traceback)

    async def _prepare(self) -> None:
        """Find out what would be wrong before anything is begun."""
        if self._begun:
            raise ChancyError(f"worker {self.name!r} has been started before: make a new Worker")
        from chancy_core.installed import provided_tags  # not for those who only push

        self._begun = True
        try:
            await self.chancy.check()
            registry.import_jobs(self.chancy.jobs)
            self.tags |= await provided_tags(self.name)
        except BaseException:
            self._begun = False
            raise

    def stop(self, *, grace_period: float | None = None) -> None:
        """Begin to stop; called again, skip what is left of the grace period.

        *grace_period*, in seconds, takes the place of the worker's own. Raises `InvalidValue` for
        one that makes no sense.
        """
        if grace_period is not None:
            _check(self.name, grace_period)
        if self.stopping.is_set():
            self.hurry.set()
        elif grace_period is not None:
            self.grace_period = grace_period
        self.stopping.set()

    async def wait_for_shutdown(self) -> bool:
        """Return once this worker, which works behind a block, has stopped and written all.

        Answers whether its jobs ended by themselves: False if some had to be cancelled. SIGTERM
        and SIGINT stop it meanwhile, unless it was made with `signals=False`.
        """
        async with anyio.create_task_group() as around:
            around.start_soon(self._obey_signals)
            await self.stopped.wait()
            around.cancel_scope.cancel()
        return self.drained

    async def _obey_signals(self) -> None:
        if self.signals:
            from chancy_core import signals

            await signals.obey(self._signalled)

    def _signalled(self, number: "signal.Signals") -> None:
        again = ", at once" if self.stopping.is_set() else ""
        log.warning("%s: worker %s stops%s", number.name, self.name, again)
        self.stop()

    async def _live(self) -> None:
        """Work in a task that no cancellation from outside reaches: it is told to stop instead."""
        async with anyio.create_task_group() as shelter:
            shelter.start_soon(self._work)
            try:
                await self.stopping.wait()
            except anyio.get_cancelled_exc_class():
                self.stop()
                raise

    async def _work(self, *, task_status: "TaskStatus[None] | None" = None) -> None:
        from chancy_core.life import live  # loads the database driver

        try:
            await live(self, task_status=task_status or anyio.TASK_STATUS_IGNORED)
        finally:
            self.stopped.set()
