"""What a worker runs is told in its row, for as long as somebody watches."""

import json
import os
import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import anyio
import pytest

from chancy import Chancy, Queue, Worker
from chancy_core import discovery, heartbeat, load
from chancy_core.executor import Running
from chancy_core.hint import WATCHED, Hint
from chancy_core.store.roster import Snapshot
from chancy_executors.aio import AsyncExecutor
from tests.stage import Stage, push

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.05)


async def told(chancy: Chancy, fits: Callable[[Snapshot | None], bool]) -> Snapshot | None:
    """What the only worker tells of, once it fits."""
    with anyio.fail_after(20):
        while True:
            (info,) = await chancy.get_all_workers()
            if fits(info.running):
                return info.running
            await anyio.sleep(0.02)


async def test_nobody_is_told_who_does_not_watch(
    chancy: Chancy, dsn: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(load, "WATCHED", 0.5)
    references = await push(chancy, dsn, 3)
    async with Worker(chancy):
        await stage.until_begun(3)
        assert await told(chancy, lambda _: True) is None
        with anyio.fail_after(20):
            while (found := await told(chancy, lambda _: True)) is None:
                chancy.hint(Hint(WATCHED, ""))
                await anyio.sleep(0.05)
        assert {job.id for job in found.jobs} == {reference.id for reference in references}
        assert {(job.func, job.queue) for job in found.jobs} == {("life.play", "q")}
        assert found.more == 0
        assert found.cpu is not None
        assert found.memory is not None
        assert found.memory > 1e6
        assert await told(chancy, lambda found: found is None) is None
        stage.go.set()


async def test_a_worker_that_hears_nobody_tells_always(dsn: str, chancy: Chancy, stage: Stage):
    async with Chancy(dsn, notifications=False) as deaf:
        await push(deaf, dsn, 1)
        async with Worker(deaf):
            found = await told(deaf, lambda found: bool(found and found.jobs))
            stage.go.set()
    assert found is not None
    assert found.jobs[0].func == "life.play"


async def test_of_many_the_oldest_are_told(
    chancy: Chancy, dsn: str, stage: Stage, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(load, "MOST", 2)
    async with Chancy(dsn, notifications=False) as deaf:
        await push(deaf, dsn, 3)
        async with Worker(deaf):
            await stage.until_begun(3)
            found = await told(deaf, lambda found: bool(found and found.more))
            stage.go.set()
    assert found is not None
    assert (len(found.jobs), found.more) == (2, 1)


async def test_what_cannot_be_told_does_not_cost_the_lease(caplog: pytest.LogCaptureFixture):
    class Broken:
        def __iter__(self) -> None:
            raise RuntimeError("no lanes")

    assert load.Load(Broken(), hears=False).text() is None  # type: ignore[arg-type]
    assert "cannot tell what the worker runs" in caplog.text


class MuteExecutor(AsyncExecutor):
    """Does not know where its calls run, and says so in a way of its own."""

    asked = 0

    def running(self) -> Any:
        type(self).asked += 1
        raise RuntimeError("no idea")


class VagueExecutor(MuteExecutor):
    """Answers what nobody can measure."""

    def running(self) -> Any:
        type(self).asked += 1
        return [Running(uuid4(), pid="4711")]  # type: ignore[arg-type]


@pytest.fixture(params=[MuteExecutor, VagueExecutor])
def mute(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type[MuteExecutor]:
    """An executor that is found by this name."""
    find, made = discovery.load, request.param
    monkeypatch.setattr(
        discovery, "load", lambda group, name: made if name == "mute" else find(group, name)
    )
    monkeypatch.setattr(made, "asked", 0)
    return made


async def test_an_executor_that_cannot_say_silences_no_other(
    dsn: str,
    chancy: Chancy,
    stage: Stage,
    mute: type[MuteExecutor],
    caplog: pytest.LogCaptureFixture,
):
    async with Chancy(dsn, notifications=False) as deaf:
        await deaf.declare(Queue("mute", executor="mute"))
        await push(deaf, dsn, 1)
        await push(deaf, dsn, 2, queue="mute")
        async with Worker(deaf):
            await stage.until_begun(3)
            try:
                found = await told(deaf, lambda found: bool(found and len(found.jobs) == 3))
                with anyio.fail_after(20):
                    while mute.asked < 3:
                        await anyio.sleep(0.02)
            finally:
                stage.go.set()
    assert found is not None
    assert sorted(job.queue for job in found.jobs) == ["mute", "mute", "q"]
    said = f"queue mute: its executor, {mute.__name__}, cannot say where its calls run"
    assert caplog.text.count(said) == 1
    assert "cannot tell what the worker runs" not in caplog.text


def test_a_place_is_measured_by_its_process_or_thread():
    taken = load._meter()
    mine = taken(Running(uuid4(), pid=os.getpid()))
    assert mine["memory"] > 1e6
    assert taken(Running(uuid4(), thread=threading.get_native_id()))["cpu"] >= 0
    assert taken(Running(uuid4(), pid=2**22 + 1)) == {}
    assert taken(Running(uuid4(), thread=1)) == {}
    assert json.loads(json.dumps(taken(None)))["memory"] > 1e6
