"""Many jobs that have neither a key nor a time go in by COPY: as any others would have."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from anyio import to_thread
from psycopg.rows import dict_row

from chancy import Chancy, Job, JobFilter, Limit, Queue, State
from chancy_core.errors import InvalidValue
from chancy_core.limit import LimitKind
from chancy_core.postgres import Connection
from chancy_core.statement import Copy, Names, Statement
from chancy_core.store import statements, store
from chancy_core.store.statements.pushing import MANY

pytestmark = pytest.mark.anyio

HOSTILE = (
    "\\",
    "\\N",
    "\\.",
    "a\tb\\tc",
    "a\nb\r\nc\\n",
    "\b\f\v\x01\x7f",
    "'\"`$$;--",
    "Zoë \u2028 \U0001f600",
    "\\u0000",
)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the statements of the store by their kind."""
    counted: Counter[str] = Counter()
    run_on = store.run_on

    async def counting(conn: Any, statement: Statement[Any]) -> Any:
        counted[type(statement).__name__] += 1
        return await run_on(conn, statement)

    monkeypatch.setattr(store, "run_on", counting)
    return counted


@pytest.fixture
def closed(dsn: str) -> Iterator[Chancy]:
    chancy = Chancy(dsn)
    chancy.sync_declare(Queue("q", executor="async"))
    yield chancy
    chancy.sync_close()


def some(number: int = MANY, **options: Any) -> list[Job]:
    return [Job("f", kwargs={"n": n}, queue="q", **options) for n in range(number)]


def refused() -> list[Job]:
    """What is refused is found late, when much has been sent."""
    long = {"text": "x" * 10_000}
    return [*(job.with_kwargs(**long) for job in some()), Job("f", kwargs={"n": float("nan")})]


def terminate(dsn: str) -> bool:
    """End all connections but this one's own."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    return True


def count(dsn: str) -> int:
    with psycopg.connect(dsn) as conn:
        (number,) = conn.execute("SELECT count(*) FROM chancy_jobs").fetchone() or (0,)
        return int(number)


async def test_they_stand_in_line_as_they_were_given(chancy: Chancy, dsn: str, ran: Counter[str]):
    references = await chancy.push_many(some(3 * MANY), batch_size=MANY)
    assert ran["Copy"] == 3
    assert all(reference.new for reference in references)
    with psycopg.connect(dsn) as conn:
        line = conn.execute("SELECT id, args FROM chancy_jobs ORDER BY seq").fetchall()
    assert line == [(ref.id, {"n": n}) for n, ref in enumerate(references)]


async def test_they_are_what_the_statement_would_have_stored(
    chancy: Chancy, dsn: str, ran: Counter[str]
):
    jobs = [
        Job(
            f"f{text}",
            queue=f"q{text}",
            kwargs={text: [text, {"": text}], "n": -1.5},
            meta={text: text},
            priority=number - 3,
            max_attempts=number % 3 + 1,
            exclusive=number % 2 == 0,
            keep_result=number % 3 == 0,
            limits=[Limit(LimitKind.TIME, 1.5)] if number % 2 else (),
        )
        for number, text in enumerate(HOSTILE)
    ] * MANY
    jobs.append(Job("f", at_most_once=True))
    await chancy.push_many(jobs, batch_size=len(jobs))
    assert ran["Copy"] == 1
    for start in range(0, len(jobs), MANY - 1):
        await chancy.push_many(jobs[start : start + MANY - 1])
    assert ran["Copy"] == 1
    with psycopg.connect(dsn) as conn:
        rows = conn.execute(
            "SELECT queue, func, args, meta, limits, state, priority, max_attempts, attempts, "
            "claims, crashes, unique_key, at_most_once, exclusive, keep_result, worker, lease_id, "
            "cancelling, created_at = scheduled_at, started_at, errors FROM chancy_jobs "
            "ORDER BY seq"
        ).fetchall()
    assert rows[: len(jobs)] == rows[len(jobs) :]
    assert [row[:4] for row in rows[: len(jobs)]] == [
        (job.queue, job.func, job.kwargs, job.meta) for job in jobs
    ]


@pytest.mark.parametrize(
    "odd", [{"unique_key": "k"}, {"scheduled_at": datetime.now(UTC) + timedelta(hours=1)}]
)
async def test_one_with_a_key_or_a_time_is_not_copied(
    chancy: Chancy, odd: dict[str, Any], ran: Counter[str]
):
    references = await chancy.push_many([*some(), Job("f", queue="q", **odd)])
    assert ran["Copy"] == 0
    stored = await chancy.get_job(references[-1])
    assert stored.unique_key == odd.get("unique_key")
    assert stored.state is (State.SCHEDULED if "scheduled_at" in odd else State.PENDING)


async def test_one_that_cannot_be_stored_keeps_its_batch_out(chancy: Chancy, dsn: str):
    await chancy.push(Job("f"))
    for _ in range(40):  # rows that wait to be sent are met in one of thirty
        with pytest.raises(InvalidValue, match=r"arguments of f\.n: nan"):
            await chancy.push_many(refused())
    assert count(dsn) == 1
    assert chancy.store.pool.stats().discarded == 0  # its connection is of use still
    assert len(await chancy.push_many(some())) == MANY


async def test_so_does_one_in_a_thread(closed: Chancy, dsn: str):
    def push() -> None:
        with pytest.raises(InvalidValue, match=r"arguments of f\.n: nan"):
            closed.sync_push_many(refused())
        assert len(closed.sync_push_many(some())) == MANY

    await to_thread.run_sync(push)
    assert count(dsn) == MANY


@pytest.mark.parametrize("commit", [True, False])
@pytest.mark.parametrize("kind", ["sync", "psycopg", "ours"])
async def test_within_the_callers_transaction(chancy: Chancy, dsn: str, kind: str, commit: bool):
    """One that cannot be stored is found before anything is sent, and the transaction goes on."""
    if kind == "sync":
        with psycopg.connect(dsn, row_factory=dict_row) as conn:
            with pytest.raises(InvalidValue):
                chancy.push_many_ex(conn, refused())
            references = chancy.push_many_ex(conn, some())
            conn.commit() if commit else conn.rollback()
    else:
        connect = Connection if kind == "ours" else psycopg.AsyncConnection
        if kind == "psycopg" and anyio_is_trio():
            pytest.skip("psycopg's own asynchronous connection needs asyncio")
        async with await connect.connect(dsn, row_factory=dict_row) as conn:
            with pytest.raises(InvalidValue):
                await chancy.push_many_ex(conn, refused())
            references = await chancy.push_many_ex(conn, some())
            await (conn.commit() if commit else conn.rollback())
    found = await chancy.get_jobs(references)
    assert len(references) == MANY
    assert {job.id for job in found} == ({ref.id for ref in references} if commit else set())


def anyio_is_trio() -> bool:
    import sniffio

    return sniffio.current_async_library() == "trio"


async def test_in_a_pipeline_of_the_callers_there_is_no_copy(chancy: Chancy, dsn: str):
    with psycopg.connect(dsn) as conn, conn.pipeline():
        references = chancy.push_many_ex(conn, some())
    assert len(await chancy.get_jobs(references)) == MANY


async def test_what_postgresql_refuses_stores_nothing(chancy: Chancy, dsn: str):
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("ALTER TABLE chancy_jobs ADD CHECK (priority <> 7)")
    with pytest.raises(psycopg.errors.CheckViolation):
        await chancy.push_many([*some(), Job("f", priority=7)])
    assert count(dsn) == 0
    assert len(await chancy.push_many(some())) == MANY


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_copy_in_doubt_is_not_repeated_where_it_arrived(
    chancy: Chancy, dsn: str, monkeypatch: pytest.MonkeyPatch, arrived: bool
):
    run_on, cut = store.run_on, []

    async def cutting(conn: Any, statement: Statement[Any]) -> Any:
        if isinstance(statement, Copy) and not cut:
            cut.append(statement)
            if arrived:
                await run_on(conn, statement)
            raise psycopg.OperationalError("the connection was lost")
        return await run_on(conn, statement)

    monkeypatch.setattr(store, "run_on", cutting)
    references = await chancy.push_many(some())
    assert cut
    assert count(dsn) == MANY
    found = {job.id: job.kwargs["n"] for job in await chancy.get_jobs(references)}
    assert [found[ref.id] for ref in references] == list(range(MANY))


@pytest.mark.parametrize("lost", [2, 3, 4])
async def test_each_connection_that_is_lost_is_replaced(
    chancy: Chancy, dsn: str, monkeypatch: pytest.MonkeyPatch, lost: int
):
    """A server that restarts ends whatever is idle as well; each try may have committed."""
    run_on, cut = store.run_on, []

    async def cutting(conn: Any, statement: Statement[Any]) -> Any:
        if len(cut) < lost and b"pg_notify" not in statement.text:
            cut.append(await run_on(conn, statement))
            raise psycopg.OperationalError("the connection was lost")
        return await run_on(conn, statement)

    monkeypatch.setattr(store, "run_on", cutting)
    if lost == 4:
        with pytest.raises(psycopg.OperationalError, match="was lost"):
            await chancy.push_many(some())
    else:
        assert len({ref.id for ref in await chancy.push_many(some())}) == MANY
    assert count(dsn) == MANY


async def test_what_the_server_refuses_is_not_asked_for_over_and_over(
    chancy: Chancy, dsn: str, monkeypatch: pytest.MonkeyPatch
):
    tries = []

    async def full(conn: Any, statement: Statement[Any]) -> Any:
        if b"pg_notify" not in statement.text:
            tries.append(statement)
        raise psycopg.errors.DiskFull("no space left on device")

    monkeypatch.setattr(store, "run_on", full)
    with pytest.raises(psycopg.errors.DiskFull):
        await chancy.push_many(some())
    assert len(tries) == 2


async def test_one_that_the_server_ends_is_made_again(chancy: Chancy, dsn: str):
    """The connection is lost while rows are sent: none of them is there, and all are, once."""
    ended = []

    class Ending(dict[str, Any]):
        """Arguments whose being read ends the connection that they are to be sent on."""

        def items(self) -> Any:
            if not ended:
                ended.append(terminate(dsn))
            return super().items()

    jobs = [*some(200), Job("f", queue="q", kwargs=Ending(n=200)), *some(200)]
    references = await chancy.push_many(jobs)
    assert ended
    assert count(dsn) == len(references) == len(jobs)


def test_rows_are_written_anew_for_each_try():
    made = statements.push_many(Names(), {}, meanwhile=True)
    assert list(made.pieces) == list(made.pieces) == [""]


async def test_a_list_finds_them(chancy: Chancy):
    await chancy.push_many(some())
    page = await chancy.list_jobs(JobFilter(queue="q"), limit=MANY)
    assert len(page.jobs) == MANY
