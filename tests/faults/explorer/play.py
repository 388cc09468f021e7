"""Carries out one order of the steps of a programme, on connections that a search keeps."""

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from attrs import define, field, frozen

from chancy_core.errors import ChancyError
from tests.faults.explorer.operations import OPERATIONS, Change, Part
from tests.faults.explorer.session import Rows, Session
from tests.faults.explorer.situation import CLEAR, Situation
from tests.faults.explorer.wire import Step
from tests.faults.history import History, Moved
from tests.faults.transitions import install

LETTERS = "ABC"
#: Seconds that an answer may take before it is asked whether somebody is in its way.
SOON = 0.001
#: How often that is asked before a session counts as stuck.
PATIENCE = 5_000


@frozen
class Programme:
    """Operations that meet in a situation, and statements that are to be broken."""

    situation: str
    operations: tuple[str, ...]
    change: Change | None = None

    def __str__(self) -> str:
        return f"{self.situation} {' '.join(self.operations)}"


@define
class Done:
    """One step of an order: who asked what, after how many others, and what came of it."""

    letter: str
    says: str
    answer: Any = "waits"
    #: Who went on while this one waited.
    behind: str = ""

    def __str__(self) -> str:
        waited = f" (waited for {self.behind})" if self.behind else ""
        return f"    {self.letter}  {self.says}{waited}: {self.answer!s:.300}"


@frozen
class Played:
    """An order that was played: its steps, what the sessions were told, what became of the jobs."""

    programme: Programme
    #: The order as it came about: a letter for each step.
    word: str
    #: Who else could have gone on, before each step.
    ready: tuple[str, ...]
    steps: Sequence[Done]
    #: What the operations answered, or the errors that they raised; of those that came to an end.
    answers: dict[str, Any]
    situation: Situation
    moved: tuple[Moved, ...]
    #: Rows at the end: (id, state, worker, lease, cancelling, unique_key) of live jobs.
    live: Rows
    #: (id, state, lease) of finished ones.
    finished: Rows
    #: Leases for which something was written along.
    effects: list[UUID]
    whole: bool = True

    def told(self, name: str) -> list[tuple[str, Any]]:
        """The letters and the answers of those who did *name*, and were not interrupted."""
        acting = zip(LETTERS, self.programme.operations, strict=False)
        return [(a, self.answers[a]) for a, did in acting if did == name and a in self.answers]

    def does(self, *names: str) -> bool:
        """Whether any of these operations takes part."""
        return bool(set(names) & set(self.programme.operations))

    def history(self) -> History:
        return History((), self.moved)


@define
class Actor:
    """One session on its way through its operation."""

    letter: str
    session: Session
    act: Coroutine[Step, Any, Any]
    next: Step | None = None
    asked: Done | None = None
    ended: bool = False
    answer: Any = None

    @property
    def ready(self) -> bool:
        return not self.ended and self.asked is None

    def go_on(self, found: Any = None, error: BaseException | None = None) -> None:
        """Hand over an answer, and find the next step."""
        try:
            while True:
                step = self.act.throw(error) if error is not None else self.act.send(found)
                if not step.free:
                    self.next = step
                    return
                found, error = self._at_once(step)
        except StopIteration as end:
            self._end(end.value)
        except (ChancyError, psycopg.Error) as exc:
            self._end(exc)

    def _at_once(self, step: Step) -> tuple[list[Rows], psycopg.Error | None]:
        try:
            return self.session.run(self.session.bound(step.text, step.params)), None
        except psycopg.Error as exc:
            return [], exc

    def _end(self, answer: Any) -> None:
        self.ended, self.answer = True, answer


@define
class Player:
    """The connections, and the database in which all is played."""

    dsn: str
    _sessions: list[Session] = field(factory=list, init=False)
    _outside: Session = field(init=False)

    def __enter__(self) -> Self:
        install(self.dsn)
        self._outside = Session(self.dsn)
        self._outside.run(FEW_DAYS)
        self._outside.run(b"CREATE TABLE IF NOT EXISTS explorer_effects (lease uuid)")
        self._sessions = [Session(self.dsn) for _ in LETTERS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for session in (*self._sessions, self._outside):
            session.close()

    def play(self, programme: Programme, word: str = "", steps: int | None = None) -> Played:
        """Play the steps in the order of *word*; where it says nothing, the first who can goes on.

        No more than *steps* of them: what is under way then is rolled back.
        """
        situation = Situation(programme.situation)
        self._outside.run(CLEAR + b";" + situation.text(self._outside.bound))
        actors = self._actors(programme, situation)
        done: list[Done] = []
        ready: list[str] = []
        while any(not actor.ended for actor in actors) and len(done) != steps:
            able = [actor for actor in actors if actor.ready]
            if not able:
                self._settle(actors, done)
                continue
            wanted = word[len(done) : len(done) + 1]
            actor = next((a for a in able if a.letter == wanted), able[0])
            ready.append("".join(a.letter for a in able))
            self._do(actor, done)
            self._settle(actors, done)
        whole = all(actor.ended for actor in actors)
        if not whole:
            self._break_off(actors)
        moved, live, finished, effects = self._outside.run(LOOK)
        return Played(
            programme,
            "".join(step.letter for step in done),
            tuple(ready),
            done,
            {actor.letter: actor.answer for actor in actors if actor.ended},
            situation,
            tuple(_moved(row) for row in moved),
            live,
            finished,
            [row[0] for row in effects],
            whole,
        )

    def _actors(self, programme: Programme, situation: Situation) -> list[Actor]:
        actors = []
        for letter, session, name in zip(
            LETTERS, self._sessions, programme.operations, strict=False
        ):
            act: Any = OPERATIONS[name](Part(letter, situation, programme.change))
            actors.append(Actor(letter, session, act))
        for actor in actors:
            actor.go_on()
        return actors

    def _do(self, actor: Actor, done: list[Done]) -> None:
        assert actor.next is not None
        actor.asked = Done(actor.letter, actor.next.says)
        done.append(actor.asked)
        actor.session.ask(actor.session.bound(actor.next.text, actor.next.params))

    def _settle(self, actors: list[Actor], done: list[Done]) -> None:
        """Return when whoever was asked has answered, or waits for another who may go on."""
        asked = [actor for actor in actors if actor.asked is not None]
        for _ in range(PATIENCE):
            moved = False
            for actor in asked:
                if actor.asked is not None and actor.session.answered(SOON):
                    self._take(actor, done)
                    moved = True
            waiting = [actor for actor in asked if actor.asked is not None]
            if not waiting:
                return
            someone = any(actor.ready for actor in actors)
            if not moved and someone and all(self._blocked(a) for a in waiting):
                return
            if not moved and all(actor.ended or actor in waiting for actor in actors):
                waiting[0].session.answered(0.02)  # a deadlock is about to be noticed
        raise AssertionError(f"stuck:\n{shown(done)}")

    def _blocked(self, actor: Actor) -> bool:
        pids = ",".join(str(session.pid) for session in self._sessions)
        question = f"SELECT pg_blocking_pids({actor.session.pid}) && ARRAY[{pids}]"
        return bool(self._outside.run(question.encode())[0][0][0])

    def _take(self, actor: Actor, done: list[Done]) -> None:
        step = actor.asked
        assert step is not None
        step.behind = "".join(other.letter for other in done[done.index(step) + 1 :])
        actor.asked = None
        try:
            found = actor.session.answers()
        except psycopg.Error as exc:
            step.answer = f"{type(exc).__name__}: {exc.diag.message_primary}"
            actor.go_on(error=exc)
        else:
            step.answer = found[-1] if found else "done"
            actor.go_on(found)

    def _break_off(self, actors: list[Actor]) -> None:
        for actor in actors:
            actor.act.close()
        for actor in actors:
            if actor.asked is not None:
                self._outside.run(f"SELECT pg_cancel_backend({actor.session.pid})".encode())
                with suppress(psycopg.Error):
                    actor.session.answers()
        for actor in actors:
            actor.session.run(b"ROLLBACK")


def shown(done: Sequence[Done]) -> str:
    """The steps of an order, each with its answer."""
    return "\n".join(map(str, done))


#: Each statement about the history is planned for each of its days: two are enough.
FEW_DAYS = b"""
DO $$
DECLARE day regclass;
BEGIN
    FOR day IN SELECT inhrelid::regclass FROM pg_inherits
                WHERE inhparent = 'chancy_history'::regclass
                  AND right(inhrelid::regclass::text, 8)
                      NOT IN (to_char(now(), 'YYYYMMDD'), to_char(now() + '1 day', 'YYYYMMDD'))
    LOOP
        EXECUTE format('DROP TABLE %s', day);
    END LOOP;
END $$"""

#: What has become of all: transitions, live jobs, finished ones, what was written along.
LOOK = b"""
SELECT n, extract(epoch FROM at)::float8, job, op, old, new, old_lease, new_lease, worker, queue,
       unique_key, label, priority, attempts, claims, crashes, max_attempts, at_most_once
  FROM faults_transitions ORDER BY n;
SELECT id, state, worker, lease_id, cancelling, unique_key FROM chancy_jobs;
SELECT id, state, lease_id FROM chancy_history;
SELECT lease FROM explorer_effects"""


def _moved(row: tuple[Any, ...]) -> Moved:
    return Moved(*row)
