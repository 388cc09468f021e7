"""`drain` runs what is due, here and now, and says what became of it; so does `sync_drain`."""

import threading
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from chancy import Chancy, Job, Limit, Queue, State, Worker
from chancy_core.errors import ChancyError, InvalidValue, JobFailed, KitError
from chancy_core.testing import Clock, drain, sync_drain
from tests.kit.jobs import (
    Refused,
    endless,
    fail,
    fan,
    fan_plainly,
    give_up,
    give_up_plainly,
    greet,
    held,
    hold,
    nap,
    plain,
    wait,
)

pytestmark = pytest.mark.anyio


async def test_all_that_is_due_runs_in_order_and_what_it_pushes_too(chancy_app: Chancy, said):
    await chancy_app.push_many([fan.bind(names=["b", "c"]), greet.bind(name="a")])
    await chancy_app.push(greet.bind(name="first").options(priority=1))
    ran = await drain(chancy_app)
    assert said == ["first", "fan", "fanned", "a", "b", "c"]
    assert [job.func for job in ran] == ["kit.greet", "kit.fan", *["kit.greet"] * 3]
    assert (len(ran), ran.attempts, ran.counts) == (5, 5, {State.SUCCEEDED: 5})
    assert ran.check() is ran
    assert ran.jobs[0] == await chancy_app.get_job(ran.jobs[0].id)
    assert ran.jobs[0].result() == "hello, first"
    assert ran.jobs[0].created_at <= ran.jobs[0].started_at <= ran.jobs[0].finished_at
    assert len(await drain(chancy_app)) == 0
    assert await chancy_app.get_all_workers() == []
    assert await chancy_app.get_all_queues() == []


async def test_a_job_is_tried_as_often_as_it_would_be(chancy_app: Chancy):
    good, bad = await chancy_app.push_many([fail.bind(until=2), fail.bind(until=9)])
    ran = await drain(chancy_app)
    assert (ran.attempts, ran.counts) == (6, {State.SUCCEEDED: 1, State.FAILED: 1})
    by_id = {job.id: job for job in ran}
    assert (by_id[good.id].attempts, by_id[good.id].returned) == (3, 2)
    assert [error.message for error in by_id[bad.id].errors] == ["try 1", "try 2", "try 3"]
    with pytest.raises(JobFailed, match=r"(?s)1 of 2 jobs.*kit.fail.*failed.*Refused: try 3.*File"):
        ran.check()


async def test_a_job_that_snoozes_waits_for_the_clock(chancy_app: Chancy):
    await chancy_app.push(nap.bind(times=3))
    assert (await drain(chancy_app, reraise=True)).counts == {State.SCHEDULED: 1}
    ran = await drain(chancy_app, with_scheduled=True, reraise=True)
    assert (ran.attempts, ran.counts) == (3, {State.SUCCEEDED: 1})
    assert (ran.jobs[0].returned, ran.jobs[0].meta) == (0, {"snoozed": 3})
    await chancy_app.push(nap.bind(times=1_000))
    with pytest.raises(KitError, match=r"5 attempts .* kit.nap ran 5 times; does it .*snooze"):
        await drain(chancy_app, with_scheduled=True, limit=5)


async def test_what_a_job_raised_is_raised_once_it_has_failed_for_good(chancy_app: Chancy):
    await chancy_app.push(fail.bind(until=2))
    assert (await drain(chancy_app, reraise=True)).check().attempts == 3
    bad, _ = await chancy_app.push_many([fail.bind(until=9), greet.bind(name="left")])
    with pytest.raises(Refused, match="try 3"):
        await drain(chancy_app, reraise=True)
    assert (await chancy_app.get_job(bad)).state is State.FAILED
    assert len(await drain(chancy_app)) == 1


async def test_one_queue_or_several_and_what_is_paused_or_for_later_is_left(
    chancy_app: Chancy, said
):
    later = datetime.now(UTC) + timedelta(hours=1)
    for queue in ("a", "b", "c"):
        await chancy_app.push(greet.bind(name=queue).options(queue=queue))
    await chancy_app.push(greet.bind(name="later").options(scheduled_at=later))
    await drain(chancy_app, "b")
    assert said == ["b"]
    await chancy_app.declare(Queue("c", executor="async"))
    await chancy_app.pause_queue("c")
    await drain(chancy_app, ["a", "c"])
    assert said == ["b", "a"]
    await drain(chancy_app)
    assert said == ["b", "a"]
    await chancy_app.resume_queue("c")
    await drain(chancy_app)
    assert said == ["b", "a", "c"]


async def test_a_job_that_pushes_itself_for_ever_is_named(chancy_app: Chancy):
    await chancy_app.push(endless.bind())
    with pytest.raises(KitError, match=r"5 attempts .* kit.endless ran 5 times.*without end"):
        await drain(chancy_app, limit=5)
    with pytest.raises(InvalidValue, match="limit is a number"):
        await drain(chancy_app, limit=0)
    await chancy_app.purge_jobs([job.id for job in (await chancy_app.list_jobs()).jobs])
    await chancy_app.push_many([plain.bind()] * 5)
    assert len(await drain(chancy_app, limit=5)) == 5


async def test_the_clock_is_moved_to_what_is_scheduled(chancy_app: Chancy, said):
    now = datetime.now(UTC)
    for hours in (3, 1):
        due = now + timedelta(hours=hours)
        await chancy_app.push(greet.bind(name=f"{hours} h").options(scheduled_at=due))
    await chancy_app.push(Job("kit.nobody_knows_it"))
    ran = await drain(chancy_app, with_scheduled=True)
    assert said == ["1 h", "3 h"]
    assert ran.counts == {State.SUCCEEDED: 2, State.FAILED: 1}
    assert {error.kind for error in ran.jobs[0].errors} == {"unknown-function"}
    assert Clock(chancy_app).now() > now + timedelta(hours=3)


async def test_jobs_end_as_their_queue_would_have_them_end(chancy_app: Chancy):
    await chancy_app.declare(Queue("rated", rate_limit=1, rate_limit_window=3600))
    big = [Limit(Limit.Type.MEMORY, 2**30)]
    await chancy_app.push_many(
        [
            plain.bind().options(queue="loop"),
            *[plain.bind().options(queue="rated")] * 3,
            plain.bind().options(limits=big),
            wait.bind().options(limits=[Limit(Limit.Type.TIME, 0.05)]),
        ]
    )
    await chancy_app.declare(Queue("loop", executor="async"))  # now it would refuse the first
    unsupported, *rest, timeout = await drain(chancy_app)
    assert [error.kind for error in unsupported.errors] == ["unsupported"]
    assert {job.state for job in rest} == {State.SUCCEEDED}
    assert [error.kind for error in timeout.errors] == ["timeout"]


async def test_a_plain_function_may_push_and_block_since_it_has_a_thread(chancy_app: Chancy, said):
    await chancy_app.push(fan_plainly.bind(names=["a", "b"]))
    ran = (await drain(chancy_app)).check()
    assert said == ["a", "b"]
    assert threading.get_ident() not in {job.returned for job in ran}


async def test_what_was_cut_off_goes_back_uncounted(chancy_app: Chancy):
    held[:] = [anyio.Event()]
    reference = await chancy_app.push(hold.bind())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain, chancy_app)
        with anyio.fail_after(10):
            await held[0].wait()
        tasks.cancel_scope.cancel()
    left = await chancy_app.get_job(reference)
    assert (left.state, left.attempts) == (State.PENDING, 0)
    assert await chancy_app.get_all_workers() == []


@pytest.mark.parametrize("job", [give_up, give_up_plainly])
async def test_a_job_may_fail_the_test(chancy_app: Chancy, job):
    reference = await chancy_app.push(job.bind())
    with pytest.raises(pytest.fail.Exception, match="seen from inside"):
        await drain(chancy_app)
    assert (await chancy_app.get_job(reference)).state is State.PENDING


async def test_a_worker_and_a_drain_do_not_run_the_same_job(chancy_app: Chancy, said):
    await chancy_app.declare(Queue("mail", executor="async"))
    async with Worker(chancy_app):
        references = await chancy_app.push_many(greet.bind(name=f"{n}") for n in range(50))
        await drain(chancy_app)
        done = await chancy_app.wait_for_jobs(references, timeout=20)
    assert sorted(said, key=int) == [str(n) for n in range(50)]
    assert {job.claims for job in done} == {1}


async def test_the_twin_is_refused_where_it_would_block_a_loop(chancy_app: Chancy):
    with pytest.raises(ChancyError, match=r"sync_drain would block.*await drain\(chancy\)"):
        sync_drain(chancy_app)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_plain_test_drains_in_its_own_thread(chancy_app: Chancy, said, backend: str):
    chancy_app.sync_push(fan_plainly.bind(names=["a", "b"]))
    chancy_app.sync_push(fan.bind(names=["c"]))
    ran = sync_drain(chancy_app, backend=backend).check()
    assert said == ["fan", "fanned", "a", "b", "c"]
    assert [j.returned for j in ran if "plain" in j.func] == [threading.get_ident()] * 3
    chancy_app.sync_push(fail.bind(until=9))
    with pytest.raises(Refused):
        sync_drain(chancy_app, reraise=True, backend=backend)


def test_a_plain_function_that_takes_too_long_has_timed_out_all_the_same(chancy_app: Chancy):
    chancy_app.sync_push(plain.bind().options(limits=[Limit(Limit.Type.TIME, 1e-6)]))
    (job,) = sync_drain(chancy_app)
    assert [error.kind for error in job.errors] == ["timeout"]
