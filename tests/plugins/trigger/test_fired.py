"""A statement that changes a watched table pushes one job: with the change, or not at all."""

import contextlib
from typing import Any

import anyio
import psycopg
import pytest

from chancy import Chancy, Job, Queue, Worker, job
from chancy_core.statement import Statement
from chancy_core.testing import drain
from chancy_plugins.trigger import Trigger

pytestmark = pytest.mark.anyio


@job(name="triggers.note", queue="q", max_attempts=3)
async def note(rows: list[dict[str, Any]] | None = None, who: str = "us") -> int:
    return len(rows or [])


ORDERS = """
    CREATE TABLE public.orders (
        id integer PRIMARY KEY, status text DEFAULT 'new', price numeric, at timestamptz
    )
"""


@pytest.fixture
def conn(chancy_dsn: str):
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        conn.execute(ORDERS)
        yield conn


@pytest.fixture
def trigger(chancy_app: Chancy, conn: psycopg.Connection) -> Trigger:
    return Trigger(chancy_app)


async def jobs(chancy: Chancy) -> list[Any]:
    """All that was pushed: what has ended, then what waits, as it is in line."""
    text = "SELECT id FROM {jobs} ORDER BY seq"
    line = await chancy.database.run(Statement.written(text, chancy.names, {}, list))
    places = {row[0]: place for place, row in enumerate(line)}
    found = (await chancy.list_jobs(limit=10_000)).jobs
    return sorted(found, key=lambda job: places.get(job.id, -1))


async def told(chancy: Chancy) -> list[tuple[str, int]]:
    """Of each job by which operation it was pushed, and how many rows that changed."""
    metas = [job.meta["trigger"] for job in await jobs(chancy)]
    return [(meta["operation"], meta["count"]) for meta in metas]


@pytest.mark.parametrize("operation", ["INSERT", "UPDATE", "DELETE"])
async def test_each_operation_pushes_one_job_for_each_statement(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection, operation: str
):
    conn.execute("INSERT INTO orders SELECT generate_series(1, 5)")
    await trigger.declare("orders", "orders", on=operation, job=note, rows=10)
    conn.execute("INSERT INTO orders SELECT generate_series(6, 8)")
    conn.execute("UPDATE orders SET status = 'paid' WHERE id < 3")
    conn.execute("DELETE FROM orders WHERE id > 4")
    (pushed,) = await jobs(chancy_app)
    about = pushed.meta["trigger"]
    count = {"INSERT": 3, "UPDATE": 2, "DELETE": 4}[operation]
    ids = {"INSERT": [6, 7, 8], "UPDATE": [1, 2], "DELETE": [5, 6, 7, 8]}[operation]
    assert about.keys() == {"name", "operation", "schema", "table", "count", "at"}
    assert (about["name"], about["operation"], about["count"]) == ("orders", operation, count)
    assert (about["schema"], about["table"]) == ("public", "orders")
    assert sorted(row["id"] for row in pushed.kwargs["rows"]) == ids
    status = "paid" if operation == "UPDATE" else "new"
    assert {row["status"] for row in pushed.kwargs["rows"]} == {status}
    assert (pushed.func, pushed.queue, pushed.max_attempts) == ("triggers.note", "q", 3)


async def test_several_statements_and_several_operations(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note)
    with conn.transaction():
        conn.execute("INSERT INTO orders VALUES (1), (2)")
        conn.execute("UPDATE orders SET status = 'paid'")
        conn.execute("INSERT INTO orders VALUES (3)")
    conn.execute("DELETE FROM orders")
    conn.execute("INSERT INTO orders VALUES (1), (4)")
    conn.execute(
        "INSERT INTO orders VALUES (1), (5), (6) ON CONFLICT (id) DO UPDATE SET status = 'twice'"
    )
    *told_of, last, very_last = await told(chancy_app)
    assert told_of == [("INSERT", 2), ("UPDATE", 2), ("INSERT", 1), ("DELETE", 3), ("INSERT", 2)]
    assert {last, very_last} == {("INSERT", 2), ("UPDATE", 1)}
    assert all("rows" not in job.kwargs for job in await jobs(chancy_app))


async def test_merge_and_copy(chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection):
    await trigger.declare("orders", "orders", job=note)
    with conn.cursor() as cursor, cursor.copy("COPY orders (id) FROM STDIN") as copy:
        copy.write("1\n2\n3\n")
    assert await told(chancy_app) == [("INSERT", 3)]
    conn.execute(
        "MERGE INTO orders AS o USING (VALUES (1), (9)) AS s (id) ON o.id = s.id "
        "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id)"
    )
    assert sorted((await told(chancy_app))[1:]) == [("DELETE", 1), ("INSERT", 1)]


async def test_a_statement_that_changes_no_row_pushes_a_job_only_if_asked(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note)
    conn.execute("UPDATE orders SET status = 'paid'")
    assert await jobs(chancy_app) == []
    await trigger.declare("orders", "orders", job=note, rows=3, empty=True)
    conn.execute("UPDATE orders SET status = 'paid'")
    (pushed,) = await jobs(chancy_app)
    assert (pushed.meta["trigger"]["count"], pushed.kwargs) == (0, {"rows": []})


async def test_truncate(chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection):
    conn.execute("INSERT INTO orders VALUES (1)")
    await trigger.declare("orders", "orders", on=["delete", "truncate"], job=note, rows=5)
    conn.execute("TRUNCATE orders")
    (pushed,) = await jobs(chancy_app)
    about = pushed.meta["trigger"]
    assert (about["operation"], about["count"], pushed.kwargs) == ("TRUNCATE", None, {"rows": []})


async def test_what_is_rolled_back_was_never_pushed(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note)
    with conn.transaction(force_rollback=True):
        conn.execute("INSERT INTO orders VALUES (1)")
    with conn.transaction():
        conn.execute("INSERT INTO orders VALUES (2)")
        with contextlib.suppress(psycopg.errors.UniqueViolation), conn.transaction():
            conn.execute("INSERT INTO orders VALUES (3)")
            conn.execute("INSERT INTO orders VALUES (2)")
    assert await told(chancy_app) == [("INSERT", 1)]


async def test_ten_thousand_rows_are_counted_and_some_given(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note, rows=100)
    conn.execute("INSERT INTO orders SELECT generate_series(1, 10000)")
    (pushed,) = await jobs(chancy_app)
    assert pushed.meta["trigger"]["count"] == 10_000
    assert [row["id"] for row in pushed.kwargs["rows"]] == list(range(1, 101))
    assert [one.result() for one in await drain(chancy_app)] == [100]


async def test_large_rows_are_left_out(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note, rows=100)
    conn.execute("INSERT INTO orders SELECT n, repeat('x', 100000) FROM generate_series(1, 50) n")
    (pushed,) = await jobs(chancy_app)
    assert pushed.meta["trigger"]["count"] == 50
    assert [row["id"] for row in pushed.kwargs["rows"]] == list(range(1, 9))
    conn.execute("INSERT INTO orders VALUES (99, repeat('x', 2000000))")
    assert (await jobs(chancy_app))[1].kwargs == {"rows": []}


async def test_columns_and_values(chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection):
    await trigger.declare("orders", "orders", job=note, rows=5, columns=["price", "at", "id"])
    conn.execute("INSERT INTO orders VALUES (1, 'x', 12.50, '2026-01-02 03:04:05Z')")
    conn.execute("INSERT INTO orders (id) VALUES (2)")
    first, second = [job.kwargs["rows"][0] for job in await jobs(chancy_app)]
    assert (first["id"], first["price"], first.keys()) == (1, 12.5, {"id", "price", "at"})
    assert first["at"].startswith("2026-01-02T")
    assert second == {"id": 2, "price": None, "at": None}


async def test_only_rows_that_are_meant(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare(
        "paid", "orders", job=note, rows=2, columns=["id"], when={"status": "paid"}
    )
    conn.execute("INSERT INTO orders SELECT generate_series(1, 9)")
    assert await jobs(chancy_app) == []
    conn.execute("UPDATE orders SET status = 'paid' WHERE id > 4")
    (pushed,) = await jobs(chancy_app)
    assert (pushed.meta["trigger"]["count"], len(pushed.kwargs["rows"])) == (5, 2)
    assert {tuple(row) for row in pushed.kwargs["rows"]} == {("id",)}


async def test_jobs_are_in_line_as_they_were_pushed(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note, rows=1)
    for number in range(20):
        conn.execute("INSERT INTO orders VALUES (%s)", [number])
    ran = conn.execute("SELECT args -> 'rows' -> 0 ->> 'id' FROM chancy_jobs ORDER BY seq")
    assert [int(row[0]) for row in ran] == list(range(20))
    assert len(await drain(chancy_app)) == 20


async def test_a_unique_key_has_a_burst_run_once(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note.bind().options(unique_key="refresh"))
    for number in range(20):
        conn.execute("INSERT INTO orders VALUES (%s)", [number])
    assert await told(chancy_app) == [("INSERT", 1)]
    await drain(chancy_app)
    conn.execute("DELETE FROM orders")
    assert await told(chancy_app) == [("INSERT", 1), ("DELETE", 20)]


async def test_one_that_is_switched_off_pushes_nothing(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note, enabled=False)
    conn.execute("INSERT INTO orders VALUES (1)")
    assert await trigger.enable("orders")
    assert not await trigger.enable("orders")
    conn.execute("INSERT INTO orders VALUES (2), (3)")
    assert await trigger.disable("orders")
    assert not await trigger.disable("orders")
    conn.execute("INSERT INTO orders VALUES (4)")
    await trigger.enable("orders")
    conn.execute("DELETE FROM orders")
    await trigger.delete("orders")
    conn.execute("INSERT INTO orders VALUES (5)")
    assert await told(chancy_app) == [("INSERT", 2), ("DELETE", 4)]


async def test_partitions(chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection):
    conn.execute("CREATE TABLE logs (day date, note text) PARTITION BY RANGE (day)")
    for name, begin, end in (("a", "2026-01-01", "2026-02-01"), ("b", "2026-02-01", "2026-03-01")):
        conn.execute(
            f"CREATE TABLE logs_{name} PARTITION OF logs FOR VALUES FROM ('{begin}') TO ('{end}')"
        )
    await trigger.declare("logs", "logs", job=note, rows=10)
    await trigger.declare("one", "logs_b", job=note, rows=10)
    conn.execute("INSERT INTO logs VALUES ('2026-01-05', 'x'), ('2026-02-05', 'y')")
    conn.execute("UPDATE logs SET day = day + 31 WHERE note = 'x'")  # to the other partition
    conn.execute("INSERT INTO logs_b VALUES ('2026-02-07', 'z')")
    pushed = await jobs(chancy_app)
    about = [(job.meta["trigger"]["name"], job.meta["trigger"]["operation"]) for job in pushed]
    assert about == [("logs", "INSERT"), ("logs", "UPDATE"), ("one", "INSERT")]
    assert [row["note"] for row in pushed[0].kwargs["rows"]] == ["x", "y"]
    assert pushed[1].kwargs["rows"] == [{"day": "2026-02-05", "note": "x"}]


async def test_workers_are_told_at_the_commit(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await chancy_app.declare(Queue("q", executor="async", polling_interval=60))
    await trigger.declare("orders", "orders", job=note, wake="notify")
    async with Worker(chancy_app, signals=False):
        number = 0
        with anyio.fail_after(20):
            while "succeeded" not in {job.state for job in await jobs(chancy_app)}:
                number += 1  # it works before it listens
                conn.execute("INSERT INTO orders VALUES (%s)", [number])
                await anyio.sleep(0.5)


async def test_nobody_is_told_unless_asked(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection, chancy_dsn: str
):
    with psycopg.connect(chancy_dsn, autocommit=True) as listening:
        listening.execute(f'LISTEN "{chancy_app.names.channel}"')
        await trigger.declare("orders", "orders", job=note)
        conn.execute("INSERT INTO orders VALUES (1)")
        assert list(listening.notifies(timeout=0.5)) == []
        assert len(await jobs(chancy_app)) == 1
        await trigger.declare("orders", "orders", job=note, wake="notify")
        conn.execute("INSERT INTO orders VALUES (2)")
        (heard,) = listening.notifies(timeout=5, stop_after=1)
    assert heard.payload == "queue.pushed:q"


HOSTILE = ['or"ders', "o'; DROP TABLE x; --", "bestellung-ü%s", "%(a)s {jobs} $1", "Ä" * 31]


@pytest.mark.parametrize("name", HOSTILE)
async def test_names_are_names_whatever_they_are(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection, name: str
):
    from psycopg import sql

    called = sql.Identifier(name)
    conn.execute(sql.SQL("CREATE SCHEMA {}").format(called))
    conn.execute(
        sql.SQL("CREATE TABLE {}.{} ({} integer, other text)").format(called, called, called)
    )
    await trigger.declare(name, name, schema=name, job=note, rows=5, columns=[name], when={name: 7})
    conn.execute(sql.SQL("INSERT INTO {}.{} VALUES (7, 'x'), (8, 'y')").format(called, called))
    (pushed,) = await jobs(chancy_app)
    about = pushed.meta["trigger"]
    assert (about["name"], about["schema"], about["table"]) == (name, name, name)
    assert pushed.kwargs == {"rows": [{name: 7}]}
    assert (await trigger.trigger(name)).problem is None
    await trigger.delete(name)


async def test_columns_come_and_go(chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection):
    await trigger.declare("orders", "orders", job=note, rows=5)
    conn.execute("ALTER TABLE orders DROP COLUMN price, DROP COLUMN at")
    conn.execute("ALTER TABLE orders ADD COLUMN twice integer GENERATED ALWAYS AS (id * 2) STORED")
    conn.execute("INSERT INTO orders VALUES (1)")
    assert (await jobs(chancy_app))[0].kwargs == {"rows": [{"id": 1, "status": "new", "twice": 2}]}
    conn.execute("ALTER TABLE orders DROP COLUMN twice, DROP COLUMN id, DROP COLUMN status")
    conn.execute("INSERT INTO orders DEFAULT VALUES")
    assert (await jobs(chancy_app))[1].kwargs == {"rows": [{}]}


async def test_an_installation_elsewhere(chancy_dsn: str, conn: psycopg.Connection):
    """Two installations watch one table, and do not meet."""
    async with (
        Chancy(chancy_dsn) as usual,
        Chancy(chancy_dsn, schema="acme", prefix="jobs_") as other,
    ):
        await other.migrate()
        for chancy, rows in ((usual, 1), (other, 2)):
            await Trigger(chancy).declare("orders", "orders", job=note, rows=rows)
        conn.execute("INSERT INTO orders VALUES (1), (2), (3)")
        for chancy, rows in ((usual, 1), (other, 2)):
            assert [len(job.kwargs["rows"]) for job in await jobs(chancy)] == [rows]
        await Trigger(other).delete("orders")
        conn.execute("INSERT INTO orders VALUES (4)")
        assert [len(await jobs(chancy)) for chancy in (usual, other)] == [2, 1]


async def test_without_the_migration_line_tables_are_as_before(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note)
    await chancy_app.migrate(to={"trigger": 0})
    count = conn.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchone()
    assert count == (0,)
    conn.execute("INSERT INTO orders VALUES (1)")
    await chancy_app.migrate()
    assert await trigger.triggers() == []


async def test_a_job_by_name_is_taken_as_it_is(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    asked = Job("elsewhere.f", kwargs={"city": "Oslo"}, queue="o", priority=3, meta={"a": 1})
    await trigger.declare("orders", "orders", job=asked, rows=1, columns=["id"])
    conn.execute("INSERT INTO orders VALUES (1)")
    (pushed,) = await jobs(chancy_app)
    assert pushed.kwargs == {"city": "Oslo", "rows": [{"id": 1}]}
    assert (pushed.func, pushed.queue, pushed.priority) == ("elsewhere.f", "o", 3)
    assert pushed.meta["a"] == 1
