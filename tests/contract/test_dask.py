"""What becomes of calls on a Dask cluster while nobody dies there: see `test_dask_deaths.py`."""

import importlib.util
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from chancy import Limit
from chancy_core import codec, discovery
from chancy_core.errors import Unprepared
from chancy_core.executor import Executor, ExecutorHost
from chancy_core.outcome import Kind, Outcome
from chancy_core.run import Attempt
from chancy_executors.cluster import DaskExecutor, DaskOptions
from chancy_plugins import log_context
from tests.attempts import attempt, is_gone, opened, plugged
from tests.contract.examined import failures
from tests.dask_attempts import SOURCE, came, sent, until_nothing_is_left
from tests.dask_cluster import DaskCluster
from tests.remote_jobs import begun

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="it comes with chancy[dask]"
)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_keeps_the_contract_with_a_cluster_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # A way of Dask's own to start processes, which takes a tenth of the time; there are over 100.
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD", "forkserver")
    assert failures(discovery.load("chancy.executors", "dask"), 20) == {"asyncio": {}, "trio": {}}


# -- calls and answers -----------------------------------------------------------------------------


@pytest.mark.slow
async def test_calls_come_back_from_a_cluster(dask: DaskCluster, anyio_backend: str) -> None:
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        assert await sent("add", a=2, b=3).run(executor) == Outcome(Kind.SUCCESS, "5")
        assert await sent("add_async", a=2, b=3).run(executor) == Outcome(Kind.SUCCESS, "5")
        seen = await sent("claimed", claims=7).run(executor)
        assert (seen.result, codec.decode(seen.meta or "")) == ("7", {"seen": 7})
        assert (await sent("nobody").run(executor)).kind is Kind.UNKNOWN_FUNCTION
        memory = Limit(Limit.Type.MEMORY, 1e9)
        assert (await sent("add", memory, a=1, b=1).run(executor)).kind is Kind.UNSUPPORTED
        time = Limit(Limit.Type.TIME, 60)
        assert (await sent("add", time, a=1, b=1).run(executor)).result == "2"
        await until_nothing_is_left(dask)


@pytest.mark.slow
async def test_many_calls_each_get_their_own_answer(dask: DaskCluster, anyio_backend: str) -> None:
    answers: dict[int, Outcome] = {}

    async def run(number: int) -> None:
        answers[number] = await sent("add", a=number, b=number).run(executor)

    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(run, number)
        await until_nothing_is_left(dask)
    assert {number: outcome.result for number, outcome in answers.items()} == {
        number: str(2 * number) for number in range(300)
    }


@pytest.mark.slow
async def test_a_module_that_cannot_be_loaded_there_is_an_unknown_function(
    dask: DaskCluster, anyio_backend: str
) -> None:
    source = "tests.no_such_module"
    async with opened("dask", anyio_backend, source, address=dask.address) as executor:
        outcome = await sent("add", a=1, b=1).run(executor)
        await until_nothing_is_left(dask)
    assert outcome.kind is Kind.UNKNOWN_FUNCTION
    assert outcome.failure is not None
    assert "a Dask worker could not load the jobs" in outcome.failure.message
    assert source in outcome.failure.message


@pytest.mark.slow
async def test_plugins_come_along(dask: DaskCluster, anyio_backend: str) -> None:
    plugins = plugged(log_context)
    tried = attempt("log")
    options: dict[str, Any] = {"plugins": plugins, "address": dask.address}
    async with opened("dask", anyio_backend, **options) as executor:
        outcome = await tried.run(executor)
        executor.settled([tried.job])
    line = f"{tried.job.id} default {tried.job.func} 1"
    assert codec.decode(outcome.result or "") == [line, line]


@pytest.mark.slow
async def test_a_job_runs_where_there_is_what_it_takes(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    options: dict[str, Any] = {"address": dask.address, "resources": {"TPU": 1}}
    async with opened("dask", anyio_backend, SOURCE, **options) as executor:
        with anyio.move_on_after(1):
            await sent("note", log=str(log)).run(executor)
        assert begun(log) == []  # no worker has any
    options["resources"] = {"GPU": 1}
    async with opened("dask", anyio_backend, SOURCE, **options) as executor:
        assert (await sent("note", log=str(log)).run(executor)).result == "1"


@pytest.mark.slow
async def test_those_that_came_first_go_first(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    batches = [[sent("note", log=str(log)) for _ in range(3)] for _ in range(2)]
    async with (
        opened("dask", anyio_backend, SOURCE, address=dask.address) as executor,
        anyio.create_task_group() as tasks,
    ):
        for _ in dask.workers:
            tried = sent("note_and_wait", log=str(tmp_path / "busy"), until=str(go))
            tasks.start_soon(tried.run, executor)
        await came(lambda: len(dask.left) == 2)
        for number, batch in enumerate(batches):
            for tried in batch:
                tasks.start_soon(tried.run, executor)
            await came(lambda: len(dask.left) == 5 + 3 * number)  # noqa: B023 - at once
        go.touch()
    first, second = ({tried.job.id for tried in batch} for batch in batches)
    order = [start.job for start in begun(log)]  # two at once, so that neighbours may change places
    assert set(order[:2]) <= first
    assert set(order[-2:]) <= second


@pytest.mark.slow
async def test_a_claim_after_an_error_runs_the_function_again(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log, id_ = str(tmp_path / "log"), uuid4()
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        for claim in (1, 2, 3):
            tried = sent("note_and_fail", id_=id_, claims=claim, log=log)
            outcome = await tried.run(executor)
            assert outcome.failure is not None
            assert outcome.failure.message == f"failure {claim}"


# -- calls that are cancelled, late or handed back -------------------------------------------------


@pytest.mark.slow
async def test_what_waits_for_its_turn_when_it_is_cancelled_never_begins(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    running, waiting, go = tmp_path / "running", tmp_path / "waiting", tmp_path / "go"
    busy = len(dask.workers)
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        async with anyio.create_task_group() as tasks:
            first = [sent("note_and_wait", log=str(running), until=str(go)) for _ in range(busy)]
            for tried in first:
                tasks.start_soon(tried.run, executor)
            await came(lambda: len(begun(running)) == busy)
            late = [sent("note", log=str(waiting)) for _ in range(3)]
            for tried in late:
                tasks.start_soon(tried.run, executor)
            await came(lambda: len(dask.left) == busy + 3)
            for tried in (*first, *late):
                tried.end(Kind.CANCELLED)
        await came(lambda: len(dask.left) == busy)
        go.touch()
        await until_nothing_is_left(dask)
        assert (await sent("add", a=1, b=1).run(executor)).result == "2"
    assert begun(waiting) == []


async def late(tried: Attempt, executor: Executor, log: Path) -> Kind:
    """Run an attempt until its function has begun, and its time is over then."""
    outcomes: list[Outcome] = []

    async def run() -> None:
        outcomes.append(await tried.run(executor))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await came(lambda: begun(log))
        tried.end(Kind.TIMEOUT)
    return outcomes[0].kind


@pytest.mark.slow
async def test_a_function_that_cannot_be_ended_is_named_and_holds_up_nobody(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        tried = sent("note_and_wait", log=str(log), until=str(go))
        assert await late(tried, executor, log) is Kind.TIMEOUT
        await came(lambda: list(executor.left))
        (left,) = executor.left
        assert left.job == tried.job
        assert "in note_and_wait" in left.where()
        with anyio.fail_after(20):  # Dask knows that its thread is not free
            for _ in range(6):
                assert (await sent("add", a=1, b=1).run(executor)).result == "2"
        go.touch()
        await until_nothing_is_left(dask)
        await came(lambda: not list(executor.left))
    assert len(begun(log)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("func", ["listen", "listen_async"])
async def test_a_function_that_listens_ends_when_its_call_does(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path, func: str
) -> None:
    log, ended = tmp_path / "log", tmp_path / "ended"
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        async with anyio.create_task_group() as tasks:
            tried = sent(func, log=str(log), ended=str(ended))
            tasks.start_soon(tried.run, executor)
            await came(lambda: begun(log))
            tried.end(Kind.CANCELLED)
        await came(ended.exists)
        await until_nothing_is_left(dask)


@pytest.mark.slow
async def test_a_retry_does_not_wait_for_what_was_too_late(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log, go, id_ = tmp_path / "log", tmp_path / "go", uuid4()
    told: dict[str, Any] = {"log": str(log), "until": str(go), "id_": id_}
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        assert await late(sent("note_and_wait", **told), executor, log) is Kind.TIMEOUT
        await came(lambda: list(executor.left))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sent("note_and_wait", claims=2, **told).run, executor)
            await came(lambda: [start.claims for start in begun(log)] == [1, 2])
            go.touch()
        await until_nothing_is_left(dask)


@pytest.mark.slow
async def test_what_is_handed_back_runs_on_for_the_next_claim(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log, go, id_ = tmp_path / "log", tmp_path / "go", uuid4()
    told: dict[str, Any] = {"log": str(log), "until": str(go), "id_": id_}
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        async with anyio.create_task_group() as tasks:
            tried = sent("note_and_wait", **told)
            tasks.start_soon(tried.run, executor)
            await came(lambda: begun(log))
            tried.end(Kind.SHUTDOWN)
        assert not list(executor.left)
    await came(lambda: dask.seen == {f"{id_}-1": ("processing", {"chancy"})})
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sent("note_and_wait", claims=2, **told).run, executor)
            await came(lambda: len(dask.seen[f"{id_}-1"][1]) == 2)
            go.touch()
        await until_nothing_is_left(dask)
    assert len(begun(log)) == 1


@pytest.mark.slow
async def test_an_answer_stays_until_it_is_written(
    dask: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    first = sent("note", log=str(log))
    async with opened("dask", anyio_backend, SOURCE, address=dask.address) as executor:
        unwritten = Attempt(first.claimed)
        assert (await unwritten.run(executor)).result == "1"
        assert list(dask.seen) == [f"{first.job.id}-1"]
        async with opened("dask", anyio_backend, SOURCE, address=dask.address) as another:
            again = sent("note", id_=first.job.id, claims=2, log=str(log))
            assert (await again.run(another)).result == "1"
        executor.settled([first.job])
        await until_nothing_is_left(dask)
    assert len(begun(log)) == 1


# -- a cluster of its own --------------------------------------------------------------------------


@pytest.mark.slow
async def test_on_a_cluster_of_its_own_the_process_of_a_cancelled_call_is_killed(
    anyio_backend: str, tmp_path: Path
) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    async with opened("dask", anyio_backend, SOURCE, workers=2) as executor:
        other = sent("note_and_wait", log=str(log), until=str(go))
        tried = sent("note_and_wait", log=str(log), until=str(go))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.run, executor)
            tasks.start_soon(tried.run, executor)
            await came(lambda: len(begun(log)) == 2)
            pids = {start.job: start.pid for start in begun(log)}
            tried.end(Kind.CANCELLED)
            await came(lambda: is_gone(pids[tried.job.id]))
            assert (await sent("add", a=1, b=1).run(executor)).result == "2"
            assert not is_gone(pids[other.job.id])
            go.touch()
    assert len(begun(log)) == 2


@pytest.mark.slow
async def test_a_cluster_of_its_own_follows_the_depth_of_its_queue(
    anyio_backend: str, tmp_path: Path
) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    async with (
        opened("dask", anyio_backend, SOURCE, adaptive=(0, 2)) as executor,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(4):
            tried = sent("note_and_wait", log=str(log), until=str(go))
            tasks.start_soon(tried.run, executor)
        await came(lambda: len(begun(log)) == 2)
        go.touch()
    assert len(begun(log)) == 4


# -- opening ---------------------------------------------------------------------------------------


async def test_a_cluster_that_is_not_there_is_named(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chancy_executors.connection.CONNECT", 0.3)
    with pytest.raises(Unprepared, match=r"tcp://127.0.0.1:9"):
        async with opened("dask", anyio_backend, address="tcp://127.0.0.1:9"):
            pass


async def test_opening_can_be_cancelled(anyio_backend: str) -> None:
    began = anyio.current_time()
    with anyio.move_on_after(0.2):
        async with opened("dask", anyio_backend, address="tcp://127.0.0.1:9"):
            pass
    assert anyio.current_time() - began < 3


def test_it_can_be_resized_before_it_is_opened() -> None:
    executor = DaskExecutor(DaskOptions(), 1, ExecutorHost((), "asyncio"))
    executor.resize(2)
    assert executor.concurrency == 2
