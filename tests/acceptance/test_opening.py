"""Which database a `Chancy` opens, and what it says when there is none."""

from urllib.parse import quote

import pytest
from psycopg.conninfo import conninfo_to_dict

from chancy import Chancy
from chancy_core import app, embedded
from chancy_core.errors import ChancyError, InvalidValue, PoolExhausted

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def join() -> None:
        raise AssertionError("an embedded server was to be started")

    monkeypatch.setattr(embedded, "join", join)
    monkeypatch.delenv("CHANCY_DSN", raising=False)
    monkeypatch.delenv("DATABASE_URL", raising=False)


async def database_of(chancy: Chancy) -> str:
    async with chancy, chancy.store.pool.connection() as conn:
        row = await (await conn.execute("SELECT current_database()")).fetchone()
        assert row is not None
        return str(row[0])


async def test_the_argument_comes_before_the_environment(empty_dsn, monkeypatch):
    monkeypatch.setenv("CHANCY_DSN", "host=nowhere.invalid")
    monkeypatch.setenv("DATABASE_URL", "host=nowhere.invalid")
    assert await database_of(Chancy(empty_dsn)) == conninfo_to_dict(empty_dsn)["dbname"]


async def test_chancy_dsn_comes_before_database_url(empty_dsn, monkeypatch):
    monkeypatch.setenv("CHANCY_DSN", empty_dsn)
    monkeypatch.setenv("DATABASE_URL", "host=nowhere.invalid")
    assert await database_of(Chancy()) == conninfo_to_dict(empty_dsn)["dbname"]


async def test_database_url_serves_where_nothing_else_is_given(empty_dsn, monkeypatch):
    parts = conninfo_to_dict(empty_dsn)
    host = quote(str(parts["host"]), safe="")
    url = f"postgresql://{parts['user']}@{host}:{parts['port']}/{parts['dbname']}"
    monkeypatch.setenv("DATABASE_URL", url)
    assert await database_of(Chancy()) == parts["dbname"]


async def test_an_entry_of_djangos_databases_is_a_dsn(empty_dsn):
    parts = conninfo_to_dict(empty_dsn)
    entry = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts["dbname"],
        "USER": parts["user"],
        "HOST": parts["host"],
        "PORT": parts["port"],
    }
    assert await database_of(Chancy(entry)) == parts["dbname"]
    with pytest.raises(InvalidValue, match="sqlite3"):
        await Chancy(entry | {"ENGINE": "django.db.backends.sqlite3"}).__aenter__()


async def test_without_any_an_embedded_server_is_joined_and_let_go(empty_dsn, monkeypatch):
    let_go = []

    class Lease:
        dsn = empty_dsn

        def close(self) -> None:
            let_go.append(self)

    monkeypatch.setattr(embedded, "join", Lease)
    assert await database_of(Chancy()) == conninfo_to_dict(empty_dsn)["dbname"]
    assert len(let_go) == 1


async def test_a_database_that_is_not_there_is_told_in_the_servers_words(empty_dsn, monkeypatch):
    monkeypatch.setattr(app, "OPENING", 0.5)
    with pytest.raises(PoolExhausted, match='database "nowhere" does not exist'):
        await Chancy(f"{empty_dsn} dbname=nowhere").__aenter__()


async def test_it_is_opened_once_at_a_time_and_again_afterwards(empty_dsn):
    chancy = Chancy(empty_dsn)
    async with chancy:
        with pytest.raises(ChancyError, match="open already"):
            await chancy.__aenter__()
    await database_of(chancy)
