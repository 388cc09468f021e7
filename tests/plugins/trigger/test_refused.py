"""What cannot be watched is refused; rights, errors and nonsense, and whom they harm."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from chancy import Chancy, Job, job
from chancy_core.errors import InvalidValue
from chancy_core.postgres import Connection
from chancy_core.statement import Statement
from chancy_plugins.trigger import Trigger, TriggerNotFound, TriggerRefused, statements

pytestmark = pytest.mark.anyio


@job(name="triggers.refused", queue="q")
async def note(rows: list[dict[str, Any]] | None = None) -> None:
    pass


@job(name="triggers.bare", queue="q")
async def bare() -> None:
    pass


@pytest.fixture
def conn(chancy_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(chancy_dsn, autocommit=True) as conn:
        conn.execute("CREATE TABLE public.orders (id integer PRIMARY KEY, status text)")
        yield conn


@pytest.fixture
def trigger(chancy_app: Chancy, conn: psycopg.Connection) -> Trigger:
    return Trigger(chancy_app)


async def pushed(chancy: Chancy) -> int:
    return len((await chancy.list_jobs()).jobs)


async def sql(chancy: Chancy, text: str, **params: Any) -> list[Any]:
    return await chancy.database.run(Statement.written(text, chancy.names, params, list))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"table": "nowhere"}, "there is no table 'public.nowhere'"),
        ({"schema": "elsewhere"}, "there is no table 'elsewhere.orders'"),
        ({"table": "a_view"}, "'public.a_view' is no table"),
        ({"table": "chancy_jobs"}, "is a table of Chancy's own"),
        ({"table": ""}, "it must have 1 to 63 bytes"),
        ({"name": "x" * 201}, "it must have 1 to 200 bytes"),
        ({"name": "a\0"}, "PostgreSQL stores no NUL"),
        ({"on": []}, "on must be some of INSERT, UPDATE, DELETE, TRUNCATE"),
        ({"on": "SELECT"}, "on must be some of"),
        ({"on": ["INSERT", None]}, "on must be some of"),
        ({"on": 5}, "on must be some of"),
        ({"rows": -1}, "rows must be 0 to 1,000"),
        ({"rows": 1001}, "rows must be 0 to 1,000"),
        ({"rows": True}, "rows must be"),
        ({"rows": 5, "columns": ["id", "price"]}, "has no column 'price'; it has id, status"),
        ({"rows": 5, "columns": []}, "columns must be names"),
        ({"rows": 5, "columns": "id"}, "columns must be names"),
        ({"columns": ["id"]}, "say rows="),
        ({"when": {"price": 1}}, "has no column 'price'"),
        ({"when": {}}, "when must say which columns"),
        ({"when": "id = 5"}, "when must say which columns"),
        ({"when": {"id": float("nan")}}, "nan is no JSON number"),
        ({"when": {"id": 1}, "on": "TRUNCATE"}, "TRUNCATE shows no rows"),
        ({"wake": "now"}, "wake must be 'poll' or 'notify'"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip'"),
        ({"empty": 1}, "empty is a bool"),
        ({"job": "triggers.refused"}, "job must be a Job"),
        ({"job": bare, "rows": 5}, "it has no argument 'rows'"),
        ({"job": Job("f", kwargs={"rows": 1}), "rows": 5}, "are the argument 'rows'"),
    ],
)
async def test_nonsense_is_refused_where_it_is_declared(
    trigger: Trigger, conn: psycopg.Connection, asked: dict[str, Any], said: str
):
    conn.execute("CREATE VIEW a_view AS SELECT 1 AS id")
    given = {"name": "orders", "table": "orders", "job": note} | asked
    with pytest.raises(InvalidValue, match=said):
        await trigger.declare(given.pop("name"), given.pop("table"), **given)
    assert await trigger.triggers() == []


@pytest.mark.parametrize("call", ["delete", "enable", "disable", "trigger"])
async def test_one_that_is_not_there_is_named(trigger: Trigger, call: str):
    with pytest.raises(TriggerNotFound, match="no trigger has the name 'nobody'"):
        await getattr(trigger, call)("nobody")


async def test_what_is_declared_is_listed(trigger: Trigger):
    made = await trigger.declare(
        "orders",
        "orders",
        on=["update", "insert"],
        job=note.bind().options(priority=4),
        rows=10,
        columns=["id"],
        when={"status": "paid"},
        empty=True,
        wake="notify",
        on_error="skip",
        enabled=False,
    )
    assert [made] == await trigger.triggers()
    assert (made.name, made.schema, made.table, made.on) == (
        "orders",
        "public",
        "orders",
        ("INSERT", "UPDATE"),
    )
    assert made.job == Job("triggers.refused", queue="q", priority=4)
    assert (made.rows, made.columns, made.when, made.empty) == (
        10,
        ("id",),
        {"status": "paid"},
        True,
    )
    assert (made.wake, made.on_error, made.enabled, made.problem) == ("notify", "skip", False, None)


async def test_declaring_once_more_changes_it(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", on=["INSERT", "DELETE"], job=note)
    conn.execute("CREATE TABLE others (id integer)")
    await trigger.declare("orders", "orders", on=["INSERT"], job=note)
    conn.execute("INSERT INTO orders VALUES (1)")
    conn.execute("DELETE FROM orders")
    assert await pushed(chancy_app) == 1
    await trigger.declare("orders", "others", on=["INSERT"], job=note)
    conn.execute("INSERT INTO orders VALUES (1)")
    conn.execute("INSERT INTO others VALUES (1)")
    assert await pushed(chancy_app) == 2
    (row,) = conn.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchall()
    assert row == (1,)


async def test_declaring_the_same_takes_no_lock_of_the_table(
    trigger: Trigger, conn: psycopg.Connection, chancy_dsn: str
):
    await trigger.declare("orders", "orders", job=note)
    with psycopg.connect(chancy_dsn) as writer:
        writer.execute("INSERT INTO orders VALUES (1)")
        await trigger.declare("orders", "orders", job=note, rows=5)
        await trigger.disable("orders")
        await trigger.enable("orders")


@pytest.mark.slow
async def test_a_table_that_is_in_use_is_not_waited_for_for_ever(
    trigger: Trigger, conn: psycopg.Connection, chancy_dsn: str, monkeypatch
):
    monkeypatch.setattr(statements, "LOCK_TIMEOUT", "100ms")
    with psycopg.connect(chancy_dsn) as writer:
        writer.execute("INSERT INTO orders VALUES (1)")
        with pytest.raises(TriggerRefused, match="'orders' is in use by others"):
            await trigger.declare("orders", "orders", job=note)
    assert await trigger.triggers() == []


async def test_what_became_of_the_table_is_told(trigger: Trigger, conn: psycopg.Connection):
    conn.execute("CREATE TABLE others (id integer)")
    await trigger.declare("a", "orders", job=note, rows=1, columns=["status"])
    await trigger.declare("b", "others", on="INSERT", job=note)
    conn.execute("CREATE SCHEMA old")
    conn.execute("ALTER TABLE orders RENAME TO sales")
    conn.execute("ALTER TABLE sales SET SCHEMA old")
    moved = await trigger.trigger("a")
    assert (moved.schema, moved.table, moved.problem) == ("old", "sales", None)
    conn.execute("ALTER TABLE old.sales RENAME COLUMN status TO state")
    assert (await trigger.trigger("a")).problem == "its table has no column 'status'"
    conn.execute("ALTER TABLE others DISABLE TRIGGER ALL")
    off = await trigger.trigger("b")
    assert off.problem == "what watches for INSERT is gone from its table, or switched off"
    conn.execute("DROP TABLE others")
    gone = await trigger.trigger("b")
    assert (gone.table, gone.problem) == ("others", "its table is gone")
    await trigger.delete("b")
    assert [one.name for one in await trigger.triggers()] == ["a"]


NONSENSE = [
    '{"queue": "q"}',
    "5",
    "[]",
    '{"func": "f", "priority": "high"}',
    '{"func": "f", "max_attempts": 0}',
    '{"func": "f", "limits": 7}',
    '{"func": "f", "scheduled_at": "never"}',
    '{"func": "f", "unique_key": ""}',
]


@pytest.mark.parametrize("nonsense", NONSENSE)
async def test_nonsense_in_a_row_harms_no_statement(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection, nonsense: str
):
    conn.execute("CREATE TABLE others (id integer)")
    await trigger.declare("orders", "orders", job=note)
    await trigger.declare("others", "others", job=note)
    await sql(
        chancy_app,
        "UPDATE {triggers} SET job = %(job)s::jsonb WHERE name = 'orders' RETURNING id",
        job=nonsense,
    )
    said: list[str] = []
    conn.add_notice_handler(lambda notice: said.append(str(notice.message_primary)))
    conn.execute("INSERT INTO orders VALUES (1)")
    conn.execute("INSERT INTO others VALUES (1)")
    assert conn.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    (job,) = (await chancy_app.list_jobs()).jobs
    assert job.meta["trigger"]["name"] == "others"
    (warning,) = said
    assert warning.startswith("trigger orders of chancy pushes no job: ")
    broken, sound = await trigger.triggers()
    assert "its job makes no sense" in str(broken.problem)
    assert (broken.name, sound.problem) == ("orders", None)
    await trigger.delete("orders")


async def test_a_job_that_cannot_be_pushed_is_an_error_of_the_statement_or_not(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection
):
    await trigger.declare("orders", "orders", job=note)
    conn.execute("ALTER TABLE chancy_jobs RENAME TO hidden")
    with pytest.raises(psycopg.errors.UndefinedTable, match="chancy_jobs"):
        conn.execute("INSERT INTO orders VALUES (1)")
    assert conn.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    conn.execute("UPDATE chancy_triggers SET skip_errors = true")
    conn.execute("INSERT INTO orders VALUES (1)")
    assert conn.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    conn.execute("ALTER TABLE hidden RENAME TO chancy_jobs")
    conn.execute("INSERT INTO orders VALUES (2)")
    assert await pushed(chancy_app) == 1


@pytest.fixture
def role(conn: psycopg.Connection) -> Iterator[str]:
    """A role that may nothing yet."""
    (name,) = conn.execute("SELECT 'r' || substr(md5(random()::text), 1, 12)").fetchone() or ("",)
    conn.execute(f"CREATE ROLE {name} LOGIN")
    yield name
    conn.execute(f"DROP OWNED BY {name} CASCADE")
    conn.execute(f"DROP ROLE {name}")


def as_role(dsn: str, role: str) -> psycopg.Connection:
    conn = psycopg.connect(dsn, autocommit=True)
    conn.execute(f"SET ROLE {role}")
    return conn


async def test_who_writes_the_table_needs_no_right_on_jobs(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection, chancy_dsn: str, role: str
):
    """S1: it needed INSERT on jobs, which is to say any function of the workers'."""
    await trigger.declare("orders", "orders", job=note, rows=5, when={"status": "paid"})
    conn.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO {role}")
    with as_role(chancy_dsn, role) as writer:
        writer.execute("INSERT INTO orders VALUES (1, 'paid'), (2, 'new')")
        for text in (
            "INSERT INTO chancy_jobs DEFAULT VALUES",
            "SELECT * FROM chancy_triggers",
            "UPDATE chancy_triggers SET job = '{}'",
            "SELECT chancy_trigger_fired()",
        ):
            with pytest.raises(psycopg.Error) as refused:
                writer.execute(text.encode())
            assert refused.value.sqlstate in {"42501", "0A000"}
    (job,) = (await chancy_app.list_jobs()).jobs
    assert job.kwargs == {"rows": [{"id": 1, "status": "paid"}]}


async def test_nobody_has_a_table_of_theirs_push_what_is_declared_for_another(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection, chancy_dsn: str, role: str
):
    await trigger.declare("orders", "orders", job=note)
    conn.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    (id_,) = conn.execute("SELECT id FROM chancy_triggers").fetchone() or (0,)
    make = (
        "CREATE TRIGGER mine AFTER INSERT ON mine REFERENCING NEW TABLE AS changed "
        f"FOR EACH STATEMENT EXECUTE FUNCTION chancy_trigger_fired({id_})"
    )
    with as_role(chancy_dsn, role) as theirs:
        theirs.execute("CREATE TABLE mine (id integer)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            theirs.execute(make.encode())
        conn.execute(make.encode())  # even so
        theirs.execute("INSERT INTO mine VALUES (1)")
    assert await pushed(chancy_app) == 0


async def test_a_type_of_somebodys_runs_no_code_with_our_rights(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection, chancy_dsn: str, role: str
):
    """`to_jsonb` calls a cast to json, if a type has one: as whoever calls it."""
    conn.execute(f"GRANT CREATE ON SCHEMA public TO {role}")
    with as_role(chancy_dsn, role) as theirs:
        theirs.execute("CREATE TYPE mood AS ENUM ('good', 'bad')")
        theirs.execute(
            "CREATE FUNCTION evil(mood) RETURNS json LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'I am %', current_user; END $$"
        )
        theirs.execute("CREATE CAST (mood AS json) WITH FUNCTION evil(mood)")
        theirs.execute("CREATE DOMAIN positive AS integer CHECK (VALUE > 0)")
        theirs.execute(
            "CREATE TABLE moods (id integer, m mood, many mood[], p positive, n integer[], j jsonb)"
        )
        await trigger.declare("moods", "moods", job=note, rows=5)
        theirs.execute(
            "INSERT INTO moods VALUES (1, 'bad', '{good,bad}', 7, '{1,2}', '{\"a\": [1]}'), "
            "(2, NULL, NULL, NULL, NULL, NULL)"
        )
    (job,) = (await chancy_app.list_jobs()).jobs
    assert job.kwargs["rows"] == [
        {"id": 1, "m": "bad", "many": "{good,bad}", "p": "7", "n": [1, 2], "j": {"a": [1]}},
        {"id": 2, "m": None, "many": None, "p": None, "n": None, "j": None},
    ]


async def test_a_search_path_leads_nowhere(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection, chancy_dsn: str, role: str
):
    """Functions of the writer's, named as ours or as PostgreSQL's, are not called."""
    await trigger.declare("orders", "orders", job=note, rows=1)
    conn.execute(f"GRANT INSERT ON orders TO {role}; CREATE SCHEMA evil AUTHORIZATION {role}")
    with as_role(chancy_dsn, role) as writer:
        for name in ("to_jsonb(anyelement)", "jsonb_agg(anyelement)", "now()"):
            head, _, rest = name.partition("(")
            back = "timestamptz" if head == "now" else "jsonb"
            writer.execute(
                f"CREATE FUNCTION evil.{head}({rest} RETURNS {back} LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'called'; END $$".encode()
            )
        writer.execute("SET search_path = evil, pg_catalog, public")
        writer.execute("INSERT INTO public.orders VALUES (1)")
    assert await pushed(chancy_app) == 1


async def test_a_role_that_may_not_put_triggers_on_a_table_is_told(
    chancy_app: Chancy, conn: psycopg.Connection, chancy_dsn: str, role: str
):
    conn.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON chancy_triggers TO {role}")
    conn.execute(f"GRANT EXECUTE ON FUNCTION chancy_trigger_fired() TO {role}")
    conn.execute(f"ALTER ROLE {role} SUPERUSER")  # to connect as it, wherever the server is
    async with Chancy(f"{chancy_dsn} options='-c role={role}'") as theirs:
        conn.execute(f"ALTER ROLE {role} NOSUPERUSER")
        trigger = Trigger(theirs)
        with pytest.raises(TriggerRefused, match=f"role '{role}' may not put triggers on"):
            await trigger.declare("orders", "orders", job=note)
        conn.execute(f"GRANT TRIGGER ON orders TO {role}")
        await trigger.declare("orders", "orders", job=note)
        conn.execute("INSERT INTO orders VALUES (1)")
        assert await pushed(chancy_app) == 1
        await trigger.declare("orders", "orders", job=note, on="INSERT")
        conn.execute("DELETE FROM orders")  # it may not drop what is there for that
        assert await pushed(chancy_app) == 1
        await trigger.delete("orders")  # nor the rest: all of it does nothing
    conn.execute("INSERT INTO orders VALUES (2)")
    assert await pushed(chancy_app) == 1
    (count,) = conn.execute("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").fetchall()
    assert count == (3,)


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_in_a_transaction_of_the_callers(
    chancy_app: Chancy, trigger: Trigger, conn: psycopg.Connection, chancy_dsn: str, asynchronous
):
    async def answer(made: Any) -> Any:
        return await made if asynchronous else made

    async def connected() -> Any:
        if asynchronous:
            return await Connection.connect(chancy_dsn)  # psycopg's own knows no trio
        return psycopg.connect(chancy_dsn)

    theirs = await connected()
    made = await answer(trigger.declare_ex(theirs, "orders", "orders", job=note, rows=3))
    assert (made.name, made.rows, made.problem) == ("orders", 3, None)
    await answer(theirs.execute("INSERT INTO orders VALUES (1)"))
    await answer(theirs.rollback())
    assert await trigger.triggers() == []
    await answer(trigger.declare_ex(theirs, "orders", "orders", job=note))
    await answer(theirs.commit())
    assert await answer(trigger.disable_ex(theirs, "orders"))
    assert not await answer(trigger.disable_ex(theirs, "orders"))
    assert await answer(trigger.enable_ex(theirs, "orders"))
    await answer(theirs.commit())
    conn.execute("INSERT INTO orders VALUES (1)")
    assert await pushed(chancy_app) == 1
    assert await answer(trigger.delete_ex(theirs, "orders")) is None
    await answer(theirs.commit())
    assert await trigger.triggers() == []
    with pytest.raises(TriggerNotFound):
        await answer(trigger.delete_ex(theirs, "orders"))
    await answer(theirs.rollback())
    with pytest.raises(InvalidValue, match="there is no table"):
        await answer(trigger.declare_ex(theirs, "orders", "nowhere", job=note))
    await answer(theirs.close())
    conn.execute("INSERT INTO orders VALUES (2)")
    assert await pushed(chancy_app) == 1


@job(name="triggers.wants", queue="q")
async def wants(rows: list[dict[str, Any]], city: str) -> None:
    pass


async def test_a_function_that_wants_its_rows(trigger: Trigger):
    with pytest.raises(InvalidValue, match="'city' is missing"):
        await trigger.declare("orders", "orders", job=wants, rows=5)
    asked = wants.template.with_kwargs(city="Oslo")
    with pytest.raises(InvalidValue, match="'rows' is missing"):
        await trigger.declare("orders", "orders", job=asked)
    assert (await trigger.declare("orders", "orders", job=asked, rows=5)).problem is None
