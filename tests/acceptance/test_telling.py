"""Who is told what, and when: hints that go with a transaction, and hints of one's own."""

from datetime import timedelta
from typing import Any

import anyio
import psycopg
import pytest

from chancy import Chancy, Queue, State
from chancy_core.errors import InvalidValue, QueueNotFound
from chancy_core.store import statements
from tests.stage import play
from tests.told import claimed, listening

pytestmark = pytest.mark.anyio


async def test_a_cursor_keeps_what_it_was_reading(chancy: Chancy, dsn: str):
    with psycopg.connect(dsn) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT * FROM generate_series(1, 3)")
        assert cursor.fetchone() == (1,)
        chancy.push_ex(cursor, play.bind(stage=dsn, number=1))
        assert cursor.fetchall() == [(2,), (3,)]


async def test_a_push_notifies_inside_of_the_transaction_only_if_asked(dsn: str):
    async with listening(dsn) as told:
        with psycopg.connect(dsn) as conn:
            Chancy(dsn).push_ex(conn, play.bind(stage=dsn, number=1))
            Chancy(dsn).push_many_ex(conn, [play.bind(stage=dsn, number=1)])
            conn.commit()
            assert await told() == []
            Chancy(dsn).push_ex(conn, play.bind(stage=dsn, number=1), wake="notify")
            assert await told() == []
            conn.commit()
            assert await told() == [("", "queue.pushed:q")]
            quiet = Chancy(dsn, notifications=False)
            quiet.push_ex(conn, play.bind(stage=dsn, number=1), wake="notify")
            quiet.notify_ex(conn, "acme.refresh")
            conn.commit()
            assert await told() == []
            Chancy(dsn).notify_ex(conn, "acme.refresh", "a:b")
            conn.commit()
            assert await told() == [("", "acme.refresh:a:b")]


async def test_a_queue_changes_with_the_transaction_and_workers_are_told(dsn: str):
    chancy = Chancy(dsn)
    async with listening(dsn) as told, chancy:
        with psycopg.connect(dsn) as conn:
            chancy.declare_ex(conn, Queue("mail", executor="async"))
            with pytest.raises(QueueNotFound):
                await chancy.get_queue("mail")
            conn.commit()
            chancy.pause_queue_ex(conn, "mail", resume_at=timedelta(hours=1))
            assert (await chancy.get_queue("mail")).state is Queue.State.ACTIVE
            conn.commit()
            paused = await chancy.get_queue("mail")
            assert paused.state is Queue.State.PAUSED
            assert paused.resume_at is not None
            chancy.resume_queue_ex(conn, "mail")
            chancy.push_ex(conn, play.bind(stage=dsn, number=1).options(queue="mail"))
            conn.commit()
            assert chancy.delete_queue_ex(conn, "mail") == 1
            conn.commit()
        events = ["declared", "paused", "resumed", "deleted"]
        assert await told() == [("", f"queue.{event}:mail") for event in events]


async def test_those_who_wait_are_told_of_a_completion(chancy: Chancy, dsn: str):
    reference = await chancy.push(play.bind(stage=dsn, number=1))
    job = await claimed(chancy)
    async with listening(dsn) as told:
        with psycopg.connect(dsn) as conn:
            chancy.complete_ex(conn, job)
        assert ("!", f"job.finished:{reference}") in await told()


async def test_cancelled_retried_and_purged_with_the_transaction(chancy: Chancy, dsn: str):
    reference = await chancy.push(play.bind(stage=dsn, number=1))
    with psycopg.connect(dsn) as conn:
        assert chancy.cancel_job_ex(conn, reference).what == "cancelled"
        assert (await chancy.get_job(reference)).state is State.PENDING
        conn.commit()
        assert (await chancy.get_job(reference)).state is State.CANCELLED
        (answer,) = chancy.retry_jobs_ex(conn, [reference])
        assert (answer.id, answer.done, answer.what) == (reference.id, True, "pending")
        conn.commit()
        assert (await chancy.get_job(reference)).state is State.PENDING
        assert [a.what for a in chancy.purge_jobs_ex(conn, [reference.id])] == ["purged"]
        conn.rollback()
        assert chancy.get_job_ex(conn, str(reference)).state is State.PENDING


async def test_a_hint_of_ones_own(chancy: Chancy, dsn: str):
    async with listening(dsn) as told:
        await chancy.notify("acme.refresh", "x" * 7000)
        heard: list[Any] = []
        while not heard or heard == [("", "queue.declared:q")]:  # of the fixture, if it comes late
            heard = await told()
        assert heard == [("", "acme.refresh:" + "x" * 7000)]
    for name, subject in (
        ("refresh", ""),
        ("queue.pushed", "q"),
        ("job.finished", ""),
        ("acme.a:b", ""),
        ("acme.x", "x" * 7999),
        ("acme.x", "a\0"),
        (7, ""),
    ):
        with pytest.raises(InvalidValue, match="notify"):
            await chancy.notify(name, subject)


async def test_many_hints_go_out_in_one_statement_and_in_their_order(
    chancy: Chancy, dsn: str, monkeypatch: pytest.MonkeyPatch
):
    sent: list[int] = []
    notify = statements.notify

    def counted(names: Any, hints: Any, **told: Any) -> Any:
        if own := [hint for hint in hints if hint.name == "acme.refresh"]:
            sent.append(len(own))
        return notify(names, hints, **told)

    monkeypatch.setattr(statements, "notify", counted)
    async with listening(dsn) as told:
        for n in range(100):
            await chancy.notify("acme.refresh", str(n))
        heard: list[Any] = []
        with anyio.fail_after(10):
            while len(heard) < 100:
                heard += [each for each in await told() if "acme.refresh" in each[1]]
    assert heard == [("", f"acme.refresh:{n}") for n in range(100)]
    assert sum(sent) == 100
    assert len(sent) <= 2  # the first may have gone at once
