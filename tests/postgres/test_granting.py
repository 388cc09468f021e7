"""The script that makes the roles: by whom, run again, with which names; migrations after it."""

import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chancy_core.errors import InvalidValue, MigrationError
from chancy_core.migrate import Line, Migration, Migrator, Right
from chancy_core.postgres import Connection
from chancy_core.roles import Roles
from chancy_core.statement import Names
from tests.roles import CORE, create, drop, granted, login

LINE = {
    "0001_mail.up.sql": (
        "-- chancy: oldest 1\n"
        "CREATE TABLE {mail} (id serial, day date) PARTITION BY RANGE (day);\n"
        "CREATE SEQUENCE {stamp};\n"
    ),
    "0001_mail.down.sql": "DROP SEQUENCE {stamp};\nDROP TABLE {mail};\n",
}
NEWER = LINE | {
    "0002_more.up.sql": (
        "-- chancy: oldest 1\nALTER TABLE {mail} ADD COLUMN text text;\n"
        "CREATE TABLE {letter} (id integer);\nCREATE FUNCTION {post}() RETURNS integer "
        "LANGUAGE sql AS 'SELECT 1';\nALTER TABLE {history} ADD COLUMN more integer;\n"
    ),
    "0002_more.down.sql": (
        "ALTER TABLE {history} DROP COLUMN more;\nDROP FUNCTION {post}();\nDROP TABLE {letter};\n"
        "ALTER TABLE {mail} DROP COLUMN text;\n"
    ),
    "0003_index.up.sql": (
        "-- chancy: oldest 1\n-- chancy: no-transaction\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS letters ON {letter} (id);\n"
    ),
    "0003_index.down.sql": "DROP INDEX {schema}.letters;\n",
}
OWNERS = """
SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
 WHERE relnamespace = to_regnamespace(%(schema)s) AND relname LIKE %(prefix)s || '%%'
 UNION
SELECT DISTINCT pg_get_userbyid(proowner) FROM pg_proc
 WHERE pronamespace = to_regnamespace(%(schema)s) AND proname LIKE %(prefix)s || '%%'"""


def migrator(names: Names, mail: dict[str, str] = LINE) -> Migrator:
    return Migrator(names, {"core": CORE, "mail": Line.from_files("mail", mail)})


def migrations(mail: dict[str, str]) -> tuple[Migration, ...]:
    return Line.from_files("mail", mail).migrations


async def migrate(dsn: str, migrator: Migrator, to: dict[str, int] | None = None) -> None:
    async with await Connection.connect(dsn, autocommit=True) as conn:
        await migrator.migrate(conn, to)


def owners(dsn: str, names: Names) -> set[str]:
    with psycopg.connect(dsn) as conn:
        found = conn.execute(OWNERS, {"schema": names.schema, "prefix": names.prefix})
        return {row[0] for row in found}


@pytest.mark.parametrize("names", [Names(), Names(schema="work", prefix="x_")], ids=str)
async def test_all_that_is_ours_belongs_to_the_owner_whoever_migrates(
    empty_dsn: str, names: Names
) -> None:
    await migrate(empty_dsn, migrator(names))
    with granted(empty_dsn, names, migrations(NEWER)) as made:
        ours = {made.roles["owner"]}
        assert owners(empty_dsn, names) == ours
        newer = migrator(names, NEWER)
        for who in (made["migrate"], empty_dsn):
            await migrate(who, newer)
            assert owners(empty_dsn, names) == ours
            made.grant(who)  # it can be run again, and by that role
            await migrate(who, newer, {"mail": 1})
        await migrate(made["migrate"], newer, {"mail": 0, "core": 0})
        with psycopg.connect(empty_dsn) as conn:
            left = "SELECT relname FROM pg_class WHERE starts_with(relname, %s)"
            assert conn.execute(left, [names.prefix]).fetchall() == []


async def test_the_script_of_a_migration_is_run_by_the_migrating_role(empty_dsn: str) -> None:
    names = Names()
    await migrate(empty_dsn, migrator(names))
    with granted(empty_dsn, names, migrations(LINE)) as made:
        newer = migrator(names, NEWER)
        script = newer.script({"mail": 2}, since={"core": CORE.newest, "mail": 1})
        with psycopg.connect(made["migrate"], autocommit=True) as conn:
            for part in script.split("\n\n"):
                conn.execute(part.encode())
        assert owners(empty_dsn, names) == {made.roles["owner"]}
        async with await Connection.connect(empty_dsn, autocommit=True) as conn:
            assert [str(step) for step in await newer.plan(conn)] == ["mail 0003_index up"]


async def test_who_may_not_migrate_may_find_that_there_is_nothing_to_do(empty_dsn: str) -> None:
    names = Names()
    await migrate(empty_dsn, migrator(names))
    with granted(empty_dsn, names, migrations(LINE)) as made:
        for role in ("push", "work", "look"):
            await migrate(made[role], migrator(names))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await migrate(made[role], migrator(names, NEWER))


async def test_what_was_granted_besides_is_taken_back(empty_dsn: str) -> None:
    await migrate(empty_dsn, migrator(Names()))
    with granted(empty_dsn) as made, psycopg.connect(empty_dsn, autocommit=True) as conn:
        work = made.roles["work"]
        conn.execute(f"GRANT UPDATE (args), TRUNCATE ON chancy_jobs TO {work}")
        conn.execute("GRANT ALL ON chancy_history, chancy_jobs TO PUBLIC")
        made.grant()
        with psycopg.connect(made["work"], autocommit=True) as theirs:
            for text in ("UPDATE chancy_jobs SET args = '{}'", "TRUNCATE chancy_jobs"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    theirs.execute(text)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                theirs.execute("DELETE FROM chancy_history")


async def test_a_role_that_may_create_roles_is_enough(empty_dsn: str, server: str) -> None:
    """It need be no superuser: the tables are its own, and so is the schema."""
    names, owner = Names(schema="work"), f"t{uuid.uuid4().hex}"
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        create(conn, owner)
        try:
            conn.execute(f"ALTER ROLE {owner} CREATEROLE")
            conn.execute(f"GRANT CREATE ON DATABASE {conn.info.dbname} TO {owner}")
            theirs = login(empty_dsn, owner)
            await migrate(theirs, migrator(names))
            with granted(empty_dsn, names, migrations(LINE), granter=theirs) as made:
                assert owners(empty_dsn, names) == {made.roles["owner"]}
                made.grant(theirs)
        finally:
            drop(conn, owner)


HOSTILE = [
    "",
    "Acme_",
    "a b",
    'a"; DROP TABLE x; --',
    "$roles$",
    "a'",
    "é",
    "1a",
    "a\0",
    "a\n",
]


@pytest.mark.parametrize("name", [*HOSTILE, "a" * 31, None, 1, b"a"])
@pytest.mark.parametrize(
    "make",
    [
        lambda name: Names(schema=name),
        lambda name: Names(prefix=name),
        lambda name: Roles(Names(), name),
    ],
    ids=["schema", "prefix", "roles"],
)
def test_names_that_are_none_are_refused(make: Callable[[Any], object], name: Any) -> None:
    with pytest.raises(InvalidValue, match=r"(schema|prefix) must be 1 to 30 lower-case letters"):
        make(name)


def test_names_of_postgresqls_own_are_refused() -> None:
    with pytest.raises(InvalidValue, match="PostgreSQL's own: 'pg_'"):
        Roles(Names(), "pg_")


@given(st.text() | st.from_regex(r"[a-z_][a-z0-9_]{0,30}\n?"))
def test_whatever_name_is_taken_needs_no_quoting(prefix: str) -> None:
    try:
        script = Roles(Names(), prefix).script([])
    except InvalidValue:
        return
    assert f'CREATE ROLE "{prefix}owner" NOLOGIN;' in script
    assert prefix.isascii()
    assert not {"'", '"', "$", "\\", ";", " "} & set(prefix)


LETTERS = {
    "0001_letters.up.sql": (
        "-- chancy: oldest 1\n"
        "-- chancy: grant work SELECT, INSERT, UPDATE (sent, tries) ON {letters}\n"
        "-- chancy: grant push EXECUTE ON {post}(integer)\n"
        "CREATE TABLE {letters} (id integer, sent boolean, tries integer);\n"
        "CREATE FUNCTION {post}(i integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';\n"
    ),
    "0001_letters.down.sql": "DROP FUNCTION {post}(integer);\nDROP TABLE {letters};\n",
}


async def test_a_migration_says_who_may_use_what_it_makes(empty_dsn: str) -> None:
    await migrate(empty_dsn, migrator(Names(), LETTERS))
    with granted(empty_dsn, Names(), migrations(LETTERS)) as made:
        for who, text, may in (
            ("work", "SELECT * FROM chancy_letters", True),
            ("work", "INSERT INTO chancy_letters (id) VALUES (1)", True),
            ("work", "UPDATE chancy_letters SET sent = true", True),
            ("work", "UPDATE chancy_letters SET id = 2", False),
            ("work", "DELETE FROM chancy_letters", False),
            ("look", "SELECT * FROM chancy_letters", False),
            ("push", "SELECT chancy_post(1)", True),
            ("look", "SELECT chancy_post(1)", False),
        ):
            with psycopg.connect(made[who], autocommit=True) as conn:
                try:
                    conn.execute(text.encode())
                except psycopg.errors.InsufficientPrivilege:
                    assert not may, (who, text)
                else:
                    assert may, (who, text)


def test_rights_are_read() -> None:
    (step,) = migrations(LETTERS)
    assert step.rights == (
        Right("work", "SELECT", "letters", ""),
        Right("work", "INSERT", "letters", ""),
        Right("work", "UPDATE", "letters", "sent tries"),
        Right("push", "EXECUTE", "post(integer)", ""),
    )


@pytest.mark.parametrize(
    "directive",
    [
        "grant work SELECT ON letters",
        "grant owner SELECT ON {letters}",
        "grant work SELECT, ON {letters}",
        "grant work SELECT (id ON {letters}",
        "grant work TRUNCATE ON {letters}",
        "grant work select ON {letters}",
        "grant work SELECT ON {letters} TO public",
        "grant work SELECT (id); DROP TABLE x ON {letters}",
    ],
)
def test_a_right_that_makes_no_sense_is_refused(directive: str) -> None:
    head = f"-- chancy: oldest 1\n-- chancy: {directive}\n"
    with pytest.raises(MigrationError, match="grant work SELECT"):
        Line.from_files("mail", {"0001_x.up.sql": head, "0001_x.down.sql": ""})
