"""A queue follows its row, costs no other when that is nonsense, and keeps its limit and order."""

import anyio
import pytest

from chancy import Chancy, Job, Queue, State, Worker
from tests.fleet import Fleet
from tests.stage import connect, play, push
from tests.unharmed import innocent_job, unharmed

pytestmark = [pytest.mark.faults, pytest.mark.anyio]

HOUR = 3600
#: What each of these columns of one row did to the workers of all queues, or to its own for ever.
NONSENSE = {
    "star": 'tags = \'{"*","(a+)+$"}\'',
    "pattern": "tags = '{has=(gpu}'",
    "executor": "executor = 'os.system'",
    "options": "executor_options = '{\"speed\": 9}'",
    "limit": "rate_limit = 5",
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE.keys())
async def test_a_bad_row_costs_its_own_queue_until_it_is_mended(chancy, dsn, stage, nonsense):
    """W4, b3g-t7: one bad tag pattern stopped every worker; a mended row was ignored."""
    stage.go.set()
    good = Queue("odd", executor="async")
    await chancy.declare(good)
    async with unharmed(chancy, dsn), await connect(dsn) as conn:
        await conn.execute(f"UPDATE chancy_queues SET {nonsense} WHERE name = 'odd'".encode())
        await chancy.declare(Queue("new", executor="async"))  # workers look, and go on looking
        (reference,) = await push(chancy, dsn, 1, queue="new")
        await chancy.wait_for_job(reference, timeout=10)
        await innocent_job(chancy, dsn)
        (waiting,) = await push(chancy, dsn, 1, queue="odd")
        await chancy.declare(good, upsert=True)
        assert (await chancy.wait_for_job(waiting, timeout=10)).state is State.SUCCEEDED


async def test_a_change_waits_for_no_job(chancy, dsn, stage):
    """W21: raising concurrency from 4 to 5 stopped all claims until the running jobs had ended."""
    queue = Queue("q", executor="async", concurrency=1)
    await chancy.declare(queue, upsert=True)
    await push(chancy, dsn, 4)
    async with Worker(chancy, grace_period=0):
        await stage.until_begun(1)
        with anyio.fail_after(5):
            await chancy.declare(queue.options(concurrency=2), upsert=True)
            await stage.until_begun(2)
            await chancy.pause_queue("q")
            await chancy.resume_queue("q")
            await chancy.declare(queue.options(concurrency=3, rate_limit=9, rate_limit_window=1))
            await chancy.declare(queue.options(concurrency=3, tags={".*", "new"}), upsert=True)
            await stage.until_begun(3)
        assert stage.now == 3


async def test_a_rate_limit_is_counted_by_one_clock(chancy, dsn, tmp_path):
    """W14, b4-t9: workers whose clocks were a window apart began 100 jobs where 10 were allowed."""
    queue = Queue("limited", executor="async", concurrency=100, rate_limit=10, rate_limit_window=60)
    await chancy.declare(queue)
    await chancy.push_many([Job("member.tick", queue="limited")] * 100)

    def run() -> tuple[int, float]:
        with Fleet(dsn) as fleet:
            names = {"right": 0, "late": 60, "early": -60, "off": HOUR}
            for number, (name, ahead) in enumerate(names.items()):
                fleet.start(name, ("asyncio", "trio")[number % 2], ahead=ahead)
            fleet.until_live(names)
            fleet.one("SELECT count(*) FROM pg_sleep(1)")
            return fleet.ask(
                "SELECT count(*), extract(epoch FROM clock_timestamp() - min(started_at))::float8"
                " FROM chancy_jobs_v1 WHERE started_at IS NOT NULL"
            )[0]

    begun, seconds = await anyio.to_thread.run_sync(run)
    assert 1 <= begun <= queue.rate_limit_burst + 1 + seconds * 10 / 60


async def test_a_key_that_is_held_spoils_its_own_retry_alone(chancy, dsn, stage):
    """W18: retrying a job whose key was in use again failed the whole batch."""
    stage.go.set()
    first, second = await push(chancy, dsn, 1, unique_key="k") + await push(chancy, dsn, 1)
    async with Worker(chancy):
        await chancy.wait_for_jobs([first, second], timeout=10)
    (holder,) = await push(chancy, dsn, 1, unique_key="k")
    answers = {answer.id: answer for answer in await chancy.retry_jobs([first, second])}
    assert (answers[first.id].done, answers[second.id].done) == (False, True)
    states = {one.id: one.state for one in await chancy.get_jobs([first, second, holder])}
    assert (states[first.id], states[second.id]) == (State.SUCCEEDED, State.PENDING)
    assert states[holder.id] is State.PENDING


async def test_no_row_waits_for_ever_with_its_key(chancy, dsn, stage):
    """W18: a waiting job that had used up its attempts was never fetched, and held its key."""
    stage.go.set()
    (stale,) = await push(chancy, dsn, 1, unique_key="k")
    async with await connect(dsn) as conn:
        await conn.execute("UPDATE chancy_jobs SET attempts = max_attempts")
    async with Worker(chancy):
        assert (await chancy.wait_for_job(stale, timeout=10)).state.finished
        (again,) = await push(chancy, dsn, 1, unique_key="k")
        assert again != stale
        await chancy.wait_for_job(again, timeout=10)


async def test_jobs_with_keys_begin_in_the_order_of_their_push(chancy: Chancy, dsn: str, stage):
    """W19: of jobs that were pushed together, the order became that of their keys' alphabet."""
    stage.go.set()
    await chancy.declare(Queue("q", executor="async", concurrency=1), upsert=True)
    keys = ["zebra", "mango", "apple", "kiwi"]
    references = await chancy.push_many(
        play.bind(stage=dsn, number=number).options(unique_key=key)
        for number, key in enumerate(keys)
    )
    async with Worker(chancy):
        await chancy.wait_for_jobs(references, timeout=10)
    assert stage.begun == [0, 1, 2, 3]
