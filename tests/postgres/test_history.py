"""The history: its partitions, and how jobs are found in it."""

from datetime import date, timedelta

import anyio

from chancy import Job
from chancy_core.identity import new_id
from chancy_core.store import statements
from chancy_core.store.store import Store
from tests.postgres.stores import NAMES, claim, ended, fetch, opened, push


async def test_partitions_are_made_by_eight_at_once(dsn: str) -> None:
    async with opened(dsn) as store:
        before = await days(store)
        answers: list[int] = []

        async def ensure() -> None:
            answers.append(await store.run(statements.ensure_partitions(NAMES, 30)))

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(ensure)
        after = await days(store)
        assert sorted(answers) == [0] * 7 + [len(after) - len(before)]
        # The database may be older than this test by a midnight: hence no fixed number of days.
        assert after == [after[0] + timedelta(n) for n in range(len(after))]
        assert (after[0], after[-1]) == (before[0], await today(store) + timedelta(30))


async def days(store: Store) -> list[date]:
    """The days that have a partition, in order."""
    found = "SELECT relname FROM pg_class WHERE relname ~ '^chancy_history_[0-9]{{8}}$' ORDER BY 1"
    return [date.fromisoformat(row[0][-8:]) for row in await fetch(store, found)]


async def today(store: Store) -> date:
    ((found,),) = await fetch(store, "SELECT (now() AT TIME ZONE 'UTC')::date")
    return found


async def test_jobs_are_found_live_and_in_the_history(dsn: str) -> None:
    async with opened(dsn) as store:
        finished, live = await push(store, Job("f", priority=1), Job("g"))
        (running,) = await claim(store, 1)
        await store.settle([ended(running.job)])
        found = await store.run(statements.jobs_by_id(NAMES, [finished, live, new_id()]))
        assert {job.id: job.state.finished for job in found} == {finished: True, live: False}
        assert await store.run(statements.jobs_by_id(NAMES, [new_id()])) == []
