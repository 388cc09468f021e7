"""Carries out one order of the steps of a programme, on connections that a search keeps."""

from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import psycopg
from attrs import define, field

from chancy_core.errors import ChancyError
from tests.faults.explorer.part import Part, listed
from tests.faults.explorer.played import LETTERS, Done, Played, Programme, shown
from tests.faults.explorer.session import OPTIONS, Rows, Session
from tests.faults.explorer.situation import CLEAR, EMPTY, Situation
from tests.faults.explorer.wire import Step
from tests.faults.history import Moved
from tests.faults.transitions import install

#: Seconds that an answer may take before it is asked whether somebody is in its way.
SOON = 0.001
#: How often that is asked before a session counts as stuck.
PATIENCE = 5_000
#: Plan once what is asked for each order.
GENERIC = "-c plan_cache_mode=force_generic_plan"


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
    _outside: "psycopg.Connection[Any]" = field(init=False)
    _played: int = field(default=0, init=False)

    def __enter__(self) -> Self:
        install(self.dsn)
        self._outside = psycopg.connect(
            self.dsn, autocommit=True, prepare_threshold=0, options=f"{OPTIONS} {GENERIC}"
        )
        self._outside.execute("CREATE TABLE IF NOT EXISTS explorer_effects (lease uuid)")
        self._outside.execute(FEW_DAYS)
        self._sessions = [Session(self.dsn) for _ in LETTERS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        for session in (*self._sessions, self._outside):
            session.close()

    def _set(self, situation: Situation) -> None:
        self._played += 1
        with self._outside.pipeline():
            for text in CLEAR if self._played % 100 else EMPTY:
                self._outside.execute(text)
            for text, params in situation.statements():
                self._outside.execute(text, params)

    def _look(self) -> list[Rows]:
        with self._outside.pipeline():
            cursors = [self._outside.execute(question) for question in LOOK]
        return [cursor.fetchall() for cursor in cursors]

    def play(self, programme: Programme, word: str = "", steps: int | None = None) -> Played:
        """Play the steps in the order of *word*; where it says nothing, the first who can goes on.

        No more than *steps* of them: what is under way then is rolled back.
        """
        situation = Situation(programme.situation)
        self._set(situation)
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
        moved, live, finished, effects = self._look()
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
            act: Any = listed()[name](Part(letter, situation, programme.change))
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
        pids = [session.pid for session in self._sessions]
        found = self._outside.execute(BLOCKED, [actor.session.pid, pids]).fetchone()
        return found is not None and found[0]

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
                self._outside.execute("SELECT pg_cancel_backend(%s)", [actor.session.pid])
                with suppress(psycopg.Error):
                    actor.session.answers()
        for actor in actors:
            actor.session.run(b"ROLLBACK")


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
LOOK = (
    b"""SELECT n, extract(epoch FROM at)::float8, job, op, old, new, old_lease, new_lease, worker,
               queue, unique_key, label, priority, attempts, claims, crashes, max_attempts,
               at_most_once
          FROM faults_transitions ORDER BY n""",
    b"SELECT id, state, worker, lease_id, cancelling, unique_key FROM chancy_jobs",
    b"SELECT id, state, lease_id FROM chancy_history",
    b"SELECT lease FROM explorer_effects",
)
#: Whether one of these sessions is in the way of another.
BLOCKED = "SELECT pg_blocking_pids(%s) && %s::int[]"


def _moved(row: tuple[Any, ...]) -> Moved:
    return Moved(*row)
