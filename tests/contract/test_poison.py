"""Jobs that harm the child that runs them, beside others: each culprit pays, and nobody else."""

import gc
import random
from collections import Counter
from collections.abc import Iterator, Mapping

import anyio
import psutil
import pytest

from chancy import Chancy, Limit, Queue, State, Worker
from chancy_core.executor import Executor
from chancy_core.outcome import Kind, Outcome
from chancy_core.testing.exam.leftovers import Inventory
from tests import unruly
from tests.attempts import attempt, opened

#: How each kind of poison is charged.
CHARGED: Mapping[str, Kind] = {
    "exit": Kind.CHILD_DIED,
    "segv": Kind.CHILD_DIED,
    "kill": Kind.CHILD_DIED,
    "memory": Kind.MEMORY,
    "recursion": Kind.ERROR,
    "unpicklable": Kind.ERROR,
    "deaf": Kind.TIMEOUT,
}
#: What ends those that do not end by themselves.
LIMITS: Mapping[str, list[Limit]] = {
    "memory": [Limit(Limit.Type.MEMORY, 200_000_000)],
    "deaf": [Limit(Limit.Type.TIME, 0.5)],
}
CHILDREN = 4
#: How many bytes of memory the worker may have more after all of it: what its caches take.
KEPT = 30_000_000


@pytest.mark.parametrize(
    ("each", "innocents"),
    [
        (5, 50),
        pytest.param(100, 1_000, marks=[pytest.mark.faults, pytest.mark.timeout(1800)]),
    ],
)
async def test_every_poison_is_charged_and_no_innocent_fails(
    anyio_backend: str, each: int, innocents: int
) -> None:
    asked = list(CHARGED) * each + [""] * innocents
    random.Random(7).shuffle(asked)
    before, base = Inventory.take(), psutil.Process().memory_info().rss
    ended: list[tuple[str, Kind]] = []
    async with opened("process", anyio_backend, unruly.__name__) as executor:
        numbered = iter(enumerate(asked))
        async with anyio.create_task_group() as tasks:
            for _ in range(CHILDREN):
                tasks.start_soon(_serve, executor, numbered, ended)
        children = Inventory.take().children.keys() - before.children.keys()
        assert len(children) <= CHILDREN
    assert Inventory.take().children.keys() <= before.children.keys()
    expected = Counter(dict.fromkeys(CHARGED.items(), each))
    assert Counter(ended) == expected + Counter({("", Kind.SUCCESS): innocents})
    gc.collect()
    assert psutil.Process().memory_info().rss < base + KEPT


async def _serve(
    executor: Executor, numbered: Iterator[tuple[int, str]], ended: list[tuple[str, Kind]]
) -> None:
    for number, how in numbered:
        if how:
            tried = attempt("tests.unruly.poison", *LIMITS.get(how, ()), how=how)
        else:
            tried = attempt("tests.unruly.echo", value=number)
        outcome = await tried.run(executor)
        assert how or outcome == Outcome(Kind.SUCCESS, str(number))
        ended.append((how, outcome.kind))


async def test_on_a_worker_too(anyio_backend: str, dsn: str) -> None:
    asked = [
        unruly.poison.bind(how=how).options(queue="poison", limits=LIMITS.get(how, ()))
        for how in CHARGED
    ] + [unruly.echo.bind(value=number).options(queue="poison") for number in range(30)]
    random.Random(7).shuffle(asked)
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("poison", executor="process", concurrency=3))
        async with Worker(chancy):
            references = await chancy.push_many(asked)
            done = await chancy.wait_for_jobs(references, timeout=60)
    for one in done:
        assert (one.attempts, one.claims, one.crashes) == (1, 1, 0), one
        if one.func.endswith("echo"):
            assert (one.state, one.result()) == (State.SUCCEEDED, one.kwargs["value"])
        else:
            kinds = [failure.kind for failure in one.errors]
            assert (one.state, kinds) == (State.FAILED, [CHARGED[one.kwargs["how"]]])
    assert len(done) == len(asked)
