"""The history: its partitions, and how jobs are found in it."""

import anyio

from chancy import Job
from chancy_core.identity import new_id
from chancy_core.store import statements
from tests.postgres.stores import NAMES, claim, ended, fetch, opened, push


async def test_partitions_are_made_by_eight_at_once(dsn: str) -> None:
    async with opened(dsn) as store:
        days = "SELECT 1 FROM pg_class WHERE relname ~ '^chancy_history_[0-9]{{8}}$'"
        before = len(await fetch(store, days))
        answers: list[int] = []

        async def ensure() -> None:
            answers.append(await store.run(statements.ensure_partitions(NAMES, 30)))

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(ensure)
        after = len(await fetch(store, days))
        assert (before, after) == (16, 32)
        assert sorted(answers) == [0] * 7 + [16]


async def test_jobs_are_found_live_and_in_the_history(dsn: str) -> None:
    async with opened(dsn) as store:
        finished, live = await push(store, Job("f", priority=1), Job("g"))
        (running,) = await claim(store, 1)
        await store.settle([ended(running.job)])
        found = await store.run(statements.jobs_by_id(NAMES, [finished, live, new_id()]))
        assert {job.id: job.state.finished for job in found} == {finished: True, live: False}
        assert await store.run(statements.jobs_by_id(NAMES, [new_id()])) == []
