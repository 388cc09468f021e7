"""Rows written by hand with nonsense in any column: each costs itself, and nothing else.

For each column of each table there is a list of values and what becomes of the row. A column
that is not in it is a failure of these tests: whoever adds one says what nonsense in it does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import anyio
import psycopg
import pytest

from chancy import INJECTED, Chancy, Queue, QueuedJob, State, job
from chancy_core.errors import InvalidQueue
from chancy_core.store import statements
from tests.stage import push
from tests.unharmed import innocent_job, unharmed

pytestmark = pytest.mark.anyio

#: The database refuses to store it.
REFUSED = "refused"
#: The job fails, and its error says that its row is unreadable.
UNREADABLE = "unreadable"
#: The value is harmless: the job runs as if nothing were.
RUNS = "runs"
#: Python reads it or does not, as it is built: the job ends one way or another.
ENDS = "ends"
#: The job is not begun: no queue, or no function, has that name.
WAITS = "waits"

DEEP = "(repeat('[', 5000) || repeat(']', 5000))::jsonb"
DEEP_OBJECT = """(repeat('{"a":', 5000) || '1' || repeat('}', 5000))::jsonb"""
LONG_NUMBER = """('{"a": 1' || repeat('0', 5000) || '}')::jsonb"""
#: As a number, this one is infinite.
VAST_NUMBER = """('{"a": 1' || repeat('0', 400) || '.5}')::jsonb"""
VAST_LIMIT = VAST_NUMBER.replace('"a"', '"time"')
NO_OBJECT = {"'7'": UNREADABLE, "'[]'": UNREADABLE, "'\"a\"'": UNREADABLE, "'null'": UNREADABLE}
INSTANTS = {
    "'infinity'": REFUSED,
    "'-infinity'": REFUSED,
    "'294276-12-31Z'": REFUSED,
    "'4713-01-01Z BC'": REFUSED,
    "'9999-01-01Z'": RUNS,
    "'0002-01-01Z'": RUNS,
}
COUNTERS = {"-1": REFUSED, "2147483647": REFUSED, "1000000000": RUNS}

JOBS: dict[str, dict[str, str]] = {
    "id": {
        "'00000000-0000-0000-0000-000000000000'": RUNS,
        "gen_random_uuid()": RUNS,  # version 4, that tells no time
        "'ffffffff-ffff-7fff-bfff-ffffffffffff'": RUNS,
    },
    "seq": {"9223372036854775807": RUNS, "'-9223372036854775808'": RUNS},
    "queue": {"''": WAITS, "'a' || chr(10)": WAITS, "repeat('q', 1000)": WAITS},
    "func": {
        "''": WAITS,
        "'os.system'": WAITS,
        "'builtins.eval'": WAITS,
        "'__main__.x'": WAITS,
        "'tests.jobs.add.__globals__'": WAITS,
        "repeat('x', 1000000)": WAITS,
        "E'\\n\\x7f\\u202e'": WAITS,
    },
    "args": NO_OBJECT | {DEEP: UNREADABLE, DEEP_OBJECT: ENDS, LONG_NUMBER: UNREADABLE},
    "meta": NO_OBJECT
    | {
        DEEP: UNREADABLE,
        DEEP_OBJECT: ENDS,
        LONG_NUMBER: UNREADABLE,
        VAST_NUMBER: RUNS,
    },
    "limits": {
        "'7'": UNREADABLE,
        "'[7]'": UNREADABLE,
        "'null'": UNREADABLE,
        """'{"time": -1}'""": UNREADABLE,
        """'{"time": true}'""": UNREADABLE,
        """'{"time": null}'""": UNREADABLE,
        """'{"time": "30"}'""": UNREADABLE,
        """'{"time": 1e400}'""": UNREADABLE,
        VAST_LIMIT: UNREADABLE,
        """'{"memory": 1e400}'""": UNREADABLE,
        """'{"speed": 1}'""": UNREADABLE,
        DEEP: UNREADABLE,
    },
    "state": {"''": REFUSED, "'failed'": REFUSED, "'running'": REFUSED, "'scheduled'": RUNS},
    "priority": {"-32768": RUNS, "32767": RUNS, "32768": REFUSED},
    "max_attempts": {"0": REFUSED, "-1": REFUSED, "32767": RUNS},
    "attempts": COUNTERS,
    "claims": COUNTERS,
    "crashes": COUNTERS,
    "unique_key": {"''": REFUSED, "repeat('k', 513)": REFUSED, "E'\\n'": RUNS},
    "at_most_once": {"true": RUNS},
    "exclusive": {"true": RUNS},
    "keep_result": {"false": RUNS},
    "worker": {"gen_random_uuid()": RUNS},
    "lease_id": {"gen_random_uuid()": RUNS},
    "cancelling": {"true": RUNS},
    "created_at": INSTANTS,
    "scheduled_at": INSTANTS,
    "started_at": INSTANTS,
    "errors": {
        "'7'": UNREADABLE,
        "'null'": UNREADABLE,
        "'[7]'": UNREADABLE,
        """'{"a": 1}'""": UNREADABLE,
        """'[{"attempt": 1}]'""": UNREADABLE,
        """'[{"attempt": {}, "kind": 7, "type": [], "message": null}]'""": RUNS,
        DEEP: UNREADABLE,
        LONG_NUMBER: UNREADABLE,
    },
}


def columns(conn: psycopg.Connection, table: str) -> dict[str, bool]:
    """The columns of a table: whether each takes NULL."""
    rows = conn.execute(
        "SELECT column_name, is_nullable = 'YES' FROM information_schema.columns"
        " WHERE table_name = %s",
        [f"chancy_{table}"],
    ).fetchall()
    return {str(name): bool(nullable) for name, nullable in rows}


def written(conn: psycopg.Connection, text: str, params: Any = ()) -> bool:
    """Whether the database takes it."""
    try:
        conn.execute(text.encode(), params)
    except (psycopg.IntegrityError, psycopg.DataError):
        return False
    return True


@contextmanager
def superuser(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield conn


def check_end(job: QueuedJob, case: tuple[str, str, str]) -> None:
    """Whether a job has ended as its case says."""
    if case[2] == UNREADABLE:
        assert (job.state, job.attempts) == (State.FAILED, 0), case
        assert job.errors[-1].kind == "unreadable", case
        assert "its row" in job.errors[-1].message, case
    elif case[2] == RUNS:
        assert job.state is State.SUCCEEDED, (case, job.errors)


async def test_nonsense_in_a_column_of_a_job(chancy: Chancy, dsn: str, stage: object):
    """Each in a job of its own, all in one queue."""
    cases = [(c, v, o) for c, values in JOBS.items() for v, o in values.items()]
    await chancy.declare(Queue("odd", executor="async", concurrency=4, state="paused"))
    asked = await push(chancy, dsn, len(cases), queue="odd")
    expected: dict[UUID, tuple[str, str, str]] = {}
    with superuser(dsn) as conn:
        nullable = columns(conn, "jobs")
        assert nullable.keys() == JOBS.keys()
        (some,) = await push(chancy, dsn, 1, queue="odd")
        for column, takes in nullable.items():
            text = f"UPDATE chancy_jobs SET {column} = NULL WHERE id = %s"
            assert written(conn, text, [some.id]) is takes, column
        for reference, case in zip(asked, cases, strict=True):
            column, value, outcome = case
            text = f"UPDATE chancy_jobs SET {column} = {value} WHERE id = %s"
            assert written(conn, text, [reference.id]) is (outcome != REFUSED), case
            expected[reference.id] = case
        for (id_,) in conn.execute("SELECT id FROM chancy_jobs WHERE queue = 'odd'").fetchall():
            expected.setdefault(id_, ("id", "", RUNS))
    async with unharmed(chancy, dsn):
        await chancy.resume_queue("odd")
        there = {job.id: job for job in (await chancy.list_jobs(limit=1000)).jobs}
        waits = {"queue", "func"}
        ends = [id_ for id_, (c, _, o) in expected.items() if id_ in there and c not in waits]
        ended = {job.id: job for job in await chancy.wait_for_jobs(ends, timeout=20)}
        for id_ in ends:
            check_end(ended[id_], expected[id_])
        for id_, (column, _, _) in expected.items():
            if id_ in there and column == "func":
                with anyio.fail_after(10):
                    while not (job := await chancy.get_job(id_)).errors:
                        await anyio.sleep(0.01)
                assert (job.state, job.attempts) == (State.SCHEDULED, 0)
                assert job.errors[-1].kind == "unknown-function"
            elif id_ in there and column == "queue":
                assert (await chancy.get_job(id_)).state is State.PENDING


# -- queues ----------------------------------------------------------------------------------------

#: The queue is not run, and whoever looks is told which and why.
SKIPPED = "skipped"

QUEUES: dict[str, dict[str, str]] = {
    "name": {
        "''": REFUSED,
        "repeat('q', 101)": REFUSED,
        "E'a\\nb'": SKIPPED,
        "'\"; DROP TABLE chancy_jobs; --'": RUNS,
        "E'\\u202e%%s{}'": RUNS,
    },
    "concurrency": {"0": REFUSED, "-1": REFUSED, "10001": REFUSED, "10000": RUNS},
    "tags": {
        "'{(}'": SKIPPED,
        "ARRAY['a{1000}{1000}']": SKIPPED,
        "ARRAY['(a+)+$', '.*']": RUNS,
        "ARRAY[repeat('a', 201)]": SKIPPED,
        "ARRAY['']": SKIPPED,
        "ARRAY[NULL, '.*']": SKIPPED,
        "'{{a,b},{c,d}}'": SKIPPED,
        "'[7:8]={.*,.*}'": RUNS,
    },
    "executor": {
        "''": SKIPPED,
        "'warp'": SKIPPED,
        "'os.system'": SKIPPED,
        "E'async\\n'": SKIPPED,
        "repeat('x', 1000000)": SKIPPED,
    },
    "executor_options": {
        "'7'": SKIPPED,
        "'null'": SKIPPED,
        "'[]'": SKIPPED,
        """'{"speed": 9}'""": SKIPPED,
        DEEP: SKIPPED,
        DEEP_OBJECT: SKIPPED,
        LONG_NUMBER: SKIPPED,
        VAST_NUMBER: SKIPPED,
    },
    "polling_interval": {
        "0": REFUSED,
        "-1": REFUSED,
        "'NaN'": SKIPPED,
        "'inf'": SKIPPED,
        "1e-300": SKIPPED,
        "3601": SKIPPED,
    },
    "state": {"''": REFUSED, "'running'": REFUSED},
    "resume_at": INSTANTS | {"'9999-01-01Z'": SKIPPED},  # of a queue that is not paused
    "rate_limit": {"0": REFUSED, "-1": REFUSED, "5": SKIPPED, "2147483647": SKIPPED},
    "rate_limit_window": {
        "0": REFUSED,
        "-1": REFUSED,
        "'NaN'": REFUSED,
        "'inf'": REFUSED,
        "5": SKIPPED,
        "1e300": SKIPPED,
    },
    "eager_polling": {"true": RUNS},
    # Nobody reads these.
    "created_at": {"'infinity'": RUNS, "'-infinity'": RUNS},
    "updated_at": {"'infinity'": RUNS, "'-infinity'": RUNS},
}


async def test_nonsense_in_a_column_of_a_queue(chancy: Chancy, dsn: str, stage: object, caplog):
    """Each in a queue of its own, with a job in it."""
    cases = [(c, v, o) for c, values in QUEUES.items() for v, o in values.items()]
    expected: dict[str, tuple[str, str, str]] = {}
    with superuser(dsn) as conn:
        nullable = columns(conn, "queues")
        assert nullable.keys() == QUEUES.keys()
        await chancy.declare(Queue("some", executor="async"))
        for column, takes in nullable.items():
            text = f"UPDATE chancy_queues SET {column} = NULL WHERE name = 'some'"
            assert written(conn, text) is takes, column
        for number, case in enumerate(cases):
            column, value, outcome = case
            await chancy.declare(Queue(f"odd-{number}", executor="async"))
            text = (
                f"UPDATE chancy_queues SET {column} = {value}"
                f" WHERE name = 'odd-{number}' RETURNING name"
            )
            assert written(conn, text) is (outcome != REFUSED), case
        rows = conn.execute("SELECT name FROM chancy_queues ORDER BY created_at").fetchall()
    names = [name for (name,) in rows if name not in {"q", "some", "default"}]
    expected = {name: cases[int(name[4:])] for name in names if name.startswith("odd-")}
    expected |= {
        name: ("name", "", SKIPPED if "\n" in name else RUNS)
        for name in names
        if not name.startswith("odd-")
    }
    expected = {name: case for name, case in expected.items() if case[2] != REFUSED}
    jobs = {name: (await push(chancy, dsn, 1, queue=name))[0] for name in expected}
    runs = [name for name, case in expected.items() if case[2] == RUNS]
    async with unharmed(chancy, dsn):
        await chancy.wait_for_jobs([jobs[name] for name in runs], timeout=20)
        for name, case in expected.items():
            if case[2] == SKIPPED:
                assert (await chancy.get_job(jobs[name])).state is State.PENDING, case
                assert caplog.text.count(f"queue {name!r} is not run here") == 1, case
        there = {queue.name for queue in await chancy.get_all_queues()}
        assert set(runs) <= there


async def test_a_queue_of_nonsense_is_told_by_name_and_mended_by_declaring_it(
    chancy: Chancy, dsn: str, stage: object, caplog
):
    """Also `default`, which each worker declares when it starts."""
    (reference,) = await push(chancy, dsn, 1, queue="default")
    await chancy.declare(Queue("default"))
    with superuser(dsn) as conn:
        conn.execute("UPDATE chancy_queues SET tags = '{{a,b},{(,d}}' WHERE name = 'default'")
    with pytest.raises(InvalidQueue, match=r"'default'.*tags"):
        await chancy.get_queue("default")
    assert [queue.name for queue in await chancy.get_all_queues()] == ["q"]
    assert "left out: queue 'default'" in caplog.text
    async with unharmed(chancy, dsn):
        assert (await chancy.get_job(reference)).state is State.PENDING
        await chancy.declare(Queue("default", executor="async"), upsert=True)
        assert (await chancy.wait_for_job(reference, timeout=10)).state is State.SUCCEEDED


# -- the history -----------------------------------------------------------------------------------

#: It is read, with what can be read of it.
READ = "read"
#: It is read, and its errors end with one that says what cannot be.
DAMAGED = "damaged"

NONSENSE = {"'7'": DAMAGED, "'null'": DAMAGED, DEEP: DAMAGED, LONG_NUMBER: DAMAGED}
ANY_INTEGER = {"-2147483648": READ, "2147483647": READ}

HISTORY: dict[str, dict[str, str]] = {
    column: {value: READ for value, outcome in values.items() if outcome != REFUSED}
    for column, values in JOBS.items()
    if column in {"id", "queue", "func", "priority", "at_most_once", "exclusive", "keep_result"}
} | {
    "args": NONSENSE,
    "meta": NONSENSE,
    "limits": NONSENSE,
    "errors": NONSENSE,
    "result": {"'null'": READ, DEEP: ENDS, DEEP_OBJECT: ENDS, LONG_NUMBER: DAMAGED},
    "state": {"''": REFUSED, "'running'": REFUSED, "'lost'": READ},
    "max_attempts": {"0": REFUSED, "-1": REFUSED},
    "attempts": ANY_INTEGER,
    "claims": ANY_INTEGER,
    "crashes": ANY_INTEGER,
    "unique_key": {"''": REFUSED, "repeat('k', 513)": REFUSED, "E'\\n'": READ},
    "worker": {"gen_random_uuid()": READ},
    "lease_id": {"gen_random_uuid()": READ},
    "created_at": {v: REFUSED if o == REFUSED else READ for v, o in INSTANTS.items()},
    "scheduled_at": {v: REFUSED if o == REFUSED else READ for v, o in INSTANTS.items()},
    "started_at": {v: REFUSED if o == REFUSED else READ for v, o in INSTANTS.items()},
    "finished_at": dict.fromkeys(INSTANTS, REFUSED),  # no day's partition would take it
}


async def test_nonsense_in_a_column_of_the_history(chancy: Chancy, dsn: str, stage: object):
    """All can be read, one by one and together, and brought back, or the answer says why not."""
    cases = [(c, v, o) for c, values in HISTORY.items() for v, o in values.items()]
    await chancy.declare(Queue("odd", executor="async", concurrency=4))
    async with unharmed(chancy, dsn):
        asked = await push(chancy, dsn, len(cases) + 1, queue="odd")
        await chancy.wait_for_jobs(asked, timeout=20)
        some = asked.pop()
        await chancy.pause_queue("odd")
        with superuser(dsn) as conn:
            nullable = columns(conn, "history")
            assert nullable.keys() == HISTORY.keys()
            for column, takes in nullable.items():
                text = f"UPDATE chancy_history SET {column} = NULL WHERE id = %s"
                assert written(conn, text, [some.id]) is takes, column
            expected = {}
            for reference, case in zip(asked, cases, strict=True):
                column, value, outcome = case
                text = f"UPDATE chancy_history SET {column} = {value} WHERE id = %s RETURNING id"
                assert written(conn, text, [reference.id]) is (outcome != REFUSED), case
                expected[reference.id] = case
        listed = {job.id: job for job in (await chancy.list_jobs(limit=1000)).jobs}
        for id_, job in listed.items():
            case = expected.get(id_, ("id", "", READ))
            assert (await chancy.get_job(id_)).id == id_
            if case[2] == DAMAGED:
                assert job.errors[-1].kind == "unreadable", case
            elif case[2] == READ:
                assert all(error.kind != "unreadable" for error in job.errors), case
        again = [id_ for id_ in listed if expected.get(id_, "")[0:1] != ("queue",)]
        answers = await chancy.retry_jobs(again)
        assert {a.id for a in answers if not a.done} == set()
        await chancy.resume_queue("odd")
        for id_, (column, _, _) in expected.items():
            if id_ in listed and column not in {"queue", "func"}:
                assert (await chancy.wait_for_job(id_, timeout=20)).state.finished


# -- workers and rates -----------------------------------------------------------------------------

WORKERS: dict[str, dict[str, str]] = {
    "id": {"'00000000-0000-0000-0000-000000000000'": READ},
    "name": {"''": READ, "E'a\\nb%%s'": READ, "repeat('x', 1000000)": READ},
    "hostname": {"''": READ, "E'\\u202e'": READ},
    "pid": ANY_INTEGER,
    "tags": {"'{{a,b},{c,d}}'": READ, "ARRAY[NULL, 'a']": READ, "ARRAY['(']": READ},
    "started_at": {v: REFUSED if o == REFUSED else READ for v, o in INSTANTS.items()},
    "expires_at": {v: REFUSED if o == REFUSED else READ for v, o in INSTANTS.items()},
    "dead": {"true": READ},
    "version": {"''": READ, "repeat('x', 1000000)": READ},
    "schema_version": ANY_INTEGER,
    "settings": {"'null'": READ, "'[[1]]'": READ, "'{\"lease\": {}}'": READ},
    "clock_offset": {"'NaN'": READ, "'-Infinity'": READ, "1e308": READ},
    "running": {"'7'": READ, "'{\"jobs\": [{}]}'": READ, '\'{"jobs": 1, "more": []}\'': READ},
    "faults": {
        "'7'": READ,
        "'[]'": READ,
        '\'{"at": "yesterday", "told": [{"plugin": "p"}]}\'': READ,
        '\'{"at": "2026-01-01T00:00:00Z", "told": [7, {"ago": "long"}]}\'': READ,
        '\'{"at": "99999-01-01T00:00:00Z", "told": {"ago": 1e300}}\'': READ,
    },
}


async def test_nonsense_in_a_column_of_a_worker(chancy: Chancy, dsn: str, stage: object):
    cases = [(c, v, o) for c, values in WORKERS.items() for v, o in values.items()]
    async with unharmed(chancy, dsn):
        with superuser(dsn) as conn:
            nullable = columns(conn, "workers")
            assert nullable.keys() == WORKERS.keys()
            for column, value, outcome in cases:
                id_ = conn.execute(
                    "INSERT INTO chancy_workers (id, name, hostname, pid, tags, expires_at) VALUES"
                    " (gen_random_uuid(), 'odd', 'h', 1, '{a}', now() + '1 hour') RETURNING id"
                ).fetchone()
                for wanted, taken in (("NULL", nullable[column]), (value, outcome != REFUSED)):
                    text = f"UPDATE chancy_workers SET {column} = {wanted} WHERE id = %s"
                    assert written(conn, text, id_) is taken, (column, wanted)
        there = await chancy.get_all_workers()
        assert len(there) == len(cases) + 1
        assert all(isinstance(tag, str) for worker in there for tag in worker.tags)
        # Whose lease has run out is declared dead, and then forgotten, all the same.
        assert len(await chancy.store.run(statements.bury(chancy.names))) == 1
        await chancy.store.run(statements.bury(chancy.names))
        assert len(await chancy.get_all_workers()) == len(cases)


RATES: dict[str, list[str]] = {
    "queue": ["''", "'no such queue'"],
    "tat": ["'infinity'", "'-infinity'", "'294276-12-31Z'", "'4713-01-01Z BC'"],
    "rate_limit": ["0", "-1", "2147483647"],
    "rate_limit_window": ["0", "-1", "'NaN'", "'inf'", "'-inf'", "1e300", "1e-300"],
}


async def test_nonsense_in_a_column_of_a_rate(chancy: Chancy, dsn: str, stage: object):
    """A rate that makes no sense begins anew: its queue is run, as are the others."""
    cases = [(column, value) for column, values in RATES.items() for value in values]
    async with unharmed(chancy, dsn):
        with superuser(dsn) as conn:
            nullable = columns(conn, "rates")
            assert nullable.keys() == RATES.keys()
            for number, (column, value) in enumerate(cases):
                name = [f"odd-{number}"]
                row = "INSERT INTO chancy_rates VALUES (%s, now(), 1, 0.05) ON CONFLICT DO NOTHING"
                conn.execute(row, name)  # unless a worker has looked already
                null = f"UPDATE chancy_rates SET {column} = NULL WHERE queue = %s"
                assert not written(conn, null, name)
                text = f"UPDATE chancy_rates SET {column} = {value} WHERE queue = %s"
                assert written(conn, text, name), (column, value)
        names = [f"odd-{number}" for number in range(len(cases))]
        for name in names:  # only now: whose rate a worker counts, it has locked
            limits = {"rate_limit": 1, "rate_limit_window": 0.05}
            await chancy.declare(Queue(name, executor="async", **limits))
        references = [(await push(chancy, dsn, 2, queue=name))[1] for name in names]
        done = await chancy.wait_for_jobs(references, timeout=20)
        assert {job.state for job in done} == {State.SUCCEEDED}


async def test_a_limit_that_cannot_be_counted_closes_its_own_queue(
    chancy: Chancy, dsn: str, stage: object, caplog
):
    """Written between two looks at the queues: the claim's own lock is the first to see it."""
    await chancy.declare(Queue("odd", executor="async", rate_limit=1, rate_limit_window=0.05))
    async with unharmed(chancy, dsn):
        (before,) = await push(chancy, dsn, 1, queue="odd")
        await chancy.wait_for_job(before, timeout=10)
        with superuser(dsn) as conn:
            conn.execute("UPDATE chancy_queues SET rate_limit_window = 1e300 WHERE name = 'odd'")
        (odd,) = await push(chancy, dsn, 1, queue="odd")
        with anyio.fail_after(10):
            while "queue 'odd'" not in caplog.text:
                await anyio.sleep(0.01)
        await innocent_job(chancy, dsn)
        assert (await chancy.get_job(odd)).state is State.PENDING


async def test_a_running_row_of_the_far_future_can_still_end(chancy: Chancy, dsn: str, stage):
    """It goes into the history of a day that is there, whoever ends it."""
    async with unharmed(chancy, dsn):
        await chancy.pause_queue("q")
        left, given_back, done = await push(chancy, dsn, 3, at_most_once=True)
        worker = uuid4()
        with superuser(dsn) as conn:
            for reference, owner in ((left, uuid4()), (given_back, worker), (done, worker)):
                conn.execute(
                    "UPDATE chancy_jobs SET state = 'running', worker = %s,"
                    " lease_id = gen_random_uuid(), started_at = '9999-01-01Z' WHERE id = %s",
                    [owner, reference.id],
                )
            chancy.complete_ex(conn, await chancy.get_job(done), 7)
        await chancy.store.run(statements.give_back(chancy.names, worker))
        await chancy.store.run(statements.rescue(chancy.names, 3, 500))
        assert (await chancy.get_job(done)).result() == 7
        assert (await chancy.get_job(given_back)).state is State.LOST
        assert (await chancy.get_job(left)).state is State.LOST
        await chancy.resume_queue("q")


@job(name="hostile.tidy", queue="q")
async def tidy(*, me: QueuedJob = INJECTED) -> None:
    me.meta.clear()


@job(name="hostile.measure", queue="q")
async def measure(value: str) -> int:
    return len(value)


async def test_a_meta_that_cannot_be_written_again_may_be_replaced(chancy, dsn, stage):
    """One may be read that JSON has no word for: infinity, out of a vast number."""
    async with unharmed(chancy, dsn):
        await chancy.pause_queue("q")
        references = await chancy.push_many([tidy.bind(), tidy.bind()])
        levels = """(repeat('{"a":', 900) || '1' || repeat('}', 900))::jsonb"""
        with superuser(dsn) as conn:
            for reference, meta in zip(references, (VAST_NUMBER, levels), strict=True):
                text = f"UPDATE chancy_jobs SET meta = {meta} WHERE id = %s"
                conn.execute(text.encode(), [reference.id])
        await chancy.resume_queue("q")
        first, _ = await chancy.wait_for_jobs(references, timeout=10)
        assert (first.state, first.meta) == (State.SUCCEEDED, {})


@pytest.mark.slow
async def test_fifty_megabytes_by_hand_are_arguments_like_any(chancy, dsn, stage):
    async with unharmed(chancy, dsn):
        await chancy.pause_queue("q")
        reference = await chancy.push(measure.bind(value=""))
        with superuser(dsn) as conn:
            conn.execute(
                "UPDATE chancy_jobs SET args = jsonb_build_object('value', repeat('x', 50000000))"
            )
        await chancy.resume_queue("q")
        assert (await chancy.wait_for_job(reference, timeout=30)).result() == 50_000_000
