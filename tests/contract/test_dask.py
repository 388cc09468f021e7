"""What becomes of calls on a Dask cluster while nobody dies there: see `test_dask_deaths.py`."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from chancy import Limit, Queue
from chancy_core import codec, discovery
from chancy_core.errors import BrokenOffer, InvalidValue, Unprepared
from chancy_core.executor import Call, Capability, ExecutorHost
from chancy_core.installed import find_executor, open_executor
from chancy_core.outcome import Kind, Outcome
from chancy_core.perform import request
from chancy_executors.cluster import DaskExecutor, DaskOptions
from chancy_executors.remote import perform_call
from chancy_plugins import log_context
from tests.attempts import attempt, opened, plugged
from tests.contract.examined import failures
from tests.dask_attempts import SOURCE, came, sent, until_nothing_is_left
from tests.dask_cluster import DaskCluster
from tests.remote_jobs import begun


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path_factory.mktemp("dask")) as cluster:
        yield cluster


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_keeps_the_contract_with_a_cluster_of_its_own() -> None:
    assert failures(discovery.load("chancy.executors", "dask"), 30) == {"asyncio": {}, "trio": {}}


@pytest.mark.slow
async def test_calls_come_back_from_a_cluster(cluster: DaskCluster, anyio_backend: str) -> None:
    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        assert await sent("add", a=2, b=3).run(executor) == Outcome(Kind.SUCCESS, "5")
        assert await sent("add_async", a=2, b=3).run(executor) == Outcome(Kind.SUCCESS, "5")
        seen = await sent("claimed", claims=7).run(executor)
        assert (seen.result, codec.decode(seen.meta or "")) == ("7", {"seen": 7})
        assert (await sent("nobody").run(executor)).kind is Kind.UNKNOWN_FUNCTION
        memory = Limit(Limit.Type.MEMORY, 1e9)
        assert (await sent("add", memory, a=1, b=1).run(executor)).kind is Kind.UNSUPPORTED
        time = Limit(Limit.Type.TIME, 60)
        assert (await sent("add", time, a=1, b=1).run(executor)).result == "2"
        await until_nothing_is_left(cluster)


@pytest.mark.slow
async def test_many_calls_each_get_their_own_answer(
    cluster: DaskCluster, anyio_backend: str
) -> None:
    answers: dict[int, Outcome] = {}

    async def run(number: int) -> None:
        answers[number] = await sent("add", a=number, b=number).run(executor)

    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(run, number)
        await until_nothing_is_left(cluster)
    assert {number: outcome.result for number, outcome in answers.items()} == {
        number: str(2 * number) for number in range(300)
    }


@pytest.mark.slow
async def test_a_module_that_cannot_be_loaded_there_is_an_unknown_function(
    cluster: DaskCluster, anyio_backend: str
) -> None:
    source = "tests.no_such_module"
    async with opened("dask", anyio_backend, source, address=cluster.address) as executor:
        outcome = await sent("add", a=1, b=1).run(executor)
    assert outcome.kind is Kind.UNKNOWN_FUNCTION
    assert outcome.failure is not None
    assert "a Dask worker could not load the jobs" in outcome.failure.message
    assert source in outcome.failure.message


@pytest.mark.slow
async def test_plugins_come_along(cluster: DaskCluster, anyio_backend: str) -> None:
    plugins = plugged(log_context)
    tried = attempt("log")
    options: dict[str, Any] = {"plugins": plugins, "address": cluster.address}
    async with opened("dask", anyio_backend, **options) as executor:
        outcome = await tried.run(executor)
    line = f"{tried.job.id} default {tried.job.func} 1"
    assert codec.decode(outcome.result or "") == [line, line]


@pytest.mark.slow
async def test_a_late_function_may_notice_by_itself(
    cluster: DaskCluster, anyio_backend: str
) -> None:
    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        for _ in cluster.workers:
            outcome = await sent("late", Limit(Limit.Type.TIME, 0.5)).run(executor)
            assert outcome.kind is Kind.TIMEOUT
        with anyio.fail_after(20):  # none has kept its process to itself
            assert (await sent("add", a=1, b=1).run(executor)).result == "2"


@pytest.mark.slow
async def test_what_is_cancelled_is_released_and_what_waits_for_its_turn_never_begins(
    cluster: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    running, waiting, go = tmp_path / "running", tmp_path / "waiting", tmp_path / "go"
    busy = len(cluster.workers)
    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        async with anyio.create_task_group() as tasks:
            for _ in range(busy):
                tried = sent("note_and_wait", log=str(running), until=str(go))
                tasks.start_soon(tried.run, executor)
            await came(lambda: len(begun(running)) == busy)
            for _ in range(3):
                tasks.start_soon(sent("note", log=str(waiting)).run, executor)
            await came(lambda: len(cluster.left) == busy + 3)
            tasks.cancel_scope.cancel()
        await until_nothing_is_left(cluster)
        go.touch()
        assert (await sent("add", a=1, b=1).run(executor)).result == "2"
    assert begun(waiting) == []


@pytest.mark.slow
async def test_a_job_runs_where_there_is_what_it_takes(
    cluster: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    options: dict[str, Any] = {"address": cluster.address, "resources": {"TPU": 1}}
    async with opened("dask", anyio_backend, SOURCE, **options) as executor:
        with anyio.move_on_after(1):
            await sent("note", log=str(log)).run(executor)
        assert begun(log) == []  # no worker has any
    options["resources"] = {"GPU": 1}
    async with opened("dask", anyio_backend, SOURCE, **options) as executor:
        assert (await sent("note", log=str(log)).run(executor)).result == "1"


@pytest.mark.slow
async def test_a_claim_after_an_error_runs_the_function_again(
    cluster: DaskCluster, anyio_backend: str, tmp_path: Path
) -> None:
    log, id_ = str(tmp_path / "log"), uuid4()
    async with opened("dask", anyio_backend, SOURCE, address=cluster.address) as executor:
        for claim in (1, 2, 3):
            tried = sent("note_and_fail", id_=id_, claims=claim, log=log)
            outcome = await tried.run(executor)
            assert outcome.failure is not None
            assert outcome.failure.message == f"failure {claim}"


@pytest.mark.slow
async def test_a_cluster_of_its_own_follows_the_work(anyio_backend: str) -> None:
    async with opened("dask", anyio_backend, SOURCE, adaptive=(0, 1)) as executor:
        with anyio.fail_after(40):
            assert (await sent("add", a=1, b=1).run(executor)).result == "2"


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


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"address": "10.0.0.5:8786"}, r"address must be like tcp://.*, not '10.0.0.5:8786'"),
        ({"address": "tcp://"}, "address must be like"),
        ({"address": 8786}, "must be of type str, not int"),
        ({"workers": 0}, "workers must be 1 or more, or None, not 0"),
        ({"workers": "4"}, "must be of type int, not str"),
        ({"adaptive": [2, 1]}, r"adaptive must be the fewest processes, .*not \[2, 1\]"),
        ({"adaptive": [0, 0]}, r"adaptive must be the fewest processes, .*not \[0, 0\]"),
        ({"adaptive": [-1, 2]}, r"adaptive must be the fewest processes, .*not \[-1, 2\]"),
        ({"adaptive": [1]}, r"Not enough values in \[1\]"),
        ({"resources": {"GPU": 0}, "address": "tcp://a:1"}, "of 'GPU' each job takes more than 0"),
        ({"resources": {"GPU": "1"}, "address": "tcp://a:1"}, "must be of type float, not str"),
        ({"resources": {"GPU": 1}}, "give its address"),
        ({"workers": 2, "adaptive": [1, 2]}, "workers and adaptive exclude each other"),
        ({"workers": 2, "address": "tcp://a:1"}, "workers is about a cluster of the worker's own"),
        ({"adaptive": [1, 2], "address": "tcp://a:1"}, "adaptive is about a cluster of the worker"),
        ({"nodes": 7}, "nodes"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidValue, match=f"{problem}.* queue 'q': executor_options"):
        find_executor(Queue("q", executor="dask", executor_options=options))


@pytest.mark.parametrize(
    ("options", "made"),
    [
        ({}, DaskOptions()),
        ({"workers": 3}, DaskOptions(workers=3)),
        ({"adaptive": [0, 8]}, DaskOptions(adaptive=(0, 8))),
        (
            {"address": "tls://a:1", "resources": {"GPU": 1, "MEMORY": 4e9}},
            DaskOptions(address="tls://a:1", resources={"GPU": 1.0, "MEMORY": 4e9}),
        ),
    ],
)
def test_options_that_fit(options: dict[str, Any], made: DaskOptions) -> None:
    assert find_executor(Queue("q", executor="dask", executor_options=options)) == (
        DaskExecutor,
        made,
    )


async def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    queue = Queue("q", executor="dask")
    find_executor(queue)  # whoever only declares the queue needs no Dask
    with pytest.raises(BrokenOffer, match=r"pip install 'chancy\[dask\]'"):
        open_executor(queue)


async def test_a_call_is_performed_once_on_a_machine_whatever_dies(tmp_path: Path) -> None:
    log, fence = tmp_path / "log", tmp_path / "begun"
    fence.mkdir()
    setup = {"sources": [[SOURCE, None]], "plugins": [], "backend": "asyncio", "capabilities": 3}
    claimed = sent("note", log=str(log)).claimed
    message = request(Call(claimed.job, claimed.arguments))

    def perform(key: str) -> Any:
        return perform_call(json.dumps(setup).encode(), str(fence), key, message)

    first = perform("key-1")
    assert first == b"ok\n\n1"
    assert perform("key-1") == first  # its answer had not been fetched when its process died
    (fence / "key-2").touch()  # it has not ended
    assert perform("key-2") is None
    assert perform("key-3") == b"ok\n\n2"
    assert len(begun(log)) == 2


def test_it_claims_no_more_than_it_does() -> None:
    assert DaskExecutor.capabilities == Capability.SYNC | Capability.ASYNC


def test_it_can_be_resized_before_it_is_opened() -> None:
    executor = DaskExecutor(DaskOptions(), 1, ExecutorHost((), "asyncio"))
    executor.resize(2)
    assert executor.concurrency == 2
