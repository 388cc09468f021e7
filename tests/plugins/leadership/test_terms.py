"""Whatever happens in whatever order: one leads, and terms only grow."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from chancy import Chancy
from chancy_core.statement import Statement
from chancy_core.testing import Clock
from chancy_plugins.leadership import Term, TermOver, statements

TTL = 10.0
HOLDERS = st.integers(0, 3)
#: A clock that can be moved within the transaction of one history, which is rolled back.
MOVABLE = """
    CREATE OR REPLACE FUNCTION chancy_now() RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT '2030-01-01Z'::timestamptz + current_setting('acme.ahead')::interval $$
"""


@pytest.fixture
def conn(chancy_app: Chancy, chancy_dsn: str, chancy_clock: Clock) -> Iterator[psycopg.Connection]:
    with psycopg.connect(chancy_dsn) as conn:
        yield conn
        conn.rollback()


def test_one_holder_has_the_current_term_and_terms_only_grow(  # noqa: C901 - a machine is one thing
    conn: psycopg.Connection, chancy_app: Chancy
) -> None:
    names = chancy_app.names

    class Leading(RuleBasedStateMachine):
        """Workers of which each knows what it was answered, beside what is so."""

        def __init__(self) -> None:
            super().__init__()
            self.ids = [uuid4() for _ in range(4)]
            self.now = 0.0
            #: Of each: the term that it believes to have, and until when it may.
            self.believed: dict[int, tuple[Term, float]] = {}
            #: Who has the current term, its number, and until when; None: nobody has.
            self.current: tuple[int, int, float] | None = None
            self.newest = 0
            #: All terms that there were, each with who had it.
            self.terms: list[tuple[int, Term]] = []

        @initialize()
        def begin(self) -> None:
            conn.rollback()
            conn.execute(MOVABLE)
            conn.execute("SELECT set_config('acme.ahead', '0 s', true)")

        def run(self, statement: Statement[Any]) -> Any:
            cursor = conn.execute(statement.text, statement.params)
            return statement.read(cursor.fetchall())

        def held(self) -> bool:
            return self.current is not None and self.current[2] > self.now

        @rule(who=HOLDERS)
        def campaign(self, who: int) -> None:
            number = self.run(statements.campaign(names, "acme", self.ids[who], f"w{who}", TTL))
            mine = self.current is not None and self.current[0] == who
            assert bool(number) == (mine or not self.held())
            if number:
                assert number == self.newest + 1
                self.newest = number
                self.current = (who, number, self.now + TTL)
                term = Term("acme", number, self.ids[who])
                self.believed[who] = (term, self.now + TTL)
                self.terms.append((who, term))

        @rule(who=HOLDERS)
        def renew(self, who: int) -> None:
            if who not in self.believed:
                return
            term, _ = self.believed[who]
            ours = self.run(statements.renew(names, term, TTL))
            assert ours == (self.current is not None and self.current[:2] == (who, term.number))
            if ours:
                self.current = (who, term.number, self.now + TTL)
                self.believed[who] = (term, self.now + TTL)
            else:
                del self.believed[who]

        @rule(who=HOLDERS)
        def release(self, who: int) -> None:
            mine = self.current is not None and self.current[0] == who
            assert self.run(statements.release(names, "acme", self.ids[who])) == mine
            self.believed.pop(who, None)
            if mine:
                self.current = None

        @rule(seconds=st.sampled_from([0.1, 3.0, 9.9, 10.0, 25.0, 3600.0]))
        def wait(self, seconds: float) -> None:
            self.now += seconds
            conn.execute("SELECT set_config('acme.ahead', %s, true)", [f"{self.now} s"])

        @rule(which=st.integers(0, 9))
        def write(self, which: int) -> None:
            """What somebody believes may be long over, in a term before: then its fence says so."""
            if not self.terms:
                return
            who, term = self.terms[-1 - which % len(self.terms)]
            current = self.current is not None and self.current[:2] == (who, term.number)
            try:
                self.run(term.fence(names))
            except TermOver:
                assert not current
            else:
                assert current

        @invariant()
        def at_most_one_is_sure(self) -> None:
            sure = [who for who, (_, until) in self.believed.items() if until > self.now]
            assert len(sure) <= 1
            if sure:
                assert self.current is not None
                assert self.current[0] == sure[0]

        @invariant()
        def the_table_says_who_leads(self) -> None:
            found = self.run(statements.leaders(names))
            expected = [(f"w{self.current[0]}", self.current[1])] if self.held() else []
            assert [(leader.worker, leader.term) for leader in found] == expected

    run_state_machine_as_test(
        Leading,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=timedelta(seconds=20),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("ahead", [-3600, 3600])
def test_clocks_of_workers_make_no_difference(
    conn: psycopg.Connection, chancy_app: Chancy, monkeypatch, ahead: int
) -> None:
    """No statement has an instant among its parameters, and nothing here asks this machine."""
    import time

    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead)
    names, holder = chancy_app.names, uuid4()
    term = Term("acme", 1, holder)
    asked = [
        statements.campaign(names, "acme", holder, "w", TTL),
        statements.renew(names, term, TTL),
        statements.release(names, "acme", holder),
        term.fence(names),
        statements.leaders(names),
    ]
    kinds = {type(value) for statement in asked for value in statement.params.values()}
    assert kinds == {str, UUID, float, int}
    for statement in asked[:2]:
        assert statement.read(conn.execute(statement.text, statement.params).fetchall())


def test_the_table_is_logged(conn: psycopg.Connection) -> None:
    """W9: an UNLOGGED one is empty after a crash of the server, and everybody leads."""
    row = conn.execute(
        "SELECT relpersistence::text FROM pg_class WHERE relname = 'chancy_leaders'"
    ).fetchone()
    assert row == ("p",)
