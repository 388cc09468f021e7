"""Cancelling at the very moment at which a job ends: one outcome for each, and nobody else's."""

import random
import sys
import time
from collections import Counter
from collections.abc import Iterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from chancy_core.executor import Executor
from chancy_core.outcome import Kind, Outcome
from chancy_executors.children import Child
from tests import unruly
from tests.attempts import attempt, is_gone, opened
from tests.faults.sizes import figure, size

#: For each executor: the function, which returns its argument, and by which name it takes that.
FUNCTIONS = {
    "async": ("tests.unruly.echo_async", "value"),
    "thread": ("tests.unruly.echo", "value"),
    "process": ("tests.unruly.echo", "value"),
    "interpreter": ("tests.unruly.echo", "value"),
}


@pytest.fixture(autouse=True)
def _threads_take_turns() -> Iterator[None]:
    """Have threads wait for each other no longer than jobs take here."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Moment:
    """When to cancel, in seconds from the beginning: about when a job ends, as it has turned out.

    Of those that were told to end, about a quarter does: to end a child takes its time.
    """

    def __init__(self, first: float) -> None:
        self._centre = first
        self._random = random.Random(7)

    def choose(self) -> float:
        return self._centre * self._random.uniform(0.7, 1.3)

    def learn(self, kind: Kind) -> None:
        self._centre *= 0.97 if kind is Kind.SUCCESS else 1.1


class Race:
    """An executor whose jobs are cancelled as they end, and those who run there beside them."""

    def __init__(self, name: str, executor: Executor) -> None:
        self._func, self._argument = FUNCTIONS[name]
        self._executor = executor
        self._over = False
        self.undisturbed = 0

    async def run(self, value: object) -> Outcome:
        return await attempt(self._func, **{self._argument: value}).run(self._executor)

    async def neighbour(self) -> None:
        """Run jobs, one after another, that nobody cancels."""
        while not self._over:
            outcome = await self.run(-self.undisturbed)
            assert outcome == Outcome(Kind.SUCCESS, str(-self.undisturbed))
            self.undisturbed += 1
            await anyio.sleep(0.001)

    async def cancelled(self, value: int, after: float) -> Outcome:
        """Run a job and cancel it then."""
        tried = attempt(self._func, **{self._argument: value})
        outcomes: list[Outcome] = []

        async def run() -> None:
            outcomes.append(await tried.run(self._executor))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            until = time.perf_counter() + after
            while time.perf_counter() < until:  # an event loop's own clock is far too coarse
                await checkpoint()
            tried.end(Kind.CANCELLED)
        (outcome,) = outcomes
        return outcome

    async def race(self, times: int) -> Counter[Kind]:
        """Do so many times; return how they ended."""
        ended: Counter[Kind] = Counter()
        await self.run("a child is there")
        began = time.perf_counter()
        await self.run("and takes so long")
        moment = Moment(time.perf_counter() - began)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.neighbour)
            for number in range(1, times + 1):
                outcome = await self.cancelled(number, moment.choose())
                if outcome.kind is Kind.SUCCESS:
                    assert outcome.result == str(number)
                else:
                    assert outcome == Outcome(Kind.CANCELLED)
                    if number % 8:  # else the next one is cancelled while its child starts
                        await self.run("a child is there again")
                moment.learn(outcome.kind)
                ended[outcome.kind] += 1
            self._over = True
        return ended


def check(ended: Counter[Kind], times: int) -> None:
    assert ended.total() == times
    assert set(ended) == {Kind.SUCCESS, Kind.CANCELLED}
    # It was about that moment; forty are too few to tell how near, beside other tests.
    assert min(ended.values()) >= (times / 20 if times > 40 else 1), ended


@pytest.mark.parametrize("times", [500, pytest.param(5_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["async", "thread"])
async def test_here(name: str, times: int, anyio_backend: str) -> None:
    async with opened(name, anyio_backend, unruly.__name__) as executor:
        race = Race(name, executor)
        check(await race.race(times), times)
        assert race.undisturbed > 10


@pytest.mark.parametrize(
    "times",
    [40, pytest.param(size(200, 5_000), marks=[pytest.mark.faults, pytest.mark.timeout(3600)])],
)
async def test_in_children(times: int, anyio_backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was not answered is asked no more, and is gone."""
    unanswered: set[Child] = set()
    asked = Child.ask

    async def ask(child: Child, message: bytes) -> bytes:
        assert child not in unanswered
        try:
            return await asked(child, message)
        except BaseException:
            unanswered.add(child)
            raise

    monkeypatch.setattr(Child, "ask", ask)
    async with opened("process", anyio_backend, unruly.__name__) as executor:
        race = Race("process", executor)
        ended = await race.race(times)
        check(ended, times)
        assert race.undisturbed > 10
    assert len(unanswered) <= ended[Kind.CANCELLED]
    assert all(is_gone(child.pid) for child in unanswered)
    figure(f"cancelled as they ended, {anyio_backend}", dict(ended))
