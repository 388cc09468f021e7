"""Attempts at jobs of `tests.remote_jobs`, as the executor of a Dask cluster is given them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import anyio
from anyio import to_thread
from attrs import evolve

from chancy import Limit
from chancy_core.executor import Executor
from chancy_core.outcome import Outcome
from chancy_core.run import Attempt
from tests.attempts import attempt
from tests.dask_cluster import DaskCluster

SOURCE = "tests.remote_jobs"


class Sent(Attempt):
    """An attempt whose outcome is written at once."""

    async def run(self, executor: Executor, plugins: Any = None) -> Outcome:
        try:
            return await super().run(executor, plugins)
        finally:
            executor.settled([self.job])


def sent(
    func: str,
    *limits: Limit,
    id_: UUID | None = None,
    claims: int = 1,
    at_most_once: bool = False,
    **kwargs: Any,
) -> Attempt:
    """Return an attempt at such a job, under a claim of that number."""
    made = attempt(func, *limits, **kwargs)
    changes = {"claims": claims, "at_most_once": at_most_once}
    job = evolve(made.job, func=f"{SOURCE}.{func}", id=id_ or uuid4(), **changes)
    return Sent(evolve(made.claimed, job=job))


async def came(true: Callable[[], object], within: float = 30.0) -> None:
    """Return once it is *true*, which is asked in a thread: other processes have no event."""
    with anyio.fail_after(within):
        while not await to_thread.run_sync(true):
            await anyio.sleep(0.05)


async def until_nothing_is_left(cluster: DaskCluster) -> None:
    """Return once the scheduler knows nothing of us any more: it is told by and by."""
    await came(lambda: not cluster.left)
