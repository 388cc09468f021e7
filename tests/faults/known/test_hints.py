"""Notifications are hints: forged, malformed or missing, they change nothing."""

import anyio
import psycopg
import pytest

from chancy import State, Worker
from tests.nobody import runs_when_told
from tests.stage import connect, push

pytestmark = [pytest.mark.faults, pytest.mark.anyio]


async def test_a_stranger_can_neither_cancel_nor_silence(chancy, dsn, stage, slow, stranger):
    """W8, s1-notify: bad JSON ended all listeners; a forged `job.cancelled` cancelled a job."""
    (running,) = await push(chancy, dsn, 1)
    async with Worker(chancy), await connect(stranger) as conn:
        await stage.until_begun(1)
        forged = ("x", "{", '{"t": "job.cancelled"}', f"job.cancelled:{running}", "job.cancelled:x")
        for channel in (chancy.names.channel, chancy.names.answers):
            for payload in (*forged, f"job.finished:{running}", "queue.deleted:q"):
                await conn.execute("SELECT pg_notify(%s, %s)", [channel, payload])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await conn.execute("SELECT FROM chancy_jobs")
        stage.go.set()  # and it is not cancelled, but comes to its end
        await runs_when_told(chancy, dsn)
        done = await chancy.wait_for_job(running, timeout=10)
    assert (done.state, done.claims, stage.ended.count(0)) == (State.SUCCEEDED, 1, 2)


async def test_a_listener_that_was_cut_off_listens_again(chancy, dsn, stage, slow):
    """b5-listen: once its connection was terminated, pushes were found after 7 s, by polling."""
    stage.go.set()
    async with Worker(chancy), await connect(dsn) as conn:
        await runs_when_told(chancy, dsn)
        for _ in range(2):
            with anyio.fail_after(10):
                while not await cut_off(conn):  # until it listens: a job may have run before that
                    await anyio.sleep(0.05)
            await runs_when_told(chancy, dsn)


async def cut_off(conn: psycopg.AsyncConnection) -> bool:
    """End the connections that listen, or were just asked whether they do."""
    cursor = await conn.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND (query LIKE 'LISTEN%' OR query LIKE '%pg_listening_channels%')"
    )
    return await cursor.fetchall() != []
