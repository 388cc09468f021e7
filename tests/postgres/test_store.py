"""Pushing and claiming: what is stored once, and given to one worker only, in which order."""

import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import psycopg
import pytest

from chancy import Chancy, Job, Limit, Queue, State
from chancy_core.errors import InvalidQueue, InvalidValue
from chancy_core.identity import new_id
from chancy_core.postgres import Connection
from chancy_core.store import statements
from chancy_core.store.store import Store
from tests.postgres.stores import NAMES, announce, claim, ended, fetch, get, opened, push, surely


async def test_a_push_stores_all_that_was_asked_for(dsn: str) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    asked = Job(
        "acme.f",
        kwargs={"a": [1, 2.5, None, "é"]},
        queue="mail",
        priority=-7,
        max_attempts=4,
        scheduled_at=due,
        limits=(Limit(Limit.Type.TIME, 1.5), Limit(Limit.Type.MEMORY, 1e6)),
        unique_key="key",
        meta={"tenant": 7},
    )
    async with opened(dsn) as store:
        (job,) = await get(store, *await push(store, asked))
    assert job.state is State.SCHEDULED
    for name in ("func", "kwargs", "queue", "priority", "max_attempts", "unique_key", "meta"):
        assert getattr(job, name) == getattr(asked, name)
    assert job.scheduled_at == due
    assert set(job.limits) == set(asked.limits)
    assert (job.claims, job.attempts, job.crashes) == (0, 0, 0)


async def test_what_cannot_be_stored_is_refused_before_anything_is_sent(dsn: str) -> None:
    async with opened(dsn) as store:
        with pytest.raises(InvalidValue, match=r"arguments of f\.a: .*NUL"):
            await surely(store, {new_id(): Job("f"), new_id(): Job("f", kwargs={"a": "\0"})})
        assert await fetch(store, "SELECT count(*) FROM {jobs}") == [(0,)]


async def test_what_is_left_to_do_is_due_in_these_queues_or_runs_on_this_worker(dsn: str) -> None:
    async with opened(dsn) as store:

        async def left(*queues: str, name: str = "w", pid: int = 1) -> bool:
            return await store.run(statements.left_to_do(NAMES, queues, name=name, pid=pid))

        later = datetime.now(UTC) + timedelta(hours=1)
        await push(store, Job("f", queue="q"), Job("f", queue="later", scheduled_at=later))
        assert not await left("later", "other")
        assert await left("other", "q")
        worker = await announce(store)
        assert len(await claim(store, worker=worker, queue="q")) == 1
        assert await left()
        assert not await left("q", pid=8)
        assert not await left("q", name="another")
        await store.run(statements.give_back(NAMES, worker))
        assert not await left()
        await fetch(store, "UPDATE {jobs} SET crashes = 1 WHERE queue = 'q'")
        assert await left("q")  # a suspect
        await fetch(store, "UPDATE {jobs} SET scheduled_at = {now}() WHERE queue = 'later'")
        assert await left("later")


async def test_a_unique_key_is_held_while_its_job_is_live(dsn: str) -> None:
    job = Job("f", unique_key="one")
    async with opened(dsn) as store:
        (first,) = await push(store, job)
        assert await surely(store, {new_id(): job, new_id(): job}) == set()
        assert await store.run(statements.holders(NAMES, ["one", "two"])) == {"one": first}
        (running,) = await claim(store)
        assert await surely(store, {new_id(): job}) == set()
        await store.settle([ended(running.job)])
        await push(store, job)


class CutPool:
    """A pool whose next statement is cut off from its answer, after or before it was done."""

    def __init__(self, store: Store, *, done: bool) -> None:
        self._pool = store.pool
        self._done = done
        self._cut = True

    @asynccontextmanager
    async def connection(self, **_: Any) -> AsyncIterator[Any]:
        async with self._pool.connection() as conn:
            yield self if self._cut else conn
            self._conn = conn

    async def execute(self, *args: Any, **kwargs: Any) -> None:
        self._cut = False
        if self._done:
            async with self._pool.connection() as conn:
                await conn.execute(*args, **kwargs)
        raise psycopg.OperationalError("the connection was cut")


@pytest.mark.parametrize("done", [True, False])
async def test_a_push_whose_commit_was_cut_stores_each_job_once(dsn: str, done: bool) -> None:
    async with opened(dsn) as store:
        cut = Store(CutPool(store, done=done), NAMES)  # type: ignore[arg-type]
        asked = {new_id(): Job("f"), new_id(): Job("f", unique_key="k")}
        assert await surely(cut, asked) == set(asked)
        assert await fetch(store, "SELECT count(*) FROM {jobs_v1}") == [(2,)]


async def test_a_push_in_doubt_knows_jobs_that_have_finished_meanwhile(dsn: str) -> None:
    async with opened(dsn) as store:
        asked = {new_id(): Job("f"), new_id(): Job("f")}
        finished, live = asked
        assert await surely(store, {finished: asked[finished]}) == {finished}
        (running,) = await claim(store)
        await store.settle([ended(running.job)])
        cut = Store(CutPool(store, done=False), NAMES)  # type: ignore[arg-type]
        assert await surely(cut, asked) == {finished, live}
        assert await fetch(store, "SELECT count(*) FROM {jobs_v1}") == [(2,)]


async def test_a_push_in_doubt_waits_for_a_commit_that_comes_late(dsn: str) -> None:
    async with opened(dsn) as store, await_connection(dsn) as other:
        id_, job = new_id(), Job("f")
        statement = statements.push(NAMES, {id_: job})
        await other.execute("BEGIN")
        await other.execute(statement.text, statement.params)
        cut = Store(CutPool(store, done=False), NAMES)  # type: ignore[arg-type]
        answers = []

        async def again() -> None:
            answers.append(await surely(cut, {id_: job}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(again)
            while not await fetch(
                store, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            ):
                pass  # until the second try waits for the first
            await other.execute("COMMIT")
        assert answers == [{id_}]


@asynccontextmanager
async def await_connection(dsn: str) -> AsyncIterator[Connection[Any]]:
    async with await Connection.connect(dsn, autocommit=True) as conn:
        yield conn


async def test_a_claim_takes_by_priority_and_then_in_order(dsn: str) -> None:
    async with opened(dsn) as store:
        names = ["a", "b", "c", "d", "e"]
        await push(
            store, *(Job(n, priority=p) for n, p in zip(names, [0, 5, 0, -1, 5], strict=True))
        )
        first = await claim(store, 3)
        rest = await claim(store, 3)
        assert [c.job.func for c in first + rest] == ["b", "e", "a", "c", "d"]


async def test_a_claim_takes_of_each_queue_as_many_as_are_free(dsn: str) -> None:
    async with opened(dsn) as store:
        await push(store, *(Job("f", queue=queue) for queue in "abc" for _ in range(4)))
        free = {"a": 2, "b": 0, "c": 9}
        for queue in free:
            await store.run(statements.declare(NAMES, Queue(queue), upsert=False))
        taken = await store.run(statements.claim(NAMES, await announce(store), free))
        queues = [c.job.queue for c in taken]
        assert {queue: queues.count(queue) for queue in "abc"} == {"a": 2, "b": 0, "c": 4}


async def test_a_queue_without_a_free_slot_gives_no_suspect_either(dsn: str) -> None:
    async with opened(dsn) as store:
        await push(store, *(Job("f", queue=queue) for queue in "ab"))
        await fetch(store, "UPDATE {jobs} SET crashes = 1 WHERE queue = 'a'")
        for queue in "ab":
            await store.run(statements.declare(NAMES, Queue(queue), upsert=False))
        taken = await store.run(statements.claim(NAMES, await announce(store), {"a": 0, "b": 2}))
        assert [c.job.queue for c in taken] == ["b"]


async def test_a_claim_leaves_jobs_for_later_alone(dsn: str) -> None:
    async with opened(dsn) as store:
        await push(store, Job("f", scheduled_at=datetime.now(UTC) + timedelta(hours=1)))
        assert await claim(store) == []


async def test_what_falls_due_together_comes_in_the_order_of_its_times(dsn: str) -> None:
    async with opened(dsn) as store:
        soon = datetime.now(UTC) + timedelta(hours=1)
        minutes = [3, 1, 2, 0, 1]
        ids = await push(
            store, *(Job("f", scheduled_at=soon + timedelta(minutes=m)) for m in minutes)
        )
        # As if all that time had passed: who was moved in the table stands elsewhere in it.
        await fetch(store, "UPDATE {jobs} SET scheduled_at = scheduled_at - interval '2 hours'")
        assert (await store.run(statements.promote(NAMES)))[0] == ["default"]
        taken = [claimed.job.id for claimed in await claim(store)]
        assert taken == [ids[n] for n in (3, 1, 4, 2, 0)]


async def test_each_claim_counts_and_has_a_lease_of_its_own(dsn: str) -> None:
    async with opened(dsn) as store:
        await push(store, Job("f", kwargs={"a": 1}))
        worker = await announce(store)
        (first,) = await claim(store, worker=worker)
        assert first.job.state is State.RUNNING
        assert (first.job.worker, first.job.claims, first.arguments) == (worker, 1, '{"a": 1}')
        assert first.job.started_at is not None
        assert set(await store.run(statements.give_back(NAMES, worker))) == {first.job.id}
        (second,) = await claim(store, worker=worker)
        assert (second.job.id, second.job.claims) == (first.job.id, 2)
        assert second.job.attempts == 0
        assert None not in {first.job.lease_id, second.job.lease_id}
        assert first.job.lease_id != second.job.lease_id


async def test_no_claim_is_forgotten_when_a_job_is_retried(dsn: str) -> None:
    """`(id, claims)` names one execution, whatever an operator does."""
    async with opened(dsn) as store:
        (id_,) = await push(store, Job("f"))
        for number in (1, 2, 3):
            (claimed,) = await claim(store)
            assert (claimed.job.id, claimed.job.claims) == (id_, number)
            await store.settle([ended(claimed.job)])
            assert await store.run(statements.retry(NAMES, [id_])) == {id_: "default"}
        (job,) = await get(store, id_)
        assert (job.claims, job.attempts, job.crashes) == (3, 0, 0)


async def test_a_worker_that_is_dead_or_has_no_row_claims_nothing(dsn: str) -> None:
    async with opened(dsn) as store:
        await push(store, Job("f"))
        assert await claim(store, worker=new_id()) == []
        dead = await announce(store, lease=-1)
        assert await store.run(statements.bury(NAMES)) == {dead}
        assert await claim(store, worker=dead) == []
        assert len(await claim(store)) == 1


async def test_a_claim_passes_over_rows_that_another_has_locked(dsn: str) -> None:
    async with opened(dsn) as store:
        locked, free = await push(store, Job("f", priority=9), Job("f"))
        async with await_connection(dsn) as other:
            await other.execute("BEGIN")
            await other.execute(
                NAMES.render("SELECT FROM {jobs} WHERE id = %(id)s FOR UPDATE").encode(),
                {"id": locked},
            )
            with anyio.fail_after(5):
                assert [c.job.id for c in await claim(store)] == [free]


async def test_two_claimers_never_share_a_job(dsn: str) -> None:
    async with opened(dsn) as store:
        ids = await push(store, *(Job("f") for _ in range(200)))
        taken: list[Any] = []

        async def drain() -> None:
            while found := await claim(store, 7):
                taken.extend(c.job.id for c in found)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(drain)
        assert sorted(taken) == sorted(ids)


async def test_a_queue_keeps_its_settings_unless_told_otherwise(dsn: str) -> None:
    options = {"size": 1e23, "ü": [1]}
    old = Queue(
        "q",
        concurrency=3,
        tags={"a=.*"},
        state=Queue.State.PAUSED,
        executor="async",
        executor_options=options,
        rate_limit=20,
        rate_limit_window=1.5,
        resume_at=datetime.now(UTC) + timedelta(hours=1),
        eager_polling=True,
    )
    new = Queue("q", polling_interval=1.5)
    kept = new.options(state=old.state, resume_at=old.resume_at)
    async with opened(dsn) as store:
        assert await store.run(statements.declare(NAMES, old, upsert=False)) == old
        assert await store.run(statements.declare(NAMES, new, upsert=False)) == old
        assert await store.run(statements.queues(NAMES)) == [old]
        assert await store.run(statements.declare(NAMES, new, upsert=True)) == kept
        await store.run(statements.declare(NAMES, Queue("p"), upsert=False))
        assert await store.run(statements.queues(NAMES)) == [Queue("p", state="active"), kept]
        active = new.options(state="active")
        assert await store.run(statements.declare(NAMES, active, upsert=True)) == active


async def test_a_queue_that_makes_no_sense_is_left_out_alone(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(dsn) as store:
        for name in ("bad", "good"):
            await store.run(statements.declare(NAMES, Queue(name), upsert=False))
        await fetch(store, "UPDATE {queues} SET tags = ARRAY['('] WHERE name = 'bad'")
        with caplog.at_level(logging.ERROR):
            assert await store.run(statements.queues(NAMES)) == [Queue("good", state="active")]
        assert "'bad'" in caplog.text
        with pytest.raises(InvalidQueue, match="bad"):
            await store.run(statements.declare(NAMES, Queue("bad"), upsert=False))
        mended = await store.run(statements.declare(NAMES, Queue("bad"), upsert=True))
        assert mended == Queue("bad", state="active")


async def test_a_push_of_a_held_key_refers_to_its_holder(dsn: str) -> None:
    async with Chancy(dsn) as chancy:
        first = await chancy.push(Job("f", unique_key="k"))
        second = await chancy.push(Job("g", unique_key="k"))
        assert (first.new, second.new) == (True, False)
        assert first == second
        assert (await chancy.get_job(second)).func == "f"


async def test_renewing_tells_how_far_the_clock_is_ahead_and_moves_no_index(dsn: str) -> None:
    async with opened(dsn) as store:
        worker = await announce(store)
        (info,) = await store.run(statements.workers(NAMES))
        assert (info.version, info.settings, info.clock_offset) == (None, None, None)
        assert await store.run(statements.renew(NAMES, worker, 60, time.time() + 3600)) is not None
        (info,) = await store.run(statements.workers(NAMES))
        assert info.clock_offset == pytest.approx(3600, abs=5)
        assert info.faults == ()
        told = {"plugin": "acme", "origin": "acme 1.0", "hook": "chancy_configure", "times": 3}
        text = json.dumps([told | {"said": "no", "ago": 2.5}])
        assert await store.run(statements.renew(NAMES, worker, 60, faults=text)) is not None
        assert await store.run(statements.renew(NAMES, worker, 60)) is not None  # nothing new
        (info,) = await store.run(statements.workers(NAMES))
        (fault,) = info.faults
        assert (fault.plugin, fault.hook, fault.times, fault.said) == (
            *("acme", "chancy_configure", 3, "no"),
        )
        assert 2.5 <= fault.ago < 60
    query = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s"
    with psycopg.connect(dsn, autocommit=True) as conn:
        while (counted := conn.execute(query, ["chancy_workers"]).fetchone()) == (0, 0):
            conn.execute("SELECT pg_stat_clear_snapshot()")
        assert counted == (3, 3)


@pytest.mark.parametrize(
    "nonsense",
    [
        *("7", "[]", "{}", '{"at": 1, "told": []}', '{"at": "2026-01-01", "told": []}'),
        '{"at": "2026-01-01T00:00:00+00:00", "told": [7]}',
        '{"at": "2026-01-01T00:00:00+00:00", "told": [{"times": 1e999}]}',
    ],
)
async def test_faults_that_make_no_sense_are_none(dsn: str, nonsense: str) -> None:
    async with opened(dsn) as store:
        await announce(store)
        await fetch(store, f"UPDATE {{workers}} SET faults = '{nonsense}'")
        (info,) = await store.run(statements.workers(NAMES))
    assert info.faults == ()


async def test_a_lease_is_renewed_until_its_worker_is_declared_dead(dsn: str) -> None:
    async with opened(dsn) as store:
        alive, late = await announce(store), await announce(store, lease=-1)
        asked = statements.renew(NAMES, late, -1)
        assert await store.run(asked) is not None  # late, but nobody has seen it
        assert await store.run(statements.bury(NAMES)) == {late}
        assert await store.run(statements.bury(NAMES)) == set()
        assert await store.run(statements.renew(NAMES, alive, 60)) is not None
        assert await store.run(statements.renew(NAMES, late, 60)) is None
        await store.run(statements.retire(NAMES, alive))
        assert await store.run(statements.renew(NAMES, alive, 60)) is None
