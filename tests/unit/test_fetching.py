"""When results are fetched together."""

from time import monotonic

import anyio
import pytest

from chancy_executors import fetching as under_test
from chancy_executors.fetching import PART, Pace

pytestmark = pytest.mark.anyio

#: Seconds that nobody takes for a few: a machine may be busy.
MOST = 4.0


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "MOST", MOST)


async def waited(pace: Pace) -> float:
    began = monotonic()
    with anyio.fail_after(10):
        await pace.turn()
    return monotonic() - began


async def test_the_last_of_all_waits_for_nobody() -> None:
    pace = Pace()
    pace.ended(since=monotonic() - 1000, threads=1)
    assert await waited(pace) < MOST / 2


async def test_a_result_waits_while_more_tasks_wait_for_a_thread() -> None:
    pace = Pace()
    pace.running = 62
    pace.ended(since=monotonic(), threads=2)
    assert await waited(pace) >= MOST * 0.9


async def test_results_do_not_wait_any_more_when_half_of_what_waited_has_ended() -> None:
    pace = Pace()
    pace.running = 64

    async def end() -> None:
        for _ in range(32):
            pace.running -= 1
            pace.ended(since=monotonic(), threads=2)
            await anyio.sleep(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(end)
        assert await waited(pace) < MOST / 2


async def test_where_every_task_has_a_thread_a_result_waits_for_a_part_of_its_own_time() -> None:
    pace = Pace()
    pace.running = 3
    pace.ended(since=monotonic() - 1, threads=8)
    assert PART * 0.9 <= await waited(pace) < MOST / 2


async def test_each_fetch_counts_anew() -> None:
    pace = Pace()
    pace.running = 2
    pace.ended(since=monotonic(), threads=8)
    await waited(pace)
    pace.running = 62
    pace.ended(since=monotonic(), threads=2)
    assert await waited(pace) >= MOST * 0.9
