"""Who is alive: an operating-system thread that renews a worker's lease, and buries the dead.

The thread has a synchronous connection of its own, so that no Python code that blocks the event
loop or hogs the interpreter can make a living worker look dead.
"""

import logging
import os
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from queue import SimpleQueue
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
from psycopg.conninfo import make_conninfo

from chancy_core import hint
from chancy_core.errors import ChancyError
from chancy_core.hint import Hint
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import Rescued
from chancy_core.plugins.faults import NOTHING, Told
from chancy_core.postgres.threaded import Conn
from chancy_core.statement import Names, Statement
from chancy_core.store import statements

log = logging.getLogger("chancy.heartbeat")
T = TypeVar("T")

#: Seconds for which a renewal is good, and between renewals.
LEASE = 10.0
INTERVAL = 2.5
#: How often a job's worker may die before the job is quarantined.
CRASH_LIMIT = 3
#: How many jobs of the dead are taken back in one transaction.
AT_ONCE = 500
#: What part of the lease a renewal may take, and a rescue. A link that is dead is left, and another
#: renewal is sent on a new one, before the lease runs out.
PATIENCE = 0.3
RESCUING = 0.6
_LINK = {"connect_timeout": "3", "tcp_user_timeout": "3000"}


class Heartbeat:
    """One worker's lease.

    The incarnation is a random id: a worker that comes back, even under the same name, is
    somebody else. It changes when others have declared this worker dead: whatever runs under the
    old one is lost to it.
    """

    def __init__(
        self,
        conninfo: str,
        names: Names,
        *,
        name: str,
        tags: Iterable[str],
        crash_limit: int = CRASH_LIMIT,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.incarnation = uuid4()
        self.name = name
        self._conninfo = conninfo
        self._names = names
        self._tags = frozenset(tags)
        self._crash_limit = crash_limit
        #: What else its row says, for others to compare.
        self._facts = facts or {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="chancy-heartbeat", daemon=True)
        self._conn: Conn | None = None
        self._gapless_since: float | None = None
        self._last = 0.0
        self._rescued: SimpleQueue[Rescued] = SimpleQueue()
        #: Says what the worker runs, as JSON, or None; called in the thread.
        self.running: Callable[[], str | None] = lambda: None
        #: Says what has gone wrong with its plugins; called in the thread.
        self.faults: Callable[[], Told] = lambda: NOTHING
        #: Which of it the row has.
        self._told = NOTHING[0]
        #: Says of which queues the jobs outlive their worker; called in the thread.
        self.remote: Callable[[], Iterable[str]] = tuple
        #: What its last round has met; None if the renewal, and all else, was confirmed.
        self.trouble: str | None = None
        self._at_once = AT_ONCE
        #: When it last looked for jobs whose owners are gone; None to look at the next beat.
        self._looked: float | None = None

    @property
    def sure_until(self) -> float:
        """Until when, by the monotonic clock, nobody may declare this worker dead."""
        return self._last + LEASE

    @property
    def sure(self) -> bool:
        """Whether nobody may declare this worker dead yet."""
        return time.monotonic() < self.sure_until

    def holds(self, job: QueuedJob) -> bool:
        """Whether *job* is surely still ours: who was frozen for a while may have lost it."""
        mine = job.worker is self.incarnation or job.worker == self.incarnation
        return mine and time.monotonic() < self._last + LEASE

    @property
    def renewed_at(self) -> float:
        """When, by the monotonic clock, the last renewal that was confirmed had been sent."""
        return self._last

    @property
    def beats(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def check(self) -> None:
        """Raise `ChancyError` if the thread has ended, which catches all errors but not its end."""
        if not self._thread.is_alive():
            raise ChancyError(f"worker {self.name}: its heartbeat has died, so its lease runs out")

    def rescued(self) -> list[Rescued]:
        """Return the jobs that were taken back from the dead since the last call."""
        return [self._rescued.get() for _ in range(self._rescued.qsize())]

    def start(self) -> None:
        """Announce the worker and begin to renew. Blocks; raises if the database is not there."""
        try:
            self._announce(self.incarnation)
        except BaseException:
            self._close()
            raise
        self._thread.start()

    def stop(self) -> None:
        """End the thread and remove the worker's row. Blocks."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        for last in (False, True):  # the first connection may have died since it was last used
            try:
                self._run(statements.retire(self._names, self.incarnation))
                break
            except psycopg.Error as exc:
                if last:
                    log.warning("the row of worker %s is left to expire: %s", self.name, exc)
            finally:
                self._close()

    def _announce(self, incarnation: UUID) -> None:
        began = time.monotonic()
        self._connect()
        self._run(
            statements.announce(
                self._names,
                incarnation,
                name=self.name,
                hostname=socket.gethostname(),
                pid=os.getpid(),
                tags=self._tags,
                lease=LEASE,
                clock=time.time(),
                **self._facts,
            )
        )
        self._told = NOTHING[0]
        self.incarnation = incarnation  # before it is marked as sure
        self._mark(began)

    def _beat(self) -> None:
        while not self._stopping.wait(INTERVAL * random.uniform(0.9, 1.0)):
            try:
                self._once()
            except psycopg.Error as exc:
                log.warning("worker %s could not renew its lease: %s", self.name, exc)
                self._interrupted(exc)
            except Exception as exc:  # a defect of ours must not end the thread, nor the lease
                log.exception("worker %s could not renew its lease", self.name)
                self._interrupted(exc)
            else:
                self.trouble = None

    def _interrupted(self, exc: Exception) -> None:
        self.trouble = str(exc)
        self._gapless_since = None
        self._close()

    def _once(self) -> None:
        """Renew, and if our own renewals have been without a gap for a whole lease, rescue."""
        began = time.monotonic()
        self._connect()  # first: the time it takes is no fault of our clock
        (told, faults), runs = self.faults(), self.running()
        news = None if told == self._told else faults
        asked = self._names, self.incarnation, LEASE, time.time(), runs
        late = self._run(statements.renew(*asked, faults=news))
        if late is None:
            log.error("worker %s was declared dead: what it holds is lost to it", self.name)
            self._last = 0.0
            self._announce(uuid4())
            return
        self._told = told
        self._mark(began)
        if self._gapless_since is not None and began - self._gapless_since >= LEASE:
            self._look_for_the_dead(began, late)

    def _look_for_the_dead(self, now: float, late: bool) -> None:
        """Rescue if somebody's lease has run out, or if jobs run in the name of who is gone."""
        orphans = not late and self._orphans(now)
        if late or orphans:
            self._looked = None
            # As long as there is more, but not until the next renewal is late.
            while self._rescue(orphans) == self._at_once and time.monotonic() < now + INTERVAL / 2:
                pass

    def _orphans(self, now: float) -> bool:
        """Whether jobs run in the name of who is gone already; looks once a lease, if not told to.

        Whoever buries takes back what the dead have held. Left are those that others had locked or
        that were too many for one beat, and what a worker held still when it took its row away.
        """
        if self._looked is not None and now - self._looked < LEASE:
            return False
        self._looked = now
        with self._connect().deadline(LEASE * RESCUING):
            return self._run(statements.orphaned(self._names))

    def _mark(self, now: float) -> None:
        """Note a renewal that was sent at *now*, on the monotonic clock.

        After an outage everybody has a gap: all renew before anyone buries.
        """
        if self._gapless_since is None or now - self._last > 2 * INTERVAL:
            self._gapless_since = now
        self._last = now

    def _rescue(self, thorough: bool) -> int:
        """Declare the expired dead and then, in the same transaction, take their jobs back.

        Answers how many there were, `_at_once` at most. If that takes longer than a statement may
        (`statement_timeout`), half as many are tried.
        """
        conn, remote = self._connect(), self.remote()
        try:
            with conn.deadline(LEASE * RESCUING), conn.transaction():
                dead = self._run(statements.bury(self._names))
                asked = self._names, self._crash_limit, self._at_once
                taken = self._run(statements.rescue(*asked, thorough=thorough, remote=remote))
        except psycopg.errors.QueryCanceled as exc:
            if self._at_once == 1:
                raise
            log.warning("cannot take back %d jobs of the dead at once: %s", self._at_once, exc)
            self._at_once //= 2
            return self._at_once
        if dead:
            log.warning("declared dead: workers %s", ", ".join(map(str, dead)))
        hints = set()
        for job, (queue, state) in taken.items():
            pending = state == State.PENDING
            hints.add(Hint(hint.PUSHED, queue) if pending else Hint(hint.FINISHED, str(job)))
            self._rescued.put(Rescued(job, queue, State(state)))
            log.debug("job %s: its worker died; now %s", job, state)
        if taken:
            states = Counter(state for _, state in taken.values())
            log.info("took back %d jobs of the dead; now %s", len(taken), dict(states))
        if hints:
            self._run(statements.notify(self._names, hints))
        return len(taken)

    def _connect(self) -> Conn:
        if self._conn is None:
            self._conn = Conn.connect(
                make_conninfo(self._conninfo, **_LINK), autocommit=True, prepare_threshold=None
            )
            self._conn.call_timeout = LEASE * PATIENCE
        return self._conn

    def _run(self, statement: Statement[T]) -> T:
        cursor = self._connect().execute(statement.text, statement.params, binary=True)
        return statement.read(cursor.fetchall() if cursor.description else ())

    def _close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None
