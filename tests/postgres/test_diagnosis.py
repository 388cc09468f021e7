"""Each threat to the promise is really made, and found."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import anyio
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chancy import Chancy, Job, Queue, Worker
from chancy_core.diagnosis import Finding, diagnose, server
from chancy_core.migrate import Line
from chancy_core.postgres import Connection
from chancy_core.store import statements
from chancy_core.store.standing import INDEXES
from tests.postgres.proxy import Proxy, Upstream, proxied


@pytest.fixture
async def chancy(dsn: str) -> AsyncIterator[Chancy]:
    async with Chancy(dsn) as chancy:
        yield chancy


@asynccontextmanager
async def superuser(dsn: str) -> AsyncIterator[Connection]:
    async with await Connection.connect(dsn, autocommit=True) as conn:
        yield conn


async def wrong(chancy: Chancy) -> dict[str, Finding]:
    """What is not as it should be, by what it is about."""
    return {found.what: found for found in await diagnose(chancy) if found.ok is False}


async def noted(chancy: Chancy) -> list[str]:
    return [found.says for found in await diagnose(chancy) if found.ok is None]


async def test_a_sound_installation_has_nothing_wrong(chancy: Chancy, dsn: str) -> None:
    async with superuser(dsn) as conn:
        row = await (await conn.execute("SHOW fsync")).fetchone()
    async with Worker(chancy):
        found = await diagnose(chancy)
    told = {finding.what for finding in found if finding.ok}
    assert told == {"schema", "server", "notifications", "indexes", "workers"}
    notes = [finding.says for finding in found if not finding.ok]
    assert any("fsync is off" in note for note in notes) is (row == ("off",))
    assert all(" is off: a crash " in note for note in notes)


async def test_a_schema_that_is_too_old_or_too_new(chancy: Chancy, dsn: str) -> None:
    async with superuser(dsn) as conn:
        await conn.execute(
            "INSERT INTO chancy_migrations (line, version, name, oldest) "
            "VALUES ('core', %(next)s, 'of the future', %(next)s)",
            {"next": Line.from_package("core", "chancy_core.migrations").newest + 1},
        )
        assert "install a newer version" in (await wrong(chancy))["schema"].says
        await conn.execute("DELETE FROM chancy_migrations WHERE version > 1")
        assert "chancy migrate" in (await wrong(chancy))["schema"].says


async def test_the_indexes_are_those_that_the_migrations_make(chancy: Chancy) -> None:
    found = await chancy.store.run(statements.indexes(chancy.names))
    others = ("migration", "cron", "workflow")  # the tables of migrating, and of plugins
    ours = {b.index for b in found if not b.index.table.startswith(others)}
    assert {i for i in ours if not i.table.startswith("history_")} == INDEXES


@pytest.mark.parametrize("index", sorted(INDEXES, key=str), ids=str)
async def test_a_missing_index_is_told_with_what_makes_it(dsn: str, index: object) -> None:
    async with Chancy(dsn) as chancy, superuser(dsn) as conn:
        built = await chancy.store.run(statements.indexes(chancy.names))
        (name,) = [b.name for b in built if b.index == index]
        if index.kind == "primary":
            await conn.execute(f"ALTER TABLE chancy_{index.table} DROP CONSTRAINT {name}")
        else:
            await conn.execute(f"DROP INDEX {name}")
        finding = (await wrong(chancy))["indexes"]
        assert finding.says == f"missing: {index}"
        await conn.execute(finding.remedy)
        assert await wrong(chancy) == {}


async def test_an_index_that_is_not_valid(chancy: Chancy, dsn: str) -> None:
    async with superuser(dsn) as conn:
        await conn.execute(
            "UPDATE pg_index SET indisvalid = false "
            "WHERE indexrelid = 'chancy_jobs_unique_key_idx'::regclass"
        )
        finding = (await wrong(chancy))["indexes"]
        assert "chancy_jobs_unique_key_idx on chancy_jobs is not valid" in finding.says
        await conn.execute(finding.remedy)
        assert await wrong(chancy) == {}


async def test_what_a_reindex_that_was_cut_off_leaves(chancy: Chancy, dsn: str) -> None:
    async with superuser(dsn) as holder, superuser(dsn) as conn:
        async with holder.transaction():
            await holder.execute("LOCK TABLE chancy_jobs IN ROW EXCLUSIVE MODE")
            await conn.execute("SET statement_timeout = '300ms'")
            with pytest.raises(psycopg.errors.QueryCanceled):
                await conn.execute("REINDEX INDEX CONCURRENTLY chancy_jobs_unique_key_idx")
            await conn.execute("SET statement_timeout = 0")
        finding = (await wrong(chancy))["indexes"]
        assert "chancy_jobs_unique_key_idx_ccnew on chancy_jobs is not valid" in finding.says
        await conn.execute(finding.remedy)
        assert await wrong(chancy) == {}


async def test_a_transaction_that_pins_the_horizon(
    chancy: Chancy, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder = await Connection.connect(dsn, application_name="a report")
    async with holder, holder.transaction():
        await holder.execute("SELECT txid_current()")
        assert "horizon" not in await wrong(chancy)  # it has only just begun
        monkeypatch.setattr(server, "PINNED", 0.0)
        finding = (await wrong(chancy))["horizon"]
        assert f"pid {holder.info.backend_pid}" in finding.says
    assert "application a report, idle in transaction" in finding.says


async def test_a_session_that_we_may_not_see_is_no_failure(
    chancy: Chancy, dsn: str, server: str
) -> None:
    user = f"looker_{uuid4().hex}"
    async with superuser(dsn) as conn:
        await conn.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
        try:
            await conn.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")
            await conn.execute(f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {user}")
            await conn.execute(f"REVOKE SELECT ON chancy_jobs FROM {user}")
            async with Chancy(make_conninfo(dsn, user=user, password="secret")) as humble:
                assert await wrong(humble) == {}
                notes = await noted(humble)
        finally:
            await conn.execute(f"DROP OWNED BY {user}")
            await conn.execute(f"DROP ROLE {user}")
    assert any("does not see the sessions of others" in note for note in notes)
    assert any("permission denied for table chancy_jobs" in note for note in notes)


class Deaf(Proxy):
    """A pooler that forgets who listens: no notification comes through."""

    async def _pump(self, source, sink, scope) -> None:
        if not isinstance(source, Upstream):
            await super()._pump(source, sink, scope)
            return
        left = b""
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for data in source:
                left += data
                while len(left) >= 5 and len(left) > (size := int.from_bytes(left[1:5])):
                    message, left = left[: size + 1], left[size + 1 :]
                    if message[:1] != b"A":
                        await sink.send(message)
        scope.cancel()


async def test_a_pooler_that_eats_notifications(chancy: Chancy, dsn: str) -> None:
    async with proxied(dsn, Deaf) as deaf:
        async with Chancy(dsn, listen_dsn=deaf.dsn) as eaten:
            assert "forgets who listens" in (await wrong(eaten))["notifications"].says
        async with Chancy(deaf.dsn, listen_dsn=dsn) as heard:
            assert await wrong(heard) == {}
    nobody = make_conninfo(dsn, host="127.0.0.1", port=1)
    async with Chancy(dsn, listen_dsn=nobody) as cut_off:
        assert "nobody can listen" in (await wrong(cut_off))["notifications"].says
    async with Chancy(dsn, notifications=False) as silent:
        assert any("polling interval" in note for note in await noted(silent))


async def test_a_database_that_takes_no_writes(dsn: str) -> None:
    async with superuser(dsn) as conn:
        await conn.execute(
            f'ALTER DATABASE "{conn.info.dbname}" SET default_transaction_read_only = on'
        )
    async with Chancy(dsn) as chancy:
        assert "read only" in (await wrong(chancy))["server"].says


async def test_what_a_crash_may_lose_is_noted(dsn: str) -> None:
    async with Chancy(make_conninfo(dsn, options="-c synchronous_commit=off")) as chancy:
        assert any("synchronous_commit is off" in note for note in await noted(chancy))


async def test_a_day_without_a_partition(chancy: Chancy, dsn: str) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    async with superuser(dsn) as conn:
        await conn.execute(f"DROP TABLE chancy_history_{tomorrow:%Y%m%d}")
        finding = (await wrong(chancy))["history"]
        assert f"no partition for {tomorrow:%Y-%m-%d}:" in finding.says
        await conn.execute("SELECT chancy_ensure_partitions()")
        assert await wrong(chancy) == {}


async def tell(chancy: Chancy, name: str, **told: object) -> None:
    """Have a row of a worker that is alive."""
    known = {"hostname": "h", "pid": 1, "tags": ["*"], "lease": 60.0} | told
    await chancy.store.run(statements.announce(chancy.names, uuid4(), name=name, **known))


async def test_workers_that_disagree(chancy: Chancy) -> None:
    same = {"crash_limit": 3, "lease": 10.0, "notifications": True}
    await tell(chancy, "before")  # one of the release that told nothing
    await tell(chancy, "one", version="1", settings=same)
    await tell(chancy, "two", version="1", settings=same | {"queues": ["mail"]})
    assert await wrong(chancy) == {}
    await tell(chancy, "other", version="2", settings=same | {"crash_limit": 5})
    says = "they disagree about crash_limit: 3 (one, two); 5 (other)"
    assert (await wrong(chancy))["workers"].says == says
    versions = "their versions differ: 1 (one, two); 2 (other); unknown (before)"
    assert versions in await noted(chancy)


@pytest.mark.parametrize(
    ("by", "says"), [(3600, "3,600 s ahead of the"), (-86400, "86,400 s behind the")]
)
async def test_a_clock_that_is_off(chancy: Chancy, by: float, says: str) -> None:
    await tell(chancy, "right", clock=time.time() + 1)
    assert await wrong(chancy) == {}
    await tell(chancy, "wrong", clock=time.time() + by)
    finding = (await wrong(chancy))["clocks"]
    assert "worker wrong on h" in finding.says
    assert says in finding.says


async def test_jobs_that_were_set_aside(chancy: Chancy, dsn: str) -> None:
    await chancy.declare(Queue("mail"))
    dead = uuid4()
    await chancy.push_many(Job("f", queue="mail", at_most_once=n == 0) for n in range(3))
    async with superuser(dsn) as conn:
        await conn.execute(
            "UPDATE chancy_jobs SET state = 'running', worker = %s, lease_id = %s", [dead, dead]
        )
    await chancy.store.run(statements.rescue(chancy.names, 1, 10))
    found = [f for f in await diagnose(chancy) if f.what == "jobs"]
    assert [f.ok for f in found] == [False, False]
    assert [f.says.partition(":")[0] for f in found] == [
        "1 of 'mail' are lost",
        "2 of 'mail' are quarantined",
    ]
    assert found[1].remedy is not None
    assert "--state quarantined --queue mail" in found[1].remedy


async def test_jobs_that_nobody_alive_takes(chancy: Chancy) -> None:
    await chancy.declare(Queue("gpu", tags={"has=gpu"}))
    await chancy.declare(Queue("mail"))
    for queue in ("gpu", "mail", "nowhere"):
        await chancy.push(Job("f", queue=queue))
    await tell(chancy, "w", settings={"queues": ["gpu", "nowhere"]})
    assert await taken(chancy) == {"gpu": False, "mail": False, "nowhere": False}
    await tell(chancy, "for mail", settings={"queues": ["mail"]})
    await tell(chancy, "with a gpu", tags=["*", "has=gpu"])
    assert await taken(chancy) == {"gpu": True, "mail": True, "nowhere": False}
    await chancy.pause_queue("mail")
    assert await taken(chancy) == {"gpu": True, "mail": None, "nowhere": False}


async def taken(chancy: Chancy) -> dict[str, bool | None]:
    """Whether somebody takes the jobs of each queue that has some."""
    found = [f for f in await diagnose(chancy) if f.what == "jobs"]
    return {f.says.split("'")[1]: f.ok for f in found}
