"""Priorities are changed while jobs wait: by reference or filter, by how much or to which."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import anyio
import psycopg
import pytest

from chancy import Chancy, JobFilter
from chancy_core.errors import InvalidValue
from chancy_core.priority import HIGHEST, LOWEST
from chancy_core.store import requests, statements
from tests.stage import connect, push

pytestmark = pytest.mark.anyio


async def priorities(chancy, references) -> list[int]:
    return [(await chancy.get_job(reference)).priority for reference in references]


async def test_what_is_raised_is_claimed_first(chancy, dsn):
    references = await push(chancy, dsn, 5)
    answers = await chancy.reprioritize_jobs([references[3], references[1]], 7)
    assert [(answer.id, answer.done, answer.what) for answer in answers] == [
        (references[3].id, True, "priority 7"),
        (references[1].id, True, "priority 7"),
    ]
    lower = await chancy.reprioritize_jobs([references[0]], by=-1)
    assert [answer.what for answer in lower] == ["priority -1"]
    for expected in (1, 3, 2, 4, 0):  # those that came first go first, as ever
        claim = statements.claim_one(chancy.names, uuid4())
        claimed = await chancy.database.run(claim)
        assert claimed is not None
        assert claimed.job.id == references[expected].id


async def test_answers_are_given_for_each(chancy, dsn):
    later = datetime.now(UTC) + timedelta(hours=1)
    (scheduled,) = await push(chancy, dsn, 1, scheduled_at=later)
    waiting, running, over = await push(chancy, dsn, 3, priority=5)
    await chancy.cancel_job(over)
    async with await connect(dsn) as conn:
        await conn.execute(
            "UPDATE chancy_jobs SET state = 'running', worker = %s, lease_id = %s WHERE id = %s",
            [uuid4(), uuid4(), running.id],
        )
    unknown = uuid4()
    asked = [scheduled, waiting, running, over, unknown]
    answers = await chancy.reprioritize_jobs(asked, by=3)
    assert [(answer.done, answer.what) for answer in answers] == [
        (True, "priority 3"),
        (True, "priority 8"),
        (False, "it is running"),
        (False, "it is cancelled"),
        (False, "there is no such job"),
    ]
    assert [answer.id for answer in answers] == [*(r.id for r in asked[:4]), unknown]


async def test_by_filter_more_than_a_batch(chancy, dsn, monkeypatch):
    monkeypatch.setattr(requests, "BATCH", 10)
    references = await push(chancy, dsn, 35)
    answers = await chancy.reprioritize_jobs(JobFilter(queue="q", state="pending"), by=2)
    assert len(answers) == 35
    assert await priorities(chancy, references) == [2] * 35


async def test_there_is_a_highest_and_a_lowest(chancy, dsn):
    (job,) = await push(chancy, dsn, 1)
    await chancy.reprioritize_jobs([job], HIGHEST - 1)
    assert [a.what for a in await chancy.reprioritize_jobs([job], by=5)] == [f"priority {HIGHEST}"]
    assert await priorities(chancy, [job]) == [HIGHEST]
    await chancy.reprioritize_jobs([job], by=LOWEST - HIGHEST)
    await chancy.reprioritize_jobs([job], by=-5)
    assert await priorities(chancy, [job]) == [LOWEST]


async def test_in_a_transaction_of_the_callers(chancy, dsn):
    references = await push(chancy, dsn, 2)
    async with await connect(dsn) as conn, conn.transaction(force_rollback=True):
        answers = await chancy.reprioritize_jobs_ex(conn, references, 9)
        assert [answer.done for answer in answers] == [True, True]
    assert await priorities(chancy, references) == [0, 0]
    with psycopg.connect(dsn) as sync:
        chancy.reprioritize_jobs_ex(sync, references, by=4)
    assert await priorities(chancy, references) == [4, 4]


async def test_it_waits_for_who_has_a_job_and_a_plugin_does_not(chancy, dsn):
    held, free = await push(chancy, dsn, 2)
    raise_both = chancy.reprioritizing({held.id: 3, free.id: 5}, most=4)
    done = anyio.Event()

    async def change() -> None:
        await chancy.reprioritize_jobs([held], by=1)
        done.set()

    async with (
        await connect(dsn) as conn,
        anyio.create_task_group() as tasks,
        conn.transaction(),
    ):
        await conn.execute("SELECT FROM chancy_jobs WHERE id = %s FOR UPDATE", [held.id])
        assert await chancy.database.run(raise_both) == {free.id: 4}
        tasks.start_soon(change)
        await anyio.sleep(0.3)
        assert not done.is_set()
    assert await priorities(chancy, [held, free]) == [1, 4]


async def test_what_is_added_lowers_none_that_has_more(chancy, dsn):
    (high,) = await push(chancy, dsn, 1, priority=50)
    (low,) = await push(chancy, dsn, 1, priority=8)
    more = chancy.reprioritizing({high.id: 3, low.id: 3}, most=10)
    assert await chancy.database.run(more) == {high.id: 50, low.id: 10}
    less = chancy.reprioritizing({high.id: -60}, most=10)
    assert await chancy.database.run(less) == {high.id: -10}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "say to which priority, or by"),
        ({"priority": 1, "by": 1}, "and not both"),
        ({"priority": HIGHEST + 1}, "priority must be a whole number from -32,768 to 32,767"),
        ({"priority": True}, "priority must be a whole number"),
        ({"priority": "5"}, "priority must be a whole number"),
        ({"by": 0.5}, "by must be a whole number"),
    ],
)
async def test_nonsense_is_refused(chancy: Chancy, asked, said):
    with pytest.raises(InvalidValue, match=said):
        await chancy.reprioritize_jobs([], **asked)


@pytest.mark.parametrize(
    ("more", "most"), [({uuid4(): "1"}, 5), ({uuid4(): 1}, 99_999), ({"no": 1}, 5)]
)
async def test_nonsense_of_plugins_is_refused(chancy: Chancy, more, most):
    with pytest.raises(InvalidValue):
        chancy.reprioritizing(more, most=most)
