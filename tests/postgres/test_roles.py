"""Each role may what the page about roles says, and nothing else: on a real server, as itself."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from chancy import Job, Queue, QueuedJob, State
from chancy_core.filter import JobFilter
from chancy_core.hint import Hint
from chancy_core.identity import new_id
from chancy_core.job import Failure
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.roles import RIGHTS
from chancy_core.statement import Names, Statement
from chancy_core.store import statements
from chancy_core.testing.databases import database
from chancy_core.transaction import run_sync as run
from tests.roles import Granted, granted

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/roles.md").read_text()
NAMES = Names()
WHO = ("push", "work", "look", "migrate")


def rows(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of the page."""
    lines = PAGE.partition(f"\n{heading}\n")[2].splitlines()
    table = takewhile(is_row, dropwhile(lambda line: not is_row(line), lines))
    return [[cell.strip() for cell in row[1:-1].split(" |")] for row in list(table)[2:]]


def is_row(line: str) -> bool:
    return line.startswith("|")


def answers(row: list[str]) -> Iterator[tuple[str, bool]]:
    assert set(row[-4:]) <= {"yes", "no"}, row
    return zip(WHO, (cell == "yes" for cell in row[-4:]), strict=True)


CALLS = [
    (name, who, may)
    for row in rows("## Who may call what")
    for name in re.findall(r"`(\w+)`", row[1])
    for who, may in answers(row)
]
BY_HAND = [
    (row[0].strip("`"), who, may) for row in rows("And by hand:") for who, may in answers(row)
]


def test_the_page_has_all_rights_as_they_are() -> None:
    listed = [
        (*(cell.strip("`") for cell in row[:3]), row[3]) for row in rows("## What is granted")
    ]
    assert listed == [
        (r.role, r.privilege, r.on, ", ".join(f"`{column}`" for column in r.columns))
        for r in RIGHTS
    ]


def test_the_page_has_every_statement_once() -> None:
    files = sorted(path.stem for path in (ROOT / "chancy_core/sql").glob("*.sql"))
    assert sorted({name for name, _, _ in CALLS}) == files
    assert len(CALLS) == len(files) * len(WHO)


@pytest.fixture(scope="module")
def there(server: str, chancy_template: str) -> Iterator[Granted]:
    """A database with one job of each kind, and the roles."""
    with database(server, template=chancy_template) as dsn, granted(dsn) as made:
        yield made


@pytest.fixture(scope="module")
def running(there: Granted) -> QueuedJob:
    """A job that runs, beside one that waits, one that is due later, and one that has ended."""
    with psycopg.connect(there.dsn, autocommit=True) as conn:
        worker = new_id()
        run(conn, announce(worker))
        run(
            conn,
            statements.declare(NAMES, Queue("q", rate_limit=5, rate_limit_window=1), upsert=False),
        )
        jobs = {new_id(): Job(f"f{n}", queue="q", unique_key=f"k{n}") for n in range(3)}
        run(conn, statements.push(NAMES, jobs))
        claimed = run(conn, statements.claim(NAMES, worker, {"q": 2}, limited=True))
        run(conn, statements.finish(NAMES, [ended(claimed[0].job)]))
        return claimed[1].job


@pytest.fixture(scope="module")
def connections(there: Granted, running: QueuedJob) -> Iterator[dict[str, psycopg.Connection]]:
    with ExitStack() as stack:
        yield {who: stack.enter_context(psycopg.connect(there[who])) for who in WHO}


def announce(worker: UUID) -> Statement[None]:
    return statements.announce(NAMES, worker, name="w", hostname="h", pid=1, tags=["*"], lease=60.0)


def ended(job: QueuedJob, state: State = State.SUCCEEDED) -> Settlement:
    failure = Failure(attempt=1, kind="error", type="E", message="no")
    return Settlement(job, Outcome(Kind.ERROR, "1", failure, '{"a": 1}'), Verdict(state))


def sample(name: str, job: QueuedJob) -> Statement[Any]:
    """A statement of this name, which has something to do."""
    asked = {new_id(): Job("f", queue="q", scheduled_at=job.created_at, unique_key="new")}
    worker = job.worker
    assert worker is not None
    make: dict[str, Callable[[], Statement[Any]]] = {
        "announce": lambda: announce(new_id()),
        "audit": lambda: statements.audit(NAMES, worker, {}),
        "bury": lambda: statements.bury(NAMES),
        "cancel": lambda: statements.cancel(NAMES, [job.id]),
        "claim": lambda: statements.claim(NAMES, worker, {"q": 1}, limited=True),
        "claim_one": lambda: statements.claim_one(NAMES, worker),
        "complete": lambda: statements.complete(NAMES, job, "1"),
        "days_missing": lambda: statements.days_missing(NAMES),
        "declare": lambda: statements.declare(NAMES, Queue("q"), upsert=True),
        "delete_queue": lambda: statements.delete_queue(NAMES, "q", purge=True),
        "ensure_partitions": lambda: statements.ensure_partitions(NAMES, 15),
        "finish": lambda: statements.finish(NAMES, [ended(job)]),
        "give_back": lambda: statements.give_back(NAMES, worker),
        "holders": lambda: statements.holders(NAMES, ["k2"]),
        "indexes": lambda: statements.indexes(NAMES),
        "jobs_by_id": lambda: statements.jobs_by_id(NAMES, [job.id]),
        "left_to_do": lambda: statements.left_to_do(NAMES, ["q"], name="w", pid=1),
        "list_jobs": lambda: statements.list_jobs(NAMES, JobFilter(), 10, None),
        "notify": lambda: statements.notify(NAMES, [Hint("queue.pushed", "q")]),
        "look": lambda: statements.look(NAMES, ["q"]),
        "orphaned": lambda: statements.orphaned(NAMES),
        "notify_alone": lambda: statements.notify(NAMES, [Hint("queue.pushed", "q")], alone=True),
        "passes": lambda: statements.list_jobs(NAMES, ~JobFilter(func_like="f*"), 10, None),
        "pause_queue": lambda: statements.pause_queue(NAMES, "q", timedelta(1)),
        "pins": lambda: statements.pins(NAMES, 1.0),
        "progress": lambda: statements.progress(NAMES, [(job, "{}")]),
        "promote": lambda: statements.promote(NAMES),
        "purge": lambda: statements.purge(NAMES, [job.id]),
        "push": lambda: statements.push(NAMES, asked | {new_id(): Job("f")}),
        "push_one": lambda: statements.push(NAMES, asked),
        "push_many": lambda: statements.push_many(NAMES, {new_id(): Job("f")}, meanwhile=False),
        "push_again": lambda: statements.stored(NAMES, [job.id]),
        "queues": lambda: statements.queues(NAMES),
        "rate_charge": lambda: statements.rate_charge(NAMES, "q", 1),
        "rate_lock": lambda: statements.rate_lock(NAMES, "q"),
        "refused": lambda: statements.refused(NAMES),
        "renew": lambda: statements.renew(NAMES, worker, 60.0),
        "reprioritize": lambda: statements.reprioritize(NAMES, {job.id: 1}, wait=True),
        "requeue": lambda: statements.requeue(NAMES, [ended(job, State.PENDING)]),
        "rescue": lambda: statements.rescue(NAMES, 3, 10),
        "retire": lambda: statements.retire(NAMES, worker),
        "retry": lambda: statements.retry(NAMES, [job.id]),
        "set_aside": lambda: statements.set_aside(NAMES),
        "settled": lambda: statements.settled_before(NAMES, [ended(job)]),
        "standing": lambda: statements.server(NAMES),
        "states": lambda: statements.states(NAMES, [job.id]),
        "waiting": lambda: statements.waiting(NAMES),
        "workers": lambda: statements.workers(NAMES),
    }
    return make[name]()


@pytest.mark.parametrize(("name", "who", "may"), CALLS)
def test_each_role_may_call_what_the_page_says(
    connections: dict[str, psycopg.Connection], running: QueuedJob, name: str, who: str, may: bool
) -> None:
    with ExitStack() as stack:
        stack.enter_context(connections[who].transaction(force_rollback=True))
        if not may:
            stack.enter_context(pytest.raises(psycopg.errors.InsufficientPrivilege))
        run(connections[who], sample(name, running))


@pytest.mark.parametrize(("text", "who", "may"), BY_HAND)
def test_each_role_may_do_by_hand_what_the_page_says(
    connections: dict[str, psycopg.Connection], text: str, who: str, may: bool
) -> None:
    refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.CheckViolation)
    with ExitStack() as stack:
        stack.enter_context(connections[who].transaction(force_rollback=True))
        if not may:
            stack.enter_context(pytest.raises(refused))
        connections[who].execute(text.encode())


#: Each right by itself, column by column. That of the schema is everybody's in this one.
SINGLE = [
    (right.role, f"{right.privilege} {f'({column})' if column else ''}", right.on)
    for right in RIGHTS
    for column in right.columns or [""]
    if right.on != "schema"
]


@pytest.mark.parametrize(("who", "privilege", "on"), SINGLE)
def test_no_right_is_idle(
    there: Granted, running: QueuedJob, who: str, privilege: str, on: str
) -> None:
    """Without it, something that the page lets the role do is refused."""
    kind = "FUNCTION" if on.endswith(")") else "SEQUENCE" if on.endswith("_seq") else "TABLE"
    with psycopg.connect(there.dsn) as conn, conn.transaction(force_rollback=True):
        conn.execute(f"REVOKE {privilege} ON {kind} chancy_{on} FROM {there.roles[who]}")
        conn.execute(f"SET LOCAL ROLE {there.roles[who]}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            do_all(conn, who, running)


def do_all(conn: psycopg.Connection, who: str, job: QueuedJob) -> None:
    """Do all that the page lets a role do."""
    for name in [name for name, role, may in CALLS if may and role == who]:
        with conn.transaction(force_rollback=True):
            run(conn, sample(name, job))
    for text in [text for text, role, may in BY_HAND if may and role == who]:
        with conn.transaction(force_rollback=True):
            conn.execute(text)
