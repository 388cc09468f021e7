"""Waiting for jobs to end: told by notifications where there are any, by looking in any case.

Nobody trusts a hint: whoever is told, or was told nothing for a while, reads the rows.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from uuid import UUID

import anyio
from anyio.abc import TaskGroup

from chancy_core import hint
from chancy_core.errors import JobNotFound
from chancy_core.hint import Hint
from chancy_core.job import QueuedJob, State
from chancy_core.postgres import Listener, PoolClosed, Reconnected
from chancy_core.store import statements
from chancy_core.store.store import TRANSIENT, Store, backoff

log = logging.getLogger("chancy.waiting")

#: Seconds between two looks: the first, and the longest with and without a listener.
SHORTEST, LONGEST, DEAF = 0.005, 1.0, 0.25
#: Seconds after which workers are told once more who is awaited: one may have begun since.
AGAIN = 3.0
#: For how many jobs of one wait workers are asked at a time.
ASKED = 1000


class Wanted:
    """The jobs that somebody waits for: which have ended, without any I/O.

    Those in one of *states*, which are live ones, are not waited for any longer either.
    """

    def __init__(self, ids: Sequence[UUID], states: Collection[State] = ()) -> None:
        self._ids = ids
        self._states = states
        self._finished: dict[UUID, QueuedJob] = {}
        #: Those that have not ended, as far as is known.
        self.missing = list(dict.fromkeys(ids))
        #: Seconds until the next look.
        self.pause = SHORTEST

    def take(self, asked: Collection[UUID], found: Sequence[QueuedJob], longest: float) -> bool:
        """Take what a look has found; answers whether all have ended. Raises `JobNotFound`."""
        there = {job.id: job for job in found}
        for id_ in asked:
            if id_ not in there:
                raise JobNotFound(f"no job, live or finished, is {id_}")
        before = len(self._finished)
        self._finished |= {id_: job for id_, job in there.items() if self._suits(job)}
        progress = len(self._finished) > before
        if progress:
            self.missing = [id_ for id_ in self.missing if id_ not in self._finished]
        longest = DEAF if self._states else longest  # of a job that has not ended nobody is told
        self.pause = SHORTEST if progress else min(self.pause * 1.5, longest)
        return not self.missing

    def _suits(self, job: QueuedJob) -> bool:
        return job.state.finished or job.state in self._states

    def answer(self) -> list[QueuedJob]:
        """Return the jobs in the order in which they were asked for."""
        return [self._finished[id_] for id_ in self._ids]


class _Ear:
    """What one waiter was told since it last looked."""

    def __init__(self) -> None:
        self._told: set[UUID] = set()
        self._event = anyio.Event()

    def tell(self, ids: Collection[UUID]) -> None:
        self._told.update(ids)
        self._event.set()

    async def heard(self, pause: float) -> set[UUID]:
        """Wait to be told; answers of which jobs, and nothing after *pause* seconds."""
        with anyio.move_on_after(pause):
            await self._event.wait()
        self._event = anyio.Event()
        told, self._told = self._told, set()
        return told


class Waiting:
    """All waits of one open `Chancy`; its tasks run in *tasks*, and end with them."""

    def __init__(
        self,
        store: Store,
        tasks: TaskGroup,
        send: Callable[[Hint], None],
        conninfo: Callable[[], str] | None,
    ) -> None:
        """*conninfo* says where to listen; None is for an application without notifications."""
        self._store = store
        self._tasks = tasks
        self._send = send
        self._conninfo = conninfo
        self._listener: Listener | None = None
        self._listening = False
        self._ears: dict[UUID, set[_Ear]] = {}

    async def wait(
        self, ids: Sequence[UUID], timeout: float | None, states: Collection[State] = ()
    ) -> list[QueuedJob]:
        """Return these jobs, in this order, once all have ended, or are in one of *states*.

        Raises `TimeoutError` after *timeout* seconds, `JobNotFound`, and `PoolClosed` if the
        application is closed meanwhile. A database that goes away is waited for.
        """
        wanted, ear = Wanted(ids, states), _Ear()
        with anyio.fail_after(timeout):
            if await self._look(wanted, wanted.missing):
                return wanted.answer()
            with self._subscribed(ear, wanted.missing):
                asked = float("-inf")
                while True:
                    if monotonic() >= asked + AGAIN:
                        self._ask_for(wanted.missing)
                        asked = monotonic()
                    told = await ear.heard(wanted.pause)
                    # Told of some, these are looked for; told of none, all that are missing.
                    look = [id_ for id_ in wanted.missing if id_ in told] if told else []
                    if told and not look:
                        continue
                    if await self._look(wanted, look or wanted.missing):
                        return wanted.answer()

    async def _look(self, wanted: Wanted, ids: Sequence[UUID]) -> bool:
        if not ids:
            return True
        tries = 0
        while True:
            try:
                found = await self._store.run(statements.jobs_by_id(self._store.names, ids))
            except PoolClosed:
                raise
            except TRANSIENT as exc:
                tries += 1
                log.warning("waiting for the database: %s", exc)
                await anyio.sleep(backoff(tries))
            else:
                return wanted.take(ids, found, self._longest())

    def _longest(self) -> float:
        listens = self._listener is not None and self._listener.connected
        return LONGEST if listens else DEAF

    def _ask_for(self, ids: Sequence[UUID]) -> None:
        if self._conninfo is None:
            return
        for id_ in ids[:ASKED]:
            self._send(Hint(hint.AWAITED, str(id_)))

    @contextmanager
    def _subscribed(self, ear: _Ear, ids: Sequence[UUID]) -> Iterator[None]:
        if not self._listening and self._conninfo is not None:
            self._listening = True
            self._tasks.start_soon(self._listen, self._conninfo)
        for id_ in ids:
            self._ears.setdefault(id_, set()).add(ear)
        try:
            yield
        finally:
            for id_ in ids:
                self._ears[id_].discard(ear)
                if not self._ears[id_]:
                    del self._ears[id_]

    async def _listen(self, conninfo: Callable[[], str]) -> None:
        try:
            async with Listener(conninfo(), [self._store.names.answers]) as self._listener:
                async for event in self._listener:
                    if isinstance(event, Reconnected):
                        self._tell(list(self._ears))  # any of them may have been missed
                    else:
                        self._hear(Hint.read(event.payload))
        except Exception:
            log.exception("nobody listens for the ends of jobs any more: they are polled for")
        finally:
            self._listener = None

    def _hear(self, told: Hint) -> None:
        if told.name == hint.FINISHED:
            with suppress(ValueError):  # somebody else's text, on our channel
                self._tell([UUID(told.subject)])

    def _tell(self, ids: Sequence[UUID]) -> None:
        for id_ in ids:
            for ear in self._ears.get(id_, ()):
                ear.tell([id_])
