"""Whoever waits for a job is told when it ends, and finds out in any case."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from uuid import uuid4

import anyio
import pytest

from chancy import Chancy, Reference, State, Worker
from chancy_core import waiting
from chancy_core.errors import InvalidValue, JobNotFound
from chancy_core.postgres import Connection, PoolClosed
from tests.postgres.proxy import proxied
from tests.postgres.stores import ended
from tests.stage import Stage, connect, push
from tests.told import claimed, hearing, listening

pytestmark = pytest.mark.anyio


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not told does not find out within a test."""
    monkeypatch.setattr(waiting, "SHORTEST", 60.0)
    monkeypatch.setattr(waiting, "LONGEST", 60.0)
    monkeypatch.setattr(waiting, "DEAF", 60.0)


@asynccontextmanager
async def waiter(chancy: Chancy, *references: Reference) -> AsyncIterator[list[Any]]:
    """Wait in a task of its own, which has ended at the end of the block."""
    found: list[Any] = []

    async def wait() -> None:
        found.extend(await chancy.wait_for_jobs(references, timeout=20))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        yield found


async def until(condition: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)


def hears(chancy: Chancy) -> bool:
    listener = chancy.waits._listener
    return listener is not None and listener.connected


async def backends(conn: Connection[Any], action: str = "pid") -> list[int]:
    """Those that listen for the ends of jobs."""
    cursor = await conn.execute(
        f"SELECT {action} FROM pg_stat_activity WHERE datname = current_database() "
        "AND query ~ '^LISTEN .*!' OR query = 'SELECT pg_catalog.pg_listening_channels()' "
        "AND datname = current_database()"
    )
    return [row[0] for row in await cursor.fetchall()]


async def finish(chancy: Chancy, dsn: str, *, tell: bool) -> None:
    job = await claimed(chancy)
    await chancy.store.settle([ended(job)])
    if tell:
        async with await connect(dsn) as conn:
            await conn.execute(
                "SELECT pg_notify(%s, %s)", [chancy.names.answers, f"job.finished:{job.id}"]
            )


async def test_who_is_told_looks_at_once(chancy: Chancy, dsn: str, slow: None):
    reference, other = await push(chancy, dsn, 2)
    async with waiter(chancy, reference) as found:
        await until(lambda: hears(chancy))
        await finish(chancy, dsn, tell=True)
    assert [job.id for job in found] == [reference.id]
    assert chancy.waits._ears == {}
    assert (await chancy.get_job(other)).state is State.PENDING


async def test_a_worker_tells_whoever_waits(chancy: Chancy, dsn: str, stage: Stage, slow: None):
    (reference,) = await push(chancy, dsn, 1)
    async with hearing(Worker(chancy)):
        await stage.until_begun(1)
        async with waiter(chancy, reference) as found:
            await until(lambda: hears(chancy))
            stage.go.set()
    assert [job.state for job in found] == [State.SUCCEEDED]


async def test_nobody_trusts_what_is_told(chancy: Chancy, dsn: str, slow: None):
    (reference,) = await push(chancy, dsn, 1)
    async with waiter(chancy, reference) as found, await connect(dsn) as conn:
        await until(lambda: hears(chancy))
        for payload in (
            f"job.finished:{reference}",
            "job.finished:no uuid",
            "",
            "\U0001f4a9:",
            ":",
        ):
            await conn.execute("SELECT pg_notify(%s, %s)", [chancy.names.answers, payload])
        await anyio.wait_all_tasks_blocked()
        assert found == []
        await finish(chancy, dsn, tell=True)
    assert len(found) == 1


async def test_a_live_state_can_be_waited_for_too(chancy: Chancy, dsn: str, stage: Stage):
    references = await push(chancy, dsn, 2)
    found: list[Any] = []

    async def wait() -> None:
        found.extend(await chancy.wait_for_jobs(references, timeout=20, states=["running"]))

    async with Worker(chancy):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
        assert [job.id for job in found] == [reference.id for reference in references]
        assert {job.state for job in found} == {State.RUNNING}
        stage.go.set()
        await chancy.wait_for_jobs(references, timeout=20)
    # What has ended will never be in a live state any more.
    ended_ = await chancy.wait_for_job(references[0], timeout=20, states={State.PENDING})
    assert ended_.state is State.SUCCEEDED


async def test_states_that_do_not_exist_are_refused(chancy: Chancy, dsn: str):
    (reference,) = await push(chancy, dsn, 1)
    with pytest.raises(InvalidValue, match=r"'retrying' is not a valid State; there are scheduled"):
        await chancy.wait_for_job(reference, timeout=0.1, states=["retrying"])
    with pytest.raises(InvalidValue, match=r"a collection, such as \['running'\]"):
        await chancy.wait_for_job(reference, timeout=0.1, states="running")


async def test_who_is_told_nothing_finds_out_by_looking(chancy: Chancy, dsn: str):
    (reference,) = await push(chancy, dsn, 1)
    begun = monotonic()
    async with waiter(chancy, reference) as found:
        await until(lambda: hears(chancy))
        await finish(chancy, dsn, tell=False)
    assert len(found) == 1
    assert monotonic() - begun < 5


async def test_a_listener_that_is_cut_off_begins_anew(chancy: Chancy, dsn: str, slow: None):
    (reference,) = await push(chancy, dsn, 1)
    async with waiter(chancy, reference) as found, await connect(dsn) as conn:
        await until(lambda: hears(chancy))
        await finish(chancy, dsn, tell=False)
        await anyio.wait_all_tasks_blocked()
        assert found == []
        # Not told, and looking never: what it may have missed is looked for when it listens again.
        # (Cut off before the end, it might listen again before it, and have missed nothing.)
        assert await backends(conn, "pg_terminate_backend(pid)") == [True]
    assert len(found) == 1


async def test_without_notifications_nobody_listens(dsn: str, chancy: Chancy):
    (reference,) = await push(chancy, dsn, 1)
    async with (
        Chancy(dsn, notifications=False) as deaf,
        listening(dsn) as told,
        waiter(deaf, reference) as found,
    ):
        await until(lambda: deaf.waits._ears)
        await finish(chancy, dsn, tell=False)
        assert not deaf.waits._listening
        assert not [payload for _, payload in await told() if "awaited" in payload]
    assert len(found) == 1


async def test_workers_are_told_who_is_awaited_and_told_again(
    chancy: Chancy, dsn: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(waiting, "AGAIN", 0.05)
    (reference,) = await push(chancy, dsn, 1)
    async with listening(dsn) as told, waiter(chancy, reference):
        heard: list[tuple[str, str]] = []
        with anyio.fail_after(10):
            while heard.count(("", f"job.awaited:{reference}")) < 3:
                heard += await told()
        await finish(chancy, dsn, tell=True)


async def test_a_job_that_has_ended_is_answered_without_a_listener(chancy: Chancy, dsn: str):
    (reference,) = await push(chancy, dsn, 1)
    await finish(chancy, dsn, tell=False)
    assert (await chancy.wait_for_job(str(reference))).state is State.SUCCEEDED
    assert not chancy.waits._listening
    assert await chancy.wait_for_jobs([]) == []


async def test_all_are_awaited_in_their_order_each_once(chancy: Chancy, dsn: str, stage: Stage):
    stage.go.set()
    references = await push(chancy, dsn, 20)
    asked = [*reversed(references), references[0]]
    async with Worker(chancy):
        done = await chancy.wait_for_jobs(asked, timeout=20)
    assert [job.id for job in done] == [reference.id for reference in asked]


async def test_one_that_is_purged_meanwhile_is_not_found(chancy: Chancy, dsn: str):
    (reference,) = await push(chancy, dsn, 1)

    async def purge() -> None:
        await until(lambda: chancy.waits._ears)
        await chancy.purge_jobs([reference])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(purge)
        with pytest.raises(JobNotFound, match=str(reference)):
            await chancy.wait_for_job(reference, timeout=20)
    with pytest.raises(JobNotFound):
        await chancy.wait_for_job(uuid4(), timeout=20)


async def test_waiting_ends_at_its_timeout(chancy: Chancy, dsn: str):
    (reference,) = await push(chancy, dsn, 1)
    with pytest.raises(TimeoutError):
        await chancy.wait_for_job(reference, timeout=0.05)
    assert chancy.waits._ears == {}


async def test_a_database_that_is_away_is_waited_for(chancy: Chancy, dsn: str):
    (reference,) = await push(chancy, dsn, 1)
    async with proxied(dsn) as proxy, Chancy(proxy.dsn) as far, waiter(far, reference) as found:
        await until(lambda: hears(far))
        await proxy.cut()
        await finish(chancy, dsn, tell=False)
    assert len(found) == 1


async def test_nothing_is_left_when_it_closes(dsn: str, chancy: Chancy):
    (reference,) = await push(chancy, dsn, 1)
    closed: list[bool] = []

    async def wait(chancy: Chancy) -> None:
        with pytest.raises(PoolClosed):
            await chancy.wait_for_job(reference)
        closed.append(True)

    async with anyio.create_task_group() as tasks, await connect(dsn) as conn:
        async with Chancy(dsn) as short:
            tasks.start_soon(wait, short)
            await until(lambda: hears(short))
            assert len(await backends(conn)) == 1
        with anyio.fail_after(10):
            while await backends(conn) or not closed:
                await anyio.sleep(0.01)
    assert short._notifier is None


async def test_where_nobody_can_listen_it_is_said_and_polled_for(
    dsn: str, chancy: Chancy, caplog: pytest.LogCaptureFixture
):
    (reference,) = await push(chancy, dsn, 1)
    async with Chancy(dsn, listen_dsn="no dsn at all") as deaf, waiter(deaf, reference) as found:
        await until(lambda: "nobody listens" in caplog.text)
        await finish(chancy, dsn, tell=False)
    assert len(found) == 1
    assert [r.levelno for r in caplog.records if "nobody listens" in r.message] == [logging.ERROR]
