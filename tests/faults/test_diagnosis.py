"""What threatens the promise and needs a server of its own to be made: `chancy check` says so."""

from collections.abc import Iterator

import psycopg
import pytest

from chancy import Chancy
from chancy_core.diagnosis import Finding, diagnose, server
from tests.faults.cluster import Cluster, running

pytestmark = pytest.mark.faults

SETTINGS = {"max_prepared_transactions": "2", "max_connections": "20"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(**SETTINGS) as cluster:
        Chancy(cluster.dsn).sync_migrate()
        yield cluster


async def found(cluster: Cluster) -> dict[str, Finding]:
    async with Chancy(cluster.dsn) as chancy:
        return {finding.what: finding for finding in await diagnose(chancy) if not finding.ok}


async def test_a_slot_that_nobody_reads(cluster: Cluster) -> None:
    assert "horizon" not in await found(cluster)
    with psycopg.connect(cluster.dsn, autocommit=True) as conn:
        conn.execute("SELECT pg_create_physical_replication_slot('forgotten', true)")
        finding = (await found(cluster))["horizon"]
        conn.execute("SELECT pg_drop_replication_slot('forgotten')")
    assert finding.ok is False
    assert "forgotten, which nobody reads" in finding.says
    assert finding.remedy is not None
    assert "pg_drop_replication_slot" in finding.remedy


async def test_a_commit_in_two_phases_that_nobody_ends(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(cluster.dsn) as conn:
        conn.execute("SELECT txid_current()")
        conn.execute("PREPARE TRANSACTION 'left alone'")
    assert "horizon" not in await found(cluster)  # it may still be ended
    monkeypatch.setattr(server, "PINNED", 0.0)
    finding = (await found(cluster))["horizon"]
    with psycopg.connect(cluster.dsn, autocommit=True) as conn:
        conn.execute("ROLLBACK PREPARED 'left alone'")
    assert "a prepared transaction keeps dead rows" in finding.says
    assert "left alone, user postgres" in finding.says


async def test_hardly_a_connection_is_left(cluster: Cluster) -> None:
    held = [psycopg.connect(cluster.dsn) for _ in range(17)]
    try:
        finding = (await found(cluster))["server"]
    finally:
        for conn in held:
            conn.close()
    assert finding.ok is None
    assert "of 20 connections are in use" in finding.says


async def test_a_standby_that_is_taken_for_the_primary(cluster: Cluster) -> None:
    with cluster.standby(None, **SETTINGS) as standby:
        finding = (await found(standby))["server"]
        with psycopg.connect(cluster.dsn, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            conn.execute("SELECT pg_reload_conf()")
    assert finding.ok is False
    assert "it is a standby" in finding.says
    assert finding.remedy is not None
    assert "target_session_attrs=read-write" in finding.remedy
