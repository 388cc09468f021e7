"""`inline` runs jobs where they are pushed, as a worker would, before the push returns."""

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from anyio import to_thread

from chancy import Chancy, Queue, State
from chancy_core.errors import ChancyError, InvalidJob, KitError
from chancy_core.testing import drain, inline
from tests.kit.jobs import Refused, ask, endless, fail, fan, fan_plainly, greet, plain

pytestmark = pytest.mark.anyio


async def test_a_push_returns_when_its_job_has_ended(chancy_app: Chancy, said):
    async with inline(chancy_app) as ran:
        reference = await chancy_app.push(greet.bind(name="Ada"))
        assert said == ["Ada"]
        done = await chancy_app.get_job(reference)
        assert (done.state, done.result()) == (State.SUCCEEDED, "hello, Ada")
        assert (done.claims, done.attempts) == (1, 1)
        await chancy_app.push_many(greet.bind(name=name) for name in "bc")
        async for _ in chancy_app.push_many((greet.bind(name=n) for n in "de"), batch_size=1):
            said.append("|")
        await greet.push(chancy_app, name="f")
    assert said == ["Ada", "b", "c", "d", "|", "e", "|", "f"]
    assert ran.jobs[0].id == reference.id
    assert len(ran.jobs) == 6
    after = await chancy_app.push(greet.bind(name="g"))
    assert (await chancy_app.get_job(after)).state is State.PENDING
    assert await chancy_app.get_all_workers() == []


async def test_only_what_is_pushed_in_the_block_runs(chancy_app: Chancy, said):
    await chancy_app.push(greet.bind(name="before").options(priority=9))
    later = greet.bind(name="later").options(scheduled_at=datetime.now(UTC) + timedelta(hours=1))
    await chancy_app.declare(Queue("closed"))
    await chancy_app.pause_queue("closed")
    async with inline(chancy_app):
        for_later = await chancy_app.push(later)
        paused = await chancy_app.push(greet.bind(name="paused").options(queue="closed"))
        await chancy_app.push(greet.bind(name="now"))
    assert said == ["now"]
    assert (await chancy_app.get_job(for_later)).state is State.SCHEDULED
    assert (await chancy_app.get_job(paused)).state is State.PENDING
    await drain(chancy_app, with_scheduled=True)
    assert said == ["now", "before", "later"]


async def test_an_error_is_an_outcome_and_a_retry_a_retry(chancy_app: Chancy):
    async with inline(chancy_app) as ran:
        bad = await chancy_app.push(fail.bind(until=9))
        await chancy_app.push(fail.bind(until=1))
        with pytest.raises(InvalidJob):
            await chancy_app.push(greet.bind().options(queue=""))
    assert [job.state for job in ran.jobs] == [State.FAILED, State.SUCCEEDED]
    assert [error.type for error in (await chancy_app.get_job(bad)).errors] == [
        "tests.kit.jobs.Refused"
    ] * 3
    async with inline(chancy_app, reraise=True) as ran:
        await chancy_app.push(fail.bind(until=1))
        with pytest.raises(Refused, match="try 3"):
            await chancy_app.push(fail.bind(until=9))
    assert [job.state for job in ran.jobs] == [State.SUCCEEDED, State.FAILED]


async def test_a_job_may_wait_for_one_that_it_has_pushed(chancy_app: Chancy, said):
    async with inline(chancy_app) as ran:
        done = await chancy_app.push(ask.bind(name="Ada"))
        await chancy_app.push(fan.bind(names=["b"]))
    assert (await chancy_app.get_job(done)).result() == "hello, Ada"
    assert [job.func for job in ran.jobs] == ["kit.greet", "kit.ask", "kit.greet", "kit.fan"]
    assert said == ["Ada", "fan", "b", "fanned"]


async def test_jobs_that_push_jobs_without_end_are_stopped(chancy_app: Chancy):
    async with inline(chancy_app) as ran:
        with pytest.raises(KitError, match="without end"):
            await chancy_app.push(endless.bind())
        await chancy_app.push(greet.bind(name="next"))
    assert ran.jobs[-1].state is State.SUCCEEDED


async def test_threads_push_too(chancy_app: Chancy, said):
    async with inline(chancy_app) as ran:
        await to_thread.run_sync(chancy_app.sync_push, greet.bind(name="a"))
        await chancy_app.push(fan_plainly.bind(names=["b", "c"]))
    assert said == ["a", "b", "c"]
    assert {job.state for job in ran.jobs} == {State.SUCCEEDED}


async def test_a_push_in_a_transaction_waits_for_a_drain(chancy_app: Chancy, said):
    async with inline(chancy_app):
        with psycopg.connect(chancy_app.conninfo) as conn:
            chancy_app.push_ex(conn, greet.bind(name="within"))
        assert said == []
        await drain(chancy_app)
    assert said == ["within"]


async def test_a_key_that_is_held_runs_nothing(chancy_app: Chancy, said):
    first = await chancy_app.push(greet.bind(name="a").options(unique_key="k"))
    async with inline(chancy_app) as ran:
        again = await chancy_app.push(greet.bind(name="b").options(unique_key="k"))
    assert (again, again.new, ran.jobs, said) == (first, False, [], [])


async def test_one_block_at_a_time(chancy_app: Chancy):
    async with inline(chancy_app):
        with pytest.raises(ChancyError, match="one block at a time"):
            async with inline(chancy_app):
                pass
    with pytest.raises(ChancyError, match=r"async with inline\(chancy\)"), inline(chancy_app):
        pass


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_plain_test_runs_plain_functions_in_its_own_thread(chancy_app, said, backend: str):
    with inline(chancy_app, backend=backend) as ran:
        chancy_app.sync_push(plain.bind(name="a"))
        chancy_app.sync_push_many([greet.bind(name="b"), fan_plainly.bind(names=["c"])])
        chancy_app.sync_push(fan.bind(names=["d"]))
        assert said == ["a", "b", "c", "fan", "d", "fanned"]
    mine = [job.returned for job in ran.jobs if "plain" in job.func]
    assert mine == [threading.get_ident()] * 3
    with inline(chancy_app, reraise=True, backend=backend), pytest.raises(Refused):
        chancy_app.sync_push(fail.bind(until=9))
    chancy_app.sync_push(plain.bind(name="after"))
    assert "after" not in said
