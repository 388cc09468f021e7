"""What plugins let a worker claim: the least of their answers, asked again soon when it is none."""

import anyio
import pytest

from chancy import Chancy, Queue, Worker
from chancy_core import lane
from chancy_core.hookspecs import hookimpl
from tests.stage import push

pytestmark = pytest.mark.anyio


class Budget:
    """As many as a test says, less what runs."""

    def __init__(self) -> None:
        self.most = 0
        self.asked = 0
        self.again = anyio.Event()

    @hookimpl
    async def chancy_fetch_budget(self, queue, worker):
        self.asked += queue.name == "q"
        self.again.set()
        self.again = anyio.Event()
        return max(0, self.most - len(worker.running))


@pytest.mark.parametrize("limited", [False, True])
async def test_nothing_is_claimed_that_plugins_do_not_allow(limited, dsn, stage, monkeypatch):
    monkeypatch.setattr(lane, "AGAIN", 0.05)
    budget = Budget()
    rate = {"rate_limit": 1000, "rate_limit_window": 1} if limited else {}
    async with Chancy(dsn, plugins=[budget]) as chancy:
        await chancy.declare(Queue("q", executor="async", concurrency=8, **rate))
        await push(chancy, dsn, 6)
        began = anyio.current_time()
        async with Worker(chancy, signals=False):
            with anyio.fail_after(10):
                while budget.asked < 20:
                    await budget.again.wait()
            # Pauses lie between, but for the hints of the beginning: it does not ask without end.
            assert anyio.current_time() - began >= 10 * 0.05
            assert not stage.begun
            budget.most = 2
            with anyio.fail_after(10):
                while len(stage.begun) < 2:
                    await stage.changed.wait()
            asked = budget.asked
            with anyio.fail_after(10):
                while budget.asked < asked + 3:
                    await budget.again.wait()
            assert len(stage.begun) == 2
            stage.go.set()
            with anyio.fail_after(20):
                while len(stage.ended) < 6:
                    await stage.changed.wait()
    assert stage.most == 2
