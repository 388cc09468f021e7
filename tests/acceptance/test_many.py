"""Many jobs at once: pushed batch by batch, cancelled, purged; and how each may be named."""

import gc
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import anyio
import psycopg
import pytest

from chancy import Chancy, Job, JobFilter, Queue, Reference, State, job
from chancy_core.errors import InvalidJob, InvalidValue, JobNotFound
from tests.postgres.stores import ended
from tests.stage import connect, play, push
from tests.told import claimed, listening

pytestmark = pytest.mark.anyio


WAITING = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@job(name="bulk.nothing", queue="q")
async def nothing() -> None: ...


def some(count: int, **options: Any) -> list[Job]:
    return [play.bind(stage="s", number=n).options(**options) for n in range(count)]


async def test_awaited_it_answers_all_references_in_order(chancy: Chancy):
    references = await chancy.push_many(iter(some(7)), batch_size=3)
    found = {job.id: job for job in await chancy.get_jobs(references)}
    assert [found[r.id].kwargs["number"] for r in references] == list(range(7))
    assert await chancy.push_many([]) == []


async def test_iterated_it_takes_no_more_than_the_next_batch(chancy: Chancy):
    taken = []

    def source() -> Iterator[Job]:
        for made in some(7):
            taken.append(made)
            yield made

    sizes = []
    async for references in chancy.push_many(source(), batch_size=3):
        sizes.append(len(references))
        assert len(taken) == sum(sizes)
        assert len(await chancy.get_jobs(references)) == len(references)
    assert sizes == [3, 3, 1]


async def test_an_asynchronous_iterable_is_taken_too(chancy: Chancy):
    class Source:
        def __aiter__(self) -> AsyncIterator[Job]:
            self.left = some(5)
            return self

        async def __anext__(self) -> Job:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    assert len(await chancy.push_many(Source(), batch_size=2)) == 5


async def test_what_is_no_job_stops_its_batch_and_those_after(chancy: Chancy):
    jobs = [*some(3), "play", *some(3)]
    pushing = chancy.push_many(jobs, batch_size=2)
    assert len(await anext(pushing)) == 2
    with pytest.raises(InvalidJob, match=r"push takes a Job, such as my_job.* not 'play'"):
        await anext(pushing)
    assert len((await chancy.list_jobs()).jobs) == 2
    assert [references async for references in pushing] == []


async def test_wrong_calls_are_refused_at_once(chancy: Chancy):
    with pytest.raises(InvalidJob, match="push_many takes an iterable"):
        chancy.push_many(some(1)[0])
    with pytest.raises(InvalidValue, match="batch_size must be"):
        chancy.push_many([], batch_size=0)


async def test_producers_with_the_same_keys_never_wait_crosswise(chancy: Chancy, dsn: str):
    forth = [made.options(unique_key=f"{n}") for n, made in enumerate(some(9))]
    found: dict[str, list[Reference]] = {}

    async def produce(name: str, jobs: list[Job]) -> None:
        async with await connect(dsn) as conn, conn.transaction():
            found[name] = await chancy.push_many_ex(conn, jobs)

    async with anyio.create_task_group() as tasks:
        with psycopg.connect(dsn) as middle:  # let both come as far as they can, and then on
            chancy.push_ex(middle, forth[4])
            tasks.start_soon(produce, "forth", forth)
            tasks.start_soon(produce, "back", forth[::-1])
            with psycopg.connect(dsn, autocommit=True) as conn, anyio.fail_after(10):
                while conn.execute(WAITING).fetchone() != (2,):
                    await anyio.sleep(0.01)
            middle.rollback()
    assert found["forth"] == found["back"][::-1]
    assert len({tuple(r.new for r in references) for references in found.values()}) == 2
    assert len(await chancy.purge_jobs(JobFilter())) == 9
    # The order in which jobs were given is the order in which they run.
    await chancy.push_many(forth[:3][::-1])
    async with await connect(dsn) as conn:
        line = await conn.execute("SELECT args->'number' FROM chancy_jobs ORDER BY seq")
        assert await line.fetchall() == [(2,), (1,), (0,)]


async def test_ids_sort_by_the_time_at_which_they_were_made(chancy: Chancy):
    since = time.time()
    references = await chancy.push_many(some(50))
    assert {reference.id.version for reference in references} == {7}
    assert sorted(references, key=str) == references
    for reference in references:
        assert abs((reference.id.int >> 80) / 1000 - since) < 60


def _forget(chancy: Chancy) -> None:
    chancy.push_many(some(1))
    gc.collect()


async def test_one_that_is_neither_awaited_nor_iterated_warns(chancy: Chancy):
    with pytest.warns(RuntimeWarning, match="neither awaited nor iterated"):
        _forget(chancy)
    assert (await chancy.list_jobs()).jobs == []


async def test_it_can_be_begun_only_once(chancy: Chancy):
    pushing = chancy.push_many(some(1))
    await pushing
    with pytest.raises(RuntimeError, match="begun already"):
        await pushing


async def settled(chancy: Chancy, state: State) -> Reference:
    """A job that has ended in a state."""
    reference = await chancy.push(some(1)[0].options(unique_key=f"u-{state}"))
    job = await claimed(chancy)
    await chancy.store.settle([ended(job, state=state)])
    return reference


async def test_cancelling_answers_for_each_and_tells_workers_and_waiters(chancy: Chancy, dsn: str):
    later = datetime.now(UTC) + timedelta(hours=1)
    finished = [state for state in State if state.finished]
    ends = [await settled(chancy, state) for state in finished]
    running = await chancy.push(some(1)[0])
    await claimed(chancy)
    scheduled = await chancy.push(some(1)[0].options(scheduled_at=later))
    pending = await chancy.push(some(1)[0])
    unknown = uuid4()
    async with listening(dsn) as told:
        answers = await chancy.cancel_jobs([scheduled, pending, running, *ends, unknown, unknown])
        wanted = {
            ("", f"job.cancelled:{running}"),
            ("!", f"job.finished:{scheduled}"),
            ("!", f"job.finished:{pending}"),
        }
        heard: set[tuple[str, str]] = set()
        with anyio.fail_after(10):
            while not heard >= wanted:
                heard |= set(await told())
    assert [(a.id, a.done, a.what) for a in answers] == [
        (scheduled.id, True, "cancelled"),
        (pending.id, True, "cancelled"),
        (running.id, True, "cancelling"),
        *(
            (reference.id, False, f"it is {state}")
            for reference, state in zip(ends, finished, strict=True)
        ),
        (unknown, False, "there is no such job"),
    ]
    assert (await chancy.get_job(scheduled)).state is State.CANCELLED
    assert (await chancy.get_job(pending)).state is State.CANCELLED
    marked = await chancy.get_job(running)
    assert (marked.state, marked.cancelling) == (State.RUNNING, True)
    assert (await chancy.cancel_job(str(running))).what == "cancelling"
    assert not (await chancy.cancel_job(unknown)).done


async def test_jobs_are_purged_by_id_and_by_filter_unless_they_run(chancy: Chancy):
    done = await settled(chancy, State.SUCCEEDED)
    running = await chancy.push(some(1)[0])
    await claimed(chancy)
    waiting = await chancy.push(some(1)[0])
    answers = await chancy.purge_jobs([done, running, waiting])
    assert [(a.done, a.what) for a in answers] == [
        (True, "purged"),
        (False, "it is running"),
        (True, "purged"),
    ]
    with pytest.raises(JobNotFound):
        await chancy.get_job(done)
    await chancy.push_many(some(1100))
    answers = await chancy.purge_jobs(JobFilter(state="pending"))
    assert (len(answers), sum(a.done for a in answers)) == (1100, 1100)
    assert [job.id for job in (await chancy.list_jobs()).jobs] == [running.id]


async def test_references_are_taken_in_every_form(chancy: Chancy):
    reference = await chancy.push(some(1)[0])
    for form in (reference, reference.id, str(reference), reference.id.hex):
        assert (await chancy.get_job(form)).id == reference.id
        assert [job.id for job in await chancy.get_jobs([uuid4(), form])] == [reference.id]
    for wrong in (None, 7, "no uuid", b"x"):
        with pytest.raises(InvalidValue, match="referred to by what push answered"):
            await chancy.get_job(wrong)
    with pytest.raises(InvalidValue, match="give several references"):
        await chancy.cancel_jobs(str(reference))
    with pytest.raises(InvalidValue, match="give several references"):
        await chancy.retry_jobs(7)


async def test_a_registered_function_is_the_job_without_arguments(chancy: Chancy):
    assert (await chancy.get_job(await chancy.push(nothing))).func == "bulk.nothing"


async def test_workers_are_listed(chancy: Chancy, dsn: str):
    await push(chancy, dsn, 1)
    await claimed(chancy)
    (worker,) = await chancy.get_all_workers()
    assert (worker.name, worker.alive) == ("w", True)
    assert worker.matches(Queue("q"))
    assert not worker.matches(Queue("q", tags={"has=gpu"}))
    async with await connect(dsn) as conn:
        await conn.execute("UPDATE chancy_workers SET expires_at = now() - interval '1 second'")
    (worker,) = await chancy.get_all_workers()
    assert not worker.alive
