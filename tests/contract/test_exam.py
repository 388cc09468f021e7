"""The exam for executors: ours pass it, and each of the bad ones is rejected where it errs."""

import threading
import time
from functools import partial
from typing import Any, Self

import anyio
import pytest
from anyio import to_thread
from attrs import frozen

from chancy_core import discovery, registry
from chancy_core.errors import ExamFailed
from chancy_core.executor import Call, Capability, Executor
from chancy_core.testing import check_executor
from chancy_core.testing.exam.bad import (
    BAD,
    ForgetsChildren,
    KeepsTheDead,
    OneAtATime,
    Right,
    WaitsForThreads,
    tidy,
)
from tests.acceptance.test_readme import blocks
from tests.contract.examined import failures


@pytest.fixture(autouse=True)
def _tidied():
    yield
    tidy()


@pytest.mark.parametrize("name", ["async", "thread"])
async def test_ours_pass(name: str) -> None:
    await check_executor(discovery.load("chancy.executors", name))


@pytest.mark.slow
def test_ours_with_processes_passes() -> None:
    assert failures(discovery.load("chancy.executors", "process")) == {"asyncio": {}, "trio": {}}


async def test_what_the_bad_ones_are_made_from_passes() -> None:
    await check_executor(Right)


#: The bad ones that keep the exam waiting, and how long they may: children take a while to start.
SLOW = {ForgetsChildren: 5, KeepsTheDead: 5, OneAtATime: 1, WaitsForThreads: 1}


@pytest.mark.parametrize(
    "made", [made for made in BAD if made not in SLOW], ids=lambda made: made.__name__
)
async def test_a_bad_one_is_rejected_by_the_parts_that_are_about_its_mistake(
    made: type[Executor],
) -> None:
    with pytest.raises(ExamFailed) as failed:
        await check_executor(made, patience=1)
    assert tuple(failed.value.failures) == BAD[made], failed.value


@pytest.mark.slow
@pytest.mark.parametrize("made", SLOW, ids=lambda made: made.__name__)
def test_a_slow_bad_one_is_rejected_by_the_parts_that_are_about_its_mistake(
    made: type[Executor],
) -> None:
    failed = failures(made, SLOW[made])
    assert {loop: tuple(parts) for loop, parts in failed.items()} == dict.fromkeys(
        ("asyncio", "trio"), BAD[made]
    ), failed


def test_there_are_eleven() -> None:
    assert len(BAD) == 11


@pytest.mark.parametrize("file", ["executors/README.md", "docs/executors.md"])
async def test_the_executor_of_the_page_passes(file: str) -> None:
    namespace: dict[str, Any] = {"__name__": "acme.executors"}
    whole = next(each for each in blocks(file, "python") if "class EchoExecutor" in each)
    exec(compile(whole, file, "exec"), namespace)
    await check_executor(namespace["EchoExecutor"], options={"times": 1})


class TakesArgumentsAsStored(Right):
    """Looks the function up for itself, and leaves out what else there is to be done."""

    async def run(self, call: Call) -> Any:
        return await registry.lookup(call.job.func).func(**call.job.kwargs)


class EndsErrors(Right):
    """Says at the end of its block that whatever was raised there is settled."""

    async def __aexit__(self, *exc: object) -> Any:
        return True


@pytest.mark.parametrize(
    ("made", "parts"),
    [(TakesArgumentsAsStored, ["returns", "refuses"]), (EndsErrors, ["stops"])],
)
async def test_what_else_is_easily_done_wrong(made: type[Executor], parts: list[str]) -> None:
    with pytest.raises(ExamFailed) as failed:
        await check_executor(made, patience=1)
    assert list(failed.value.failures)[: len(parts)] == parts


class BlocksTheLoop(Executor):
    """Calls plain functions where they hold up everybody."""

    capabilities = Capability.SYNC

    async def run(self, call: Call) -> Any:
        func, arguments = call.resolve(self.capabilities)
        return func(**arguments)


def test_one_that_blocks_its_loop_is_rejected_in_bounded_time() -> None:
    began = time.monotonic()
    for failed in failures(BlocksTheLoop, 0.3).values():
        assert {"cancels", "floods", "resizes", "stops"} <= failed.keys()
        assert not {"returns", "raises"} & failed.keys()
    assert time.monotonic() - began < 30


class KillsNobody(Executor):
    """Says that it can kill what it runs in a thread."""

    capabilities = Capability.SYNC | Capability.HARD_KILL | Capability.MEMORY_LIMIT

    async def run(self, call: Call) -> Any:
        func, arguments = call.resolve(self.capabilities)
        return await to_thread.run_sync(partial(func, **arguments), abandon_on_cancel=True)


async def test_one_that_claims_too_much_is_rejected_and_ends_nobodys_process() -> None:
    with pytest.raises(ExamFailed) as failed:
        await check_executor(KillsNobody, patience=0.5)
    assert set(failed.value.failures) >= {"cancels", "crashes", "bounds memory"}
    assert "the executor's own" in failed.value.failures["crashes"]


class HangsInRun(Right):
    """Waits for what never comes, and lets nobody cancel that."""

    let_go = threading.Event()

    async def run(self, call: Call) -> Any:
        with anyio.CancelScope(shield=True):
            while call.job.func.endswith("known_async") and not self.let_go.is_set():
                await anyio.sleep(0.05)
        return await super().run(call)


async def test_one_that_hangs_is_named_and_left_behind() -> None:
    HangsInRun.let_go.clear()
    try:
        with anyio.fail_after(30), pytest.raises(ExamFailed, match="it hangs after") as failed:
            await check_executor(HangsInRun, patience=0.2)
        assert list(failed.value.failures) == ["returns"]
    finally:
        HangsInRun.let_go.set()
        for thread in threading.enumerate():
            if thread.name == "chancy-exam-returns":
                await to_thread.run_sync(thread.join, 10)


class NoCapabilities(Right):
    capabilities = "async"  # type: ignore[assignment]


class NoNumber(Right):
    default_concurrency = 0


class PlainOptions(Right):
    Options = dict


@frozen
class Needy:
    token: str


class NeedsOptions(Right):
    Options = Needy


class Abstract(Executor):
    capabilities = Capability.ASYNC


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (NoCapabilities, "capabilities should be of Capability"),
        (NoNumber, "default_concurrency should be a whole number from 1; it is 0"),
        (PlainOptions, "Options should be an attrs class"),
        (NeedsOptions, "its defaults should do"),
        (Abstract, "run is missing"),
        (object, "should be a subclass of chancy_core.executor.Executor"),
    ],
)
async def test_a_class_that_is_no_executor_is_not_opened(made: Any, said: str) -> None:
    with pytest.raises(ExamFailed, match=said) as failed:
        await check_executor(made)
    assert list(failed.value.failures) == ["declares"]


async def test_options_that_it_needs_may_be_given() -> None:
    await check_executor(NeedsOptions, options={"token": "t"})


async def test_what_an_executor_raises_is_told_with_its_place() -> None:
    class Broken(Right):
        async def __aenter__(self) -> Self:
            raise OSError("no way in")

    with pytest.raises(
        ExamFailed, match=r"returns: it raised OSError: no way in \(.*:\d+\)"
    ) as failed:
        await check_executor(Broken)
    assert isinstance(failed.value.__cause__, OSError)
