"""What jobs go through: pushed, stored, claimed, sent to a child, settled, and read again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from attrs import evolve

from chancy import INJECTED, Job, QueuedJob, job
from chancy_core import perform
from chancy_core.errors import InvalidValue
from chancy_core.executor import Call, Capability
from chancy_core.identity import new_id
from chancy_core.outcome import Outcome, Settlement, Verdict
from chancy_core.statement import Names, Statement
from chancy_core.store import statements
from chancy_core.store.rows import Claimed
from chancy_core.testing import database
from tests.postgres.stores import NAMES

T = TypeVar("T")
_ALL = ~Capability(0)
#: An id for what is only encoded.
ENCODED = UUID(int=0)


@job(name="going.tell")
def tell(*, me: QueuedJob = INJECTED, **arguments: Any) -> Any:
    """Return what the function was given, and what it sees of its job."""
    due = me.scheduled_at
    return [arguments, me.meta, str(me.id), due and due.timestamp(), me.queue, me.unique_key]


class Going:
    """A database of its own, and one connection to it."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.conn = conn
        self.worker = new_id()

    def run(self, statement: Statement[T]) -> T:
        cursor = self.conn.execute(statement.text, statement.params, binary=True)
        return statement.read(cursor.fetchall() if cursor.description else ())

    def push(self, jobs: Sequence[Job]) -> list[UUID]:
        """Store jobs, all of which must be new."""
        asked = {new_id(): job for job in jobs}
        assert not asked or self.run(statements.push(NAMES, asked)) == set(asked)
        return list(asked)

    def get(self, ids: Sequence[UUID]) -> list[QueuedJob]:
        """Return the jobs, in this order."""
        found = {job.id: job for job in self.run(statements.jobs_by_id(NAMES, ids))}
        return [found[id_] for id_ in ids]

    def claim(self, ids: Sequence[UUID]) -> list[Claimed]:
        """Claim those of the jobs that are due."""
        claims: dict[UUID, Claimed] = {}
        while claimed := self.run(statements.claim_one(NAMES, self.worker, ids=ids)):
            claims[claimed.job.id] = claimed
        return [claims[id_] for id_ in ids if id_ in claims]

    def settle(self, ends: Mapping[UUID, tuple[Claimed, Outcome, Verdict]]) -> None:
        settled = [Settlement(claimed.job, *end) for claimed, *end in ends.values()]
        assert self.run(statements.finish(NAMES, settled)) == set(ends)

    def forget(self) -> None:
        self.conn.execute(NAMES.render("DELETE FROM {jobs}; DELETE FROM {history}").encode())


def in_a_child(claimed: Claimed) -> tuple[QueuedJob, Any]:
    """Return the job as a child has it, and what a function returns there of what it was given."""
    call = Call(claimed.job, claimed.arguments)
    there, *_ = perform._call(perform.request(call))
    known = Call(evolve(claimed.job, func=tell.name, version=1), claimed.arguments)
    answer = perform.perform(perform.request(known), _ALL, "asyncio")
    return there.job, perform.reply(known, answer)


@contextmanager
def going(server: str, template: str) -> Iterator[Going]:
    with database(server, template=template) as dsn, psycopg.connect(dsn, autocommit=True) as conn:
        yield Going(conn)


def identifiers(conn: psycopg.Connection, names: Names) -> list[str] | None:
    """Return the parts of a table's name, as the database reads them."""
    row = conn.execute("SELECT parse_ident(%s)", [names.render("{jobs}")]).fetchone()
    return row and row[0]


def check_message(exc: InvalidValue) -> None:
    """Whoever reads it has a screen, and no scroll."""
    assert 0 < len(str(exc)) < 2000


def refused(make: Callable[[], Any]) -> Any:
    """Return what is made, or None if it is refused by an error of ours."""
    try:
        return make()
    except InvalidValue as exc:
        check_message(exc)
        return None
