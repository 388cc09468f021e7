"""A producer that connects as `push`, workers as `work`, and `look` beside them: all they need."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import anyio
import psycopg
import pytest
from attrs import frozen

from chancy import Chancy, Queue, State, Worker, job
from chancy_core import heartbeat
from chancy_core.diagnosis import diagnose
from tests.pooled import past
from tests.roles import Granted, granted

DROP_PARTITIONS = """
DO $$ DECLARE part regclass; BEGIN
    FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'chancy_history'::regclass
    LOOP EXECUTE format('DROP TABLE %s', part); END LOOP;
END $$"""
_tries: dict[str, int] = {}


@job(name="least.add", queue="q", unique_key="sum")
async def add(one: int, two: int) -> int:
    return one + two


@job(name="least.twice", queue="q", max_attempts=2)
async def twice(key: str) -> int:
    _tries[key] = _tries.get(key, 0) + 1
    if _tries[key] == 1:
        raise RuntimeError("not yet")
    return _tries[key]


@job(name="least.fail", queue="q")
async def fail() -> None:
    raise RuntimeError("no")


@job(name="least.hold", queue="q")
async def hold() -> None:
    await anyio.sleep_forever()


@frozen
class People:
    """One application, open as each of the roles."""

    push: Chancy
    work: Chancy
    look: Chancy


@pytest.fixture
def made(dsn: str) -> Iterator[Granted]:
    with granted(past(dsn)) as made:  # a pooler connects as one user alone
        yield made


@pytest.fixture
async def people(made: Granted) -> AsyncIterator[People]:
    async with (
        Chancy(made["push"]) as push,
        Chancy(made["work"]) as work,
        Chancy(made["look"]) as look,
    ):
        await work.declare(Queue("q", executor="async", concurrency=4))
        yield People(push, work, look)


async def test_jobs_run_and_come_to_their_ends(people: People, dsn: str) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    calls = [
        add.bind(one=1, two=2),
        twice.bind(key=dsn).options(unique_key="again"),
        fail.bind(),
        add.bind(one=3, two=4).options(unique_key=None, scheduled_at=soon),
    ]
    references = await people.push.push_many(calls)
    again = await people.push.push(add.bind(one=0, two=0))
    assert (again.id, again.new) == (references[0].id, False)
    async with Worker(people.work):
        jobs = await people.look.wait_for_jobs(references, timeout=20)
    assert [(job.state, job.attempts, job.returned) for job in jobs] == [
        (State.SUCCEEDED, 1, 3),
        (State.SUCCEEDED, 2, 2),
        (State.FAILED, 1, None),
        (State.SUCCEEDED, 1, 7),
    ]
    assert not [worker for worker in await people.look.get_all_workers() if worker.alive]


async def test_in_a_transaction_and_on_a_queue_with_a_rate(people: People, made: Granted) -> None:
    limited = Queue("limited", executor="async", rate_limit=100, rate_limit_window=1)
    await people.work.declare(limited)
    with psycopg.connect(made["push"]) as conn:
        call = add.bind(one=1, two=1).options(queue="limited")
        reference = people.push.push_ex(conn, call, wake="notify")
    async with Worker(people.work):
        assert (await people.look.wait_for_job(reference, timeout=20)).returned == 2


async def test_a_running_job_is_cancelled_by_who_works(people: People) -> None:
    reference = await people.push.push(hold)
    async with Worker(people.work):
        await people.look.wait_for_job(reference, timeout=20, states=["running"])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await people.push.cancel_job(reference)
        assert (await people.work.cancel_job(reference)).what == "cancelling"
        ended = await people.look.wait_for_job(reference, timeout=20)
    assert ended.state is State.CANCELLED


async def test_a_missing_partition_is_made_by_who_works(people: People, dsn: str) -> None:
    async with Worker(people.work) as worker:
        with psycopg.connect(dsn, autocommit=True) as conn:
            conn.execute(DROP_PARTITIONS)
        reference = await people.push.push(add.bind(one=1, two=1))
        assert (await people.look.wait_for_job(reference, timeout=20)).returned == 2
        assert worker.running == []


async def test_the_jobs_of_a_dead_worker_are_rescued(
    people: People, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "LEASE", 0.3)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.1)
    reference = await people.push.push(add.bind(one=1, two=1))
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO chancy_workers (id, name, hostname, pid, tags, expires_at) "
            "VALUES (gen_random_uuid(), 'dead', 'h', 1, '{}', now() - interval '1 s')"
        )
        conn.execute(
            "UPDATE chancy_jobs SET state = 'running', lease_id = gen_random_uuid(), claims = 1, "
            "worker = (SELECT id FROM chancy_workers), started_at = now()"
        )
    async with Worker(people.work):
        job = await people.look.wait_for_job(reference, timeout=20)
    assert (job.state, job.crashes, job.claims) == (State.SUCCEEDED, 1, 2)


async def test_queues_are_paused_by_who_works_and_by_nobody_else(people: People) -> None:
    for nobody in (people.push, people.look):
        for refused in (nobody.pause_queue("q"), nobody.declare(Queue("r", executor="async"))):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await refused
    await people.work.pause_queue("q")
    assert (await people.look.get_queue("q")).state == "paused"


async def test_who_looks_and_who_works_may_ask_what_threatens_the_promise(people: People) -> None:
    async with Worker(people.work):
        for may in (people.work, people.look):
            found = await diagnose(may)
            assert [finding for finding in found if finding.ok is False] == []
            looked_at = {finding.what for finding in found}
            assert {"schema", "indexes", "workers"} <= looked_at
            assert "rights" not in looked_at


async def test_a_worker_that_only_looks_says_what_it_may_not(people: People) -> None:
    said = pytest.RaisesExc(psycopg.errors.InsufficientPrivilege, match="table chancy_")
    with pytest.RaisesGroup(said, flatten_subgroups=True), anyio.fail_after(20):
        await Worker(people.look).start()
