"""Campaigns for a leadership: what one worker does to lead, and while it leads."""

import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary

import anyio

from chancy_core.errors import CallTimeout
from chancy_core.hooks import FAULTS
from chancy_core.host import Application, WorkerHost
from chancy_core.statement import Statement
from chancy_plugins.leadership import statements
from chancy_plugins.leadership.term import Leader, Term
from chancy_plugins.trouble import Trouble

T = TypeVar("T")
Duty = Callable[[Term], Awaitable[object]]

log = logging.getLogger("chancy.leadership")

#: What workers are told by when a leader has stopped; the subject is the leadership.
RELEASED = "leadership.released"
#: By which part of that a duty is cancelled before somebody else can lead.
MARGIN = 0.1
#: The most seconds between two tries, while the database cannot be asked.
MOST = 5.0
#: How often within that who leads renews, and who does not asks.
OFTEN = 3
#: Seconds that a release may take.
RELEASING = 2.0
#: The most seconds after which a follower that hears of a release asks: not all at once.
STAGGER = 0.05

_campaigns: "WeakKeyDictionary[WorkerHost, set[Campaign]]" = WeakKeyDictionary()


async def leaders(app: Application) -> list[Leader]:
    """Return who leads what at this moment, by the names of the leaderships."""
    return await app.database.run(statements.leaders(app.database.names))


def told(worker: WorkerHost, name: str) -> None:
    """Have the campaigns of a worker for a leadership ask at once: its leader has stopped."""
    for campaign in _campaigns.get(worker, ()):
        if campaign.name == name:
            campaign.wake()


class Campaign:
    """What one worker does to lead, and while it leads."""

    def __init__(
        self, worker: WorkerHost, name: str, duty: Duty, ttl: float, patience: float | None
    ) -> None:
        self.name = name
        self.ttl = ttl
        self.patience = patience
        #: Says that it goes on, and what keeps it from that, to whoever supervises it.
        self.beat: Callable[[str | None], None] = lambda _: None
        self._worker = worker
        self._duty = duty
        self._holder = uuid4()
        self._trouble = Trouble(log, f"asking who leads {name!r}", MOST)
        self._woken = anyio.Event()
        #: Whether the table may say that we lead.
        self._may_hold = False
        #: What keeps the duty from its work, as it said last.
        self._hindrance: str | None = None
        #: In which the duty is done: ends where that is silent for too long.
        self._silence = anyio.CancelScope()

    def wake(self) -> None:
        """Ask at once."""
        self._woken.set()

    async def run(self) -> None:
        """Campaign, and do the duty while we lead, until cancelled. Raises what the duty raises."""
        with self._listed():
            try:
                while True:
                    self._woken = anyio.Event()  # before we ask, which may be too early
                    pause = await self._turn()
                    with anyio.move_on_after(pause):
                        await self._woken.wait()
                        await anyio.sleep(random.uniform(0.0, STAGGER))
            finally:
                await self._release()

    @contextmanager
    def _listed(self) -> Iterator[None]:
        """Be told of releases, meanwhile."""
        campaigns = _campaigns.setdefault(self._worker, set())
        campaigns.add(self)
        try:
            yield
        finally:
            campaigns.discard(self)

    async def _turn(self) -> float:
        """Campaign once, and lead if that succeeds; answers after how many seconds to go on."""
        sent = anyio.current_time()
        try:
            number = await self._campaign()
        except Exception as exc:  # noqa: BLE001 - what is not the database's is raised again
            return self._pause_after(exc)
        self._over()
        if not number:
            return self.ttl / OFTEN * random.uniform(0.8, 1.0)
        await self._lead(Term(self.name, number, self._holder, self._heard), sent)
        return 0.0

    async def _campaign(self) -> int:
        names = self._worker.chancy.names
        asked = (self.name, self._holder, self._worker.name, self.ttl)
        self._may_hold = True  # until it is answered that we do not
        number = await self._ask(statements.campaign(names, *asked))
        self._may_hold = bool(number)
        return number

    async def _lead(self, term: Term, since: float) -> None:
        """Do the duty for as long as we surely lead. Raises what it raises."""
        log.info("worker %s leads %r, term %d", self._worker.name, term.name, term.number)
        self._worker.events.emit("leadership.gained", term.name, term)
        failed: list[BaseException] = []
        try:
            with anyio.CancelScope(deadline=self._until(since)) as lease:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._serve, term, lease, failed)
                    tasks.start_soon(self._renew, term, lease, failed)
        finally:
            log.info("worker %s leads %r no longer", self._worker.name, term.name)
            self._worker.events.emit("leadership.lost", term.name, term)
            await self._release()
        if failed:
            raise failed[0]

    async def _serve(
        self, term: Term, lease: anyio.CancelScope, failed: list[BaseException]
    ) -> None:
        try:
            with anyio.CancelScope() as self._silence:
                self._heard()
                await self._duty(term)
            if self._silence.cancelled_caught:
                raise TimeoutError(f"its duty was not heard of for {self.patience:g} s")
        except FAULTS as exc:  # it is raised once the leadership is given up, and in no group
            failed.append(exc)
            lease.cancel()
        finally:
            self._hindrance = None

    def _heard(self, trouble: str | None = None) -> None:
        """Note that the duty goes on, and what keeps it from its work."""
        self._hindrance = trouble
        self.beat(trouble)
        if self.patience is not None:
            self._silence.deadline = anyio.current_time() + self.patience

    async def _renew(
        self, term: Term, lease: anyio.CancelScope, failed: list[BaseException]
    ) -> None:
        """Renew the lease, and put the end of its scope off, until it turns out not to be ours."""
        often = self.ttl / OFTEN
        pause = often
        while True:
            await anyio.sleep(pause * random.uniform(0.8, 1.0))
            sent = anyio.current_time()
            try:
                ours = await self._ask(statements.renew(self._worker.chancy.names, term, self.ttl))
            except Exception as exc:  # noqa: BLE001 - what is not the database's is raised
                try:
                    pause = min(often, self._pause_after(exc))
                except FAULTS as defect:
                    failed.append(defect)
                    lease.cancel()
                    return
                continue
            self._over()
            if not ours:
                log.warning(
                    "worker %s: its term %d of leading %r was over before it was renewed",
                    *(self._worker.name, term.number, term.name),
                )
                lease.cancel()
                return
            lease.deadline = self._until(sent)
            pause = often

    def _pause_after(self, exc: Exception) -> float:
        pause = self._trouble.pause_after(exc)
        self.beat(self._trouble.lasting)
        return pause

    def _over(self) -> None:
        self._trouble.over()
        self.beat(self._hindrance)

    def _until(self, sent: float) -> float:
        """Return until when a lease is trusted that was asked for at *sent*, by the same clock.

        The database counts from when it was told, which is later: so we stop before another begins.
        """
        return sent + self.ttl * (1 - MARGIN)

    async def _release(self) -> None:
        """Let somebody else lead at once, even while all is being cancelled."""
        if not self._may_hold:
            return
        app = self._worker.chancy
        with anyio.move_on_after(RELEASING, shield=True):
            try:
                released = await self._ask(statements.release(app.names, self.name, self._holder))
                self._may_hold = False
                if released:
                    await app.notify(RELEASED, self.name)
            except Exception as exc:  # noqa: BLE001 - it runs out by itself
                log.info("the leadership of %r is left to run out: %s", self.name, exc)

    async def _ask(self, statement: Statement[T]) -> T:
        """Run a statement. Raises `CallTimeout` when its answer could be of no use."""
        with anyio.move_on_after(self.ttl):
            return await self._worker.chancy.database.run(statement)
        raise CallTimeout(f"no answer within {self.ttl:g} s")
