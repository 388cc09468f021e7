"""Each threat to the promise is really made, and found."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import anyio
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from chancy import Chancy, Job, JobFilter, Queue, Worker, job
from chancy_core.diagnosis import Finding, diagnose, fleet, server
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
    others = (
        "migration",
        "cron",
        "metric",
        "leader",
        "retention",
        "ageing",
        "trigger",
        "workflow",
    )  # the tables of migrating, and of plugins
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


async def tell_faults(chancy: Chancy, name: str, **told: object) -> None:
    """Have a worker whose plugin has failed."""
    worker, fault = uuid4(), {"plugin": "acme", "origin": "chancy-acme 1.0", "said": "Harm: no"}
    known = {"name": name, "hostname": "h", "pid": 1, "tags": ["*"], "lease": 60.0}
    await chancy.store.run(statements.announce(chancy.names, worker, **known))
    text = json.dumps([fault | told])
    await chancy.store.run(statements.renew(chancy.names, worker, 60.0, faults=text))


async def test_plugins_that_have_failed_in_workers(chancy: Chancy) -> None:
    hook = {"hook": "chancy_job_context"}
    await tell_faults(chancy, "one", **hook, times=1_000, ago=1800.0)
    await tell_faults(chancy, "two", **hook, times=234, ago=20.0)
    finding = (await wrong(chancy))["plugins"]
    says = "acme (chancy-acme 1.0): chancy_job_context has failed 1,234 times on one, two, last 20"
    assert finding.says.startswith(says)
    assert finding.says.endswith(" s ago: Harm: no")
    assert finding.remedy is not None
    assert "CHANCY_DISABLED_PLUGINS=chancy.plugins:acme" in finding.remedy


async def test_what_a_plugin_did_long_ago_is_noted_and_no_more(chancy: Chancy) -> None:
    await tell_faults(chancy, "one", hook="chancy_configure", times=1, ago=7200.0)
    assert await wrong(chancy) == {}
    assert any("chancy_configure has failed 1 times on one" in note for note in await noted(chancy))


async def test_a_service_that_cannot_do_its_work(chancy: Chancy) -> None:
    await tell_faults(chancy, "one", hook="its service 'acme'", times=0, ago=0.0)
    says = (await wrong(chancy))["plugins"].says
    assert says == "acme (chancy-acme 1.0): its service 'acme' cannot do its work on one: Harm: no"


async def test_of_many_faults_some_are_told(
    chancy: Chancy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "FAULTS", 2)
    for number, ago in enumerate((3.0, 1.0, 2.0)):
        await tell_faults(chancy, "one", hook=f"chancy_{number}", times=1, ago=ago)
    found = [f.says for f in await diagnose(chancy) if f.what == "plugins"]
    assert ["chancy_1" in found[0], "chancy_2" in found[1], len(found)] == [True, True, 2]


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


@job(name="diagnosed.known")
async def known() -> None: ...


async def test_functions_that_workers_do_not_know(chancy: Chancy, dsn: str) -> None:
    await chancy.declare(Queue("mail", executor="async"))
    gone = [Job("acme.gone", queue="mail") for _ in range(2)]
    newer = Job(known.name, queue="mail", version=7)
    async with Worker(chancy, name="alpha") as worker:
        with worker.events.subscribe("job.settled") as settled:
            await chancy.push_many([*gone, newer, known.options(queue="mail").bind()])
            for _ in range(4):
                await settled.next(timeout=20)
        told = await unknown(chancy)
        assert [(ok, says.partition(", the first of ")[0]) for ok, says in told] == [
            (False, "2 jobs of 'mail'"),
            (False, "1 jobs of 'mail'"),
        ]
        first, second = (says.partition(" UTC, ")[2] for _, says in told)
        assert first.startswith("call 'acme.gone'; refused by alpha: no function is registered")
        assert second.startswith(
            "call 'diagnosed.known' with arguments of version 7; refused by alpha: diagnosed.known "
            "takes arguments up to version 1 here"
        )
        await tell(chancy, "kept to others", settings={"queues": ["q"]})
        assert [ok for ok, _ in await unknown(chancy)] == [False, False]
        # Somebody has not been asked yet, as while a release goes out: then it is only noted.
        await tell(chancy, "beta")
        assert [ok for ok, _ in await unknown(chancy)] == [None, None]
        async with superuser(dsn) as conn:
            await conn.execute(
                "UPDATE chancy_jobs SET errors = jsonb_path_query_array("
                "'[1, 2, 3, 4, 5]', '$[*]') || errors WHERE func = 'acme.gone'"
            )
        assert [ok for ok, _ in await unknown(chancy)] == [False, None]
    async with superuser(dsn) as conn:  # they have come due, and nobody is there any more
        await conn.execute("DELETE FROM chancy_workers")
        await conn.execute("UPDATE chancy_jobs SET state = 'pending' WHERE func = 'acme.gone'")
    assert [ok for ok, _ in await unknown(chancy)] == [False, False]
    await chancy.retry_jobs(JobFilter(queue="mail"))
    await chancy.cancel_jobs(JobFilter(queue="mail"))
    assert await unknown(chancy) == []


async def unknown(chancy: Chancy) -> list[tuple[bool | None, str]]:
    """What is found of functions that workers do not know."""
    return [(f.ok, f.says) for f in await diagnose(chancy) if f.what == "functions"]


@pytest.mark.parametrize(
    "errors",
    ["{}", "[]", "[1]", '"x"', "null", '[{"kind": 7}]', '[{"kind": "unknown-function"}]'],
)
async def test_nonsense_in_the_errors_of_a_job_keeps_nobody_from_looking(
    chancy: Chancy, dsn: str, errors: str
) -> None:
    await chancy.push(Job("f", queue="mail"))
    async with superuser(dsn) as conn:
        await conn.execute("UPDATE chancy_jobs SET errors = %s::jsonb", [errors])
    told = await unknown(chancy)
    assert len(told) == ("unknown" in errors)
    assert all("refused by somebody" in says for _, says in told)
