"""A `Store` on a test's own database, and what its tests do with it over and over."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from chancy import Job, Queue, QueuedJob, State
from chancy_core.identity import new_id
from chancy_core.job import Failure
from chancy_core.outcome import Kind, Outcome, Settlement, Verdict
from chancy_core.postgres import Pool
from chancy_core.statement import Names
from chancy_core.store import pushing, statements
from chancy_core.store.rows import Claimed
from chancy_core.store.store import Store

NAMES = Names()
SUCCESS = Outcome(Kind.SUCCESS, "null")


@asynccontextmanager
async def opened(dsn: str) -> AsyncIterator[Store]:
    async with Pool(dsn, max_size=10) as pool:
        yield Store(pool, NAMES)


async def surely(store: Store, jobs: Mapping[UUID, Job]) -> set[UUID]:
    """Store jobs as an application does; answers the ids stored."""
    return await store.ask(pushing.store_surely(NAMES, jobs), lambda _: None)


async def push(store: Store, *jobs: Job) -> list[UUID]:
    """Push jobs, all of which must be new, and return their ids in this order."""
    asked = {new_id(): job for job in jobs}
    assert await surely(store, asked) == set(asked)
    return list(asked)


async def claim(
    store: Store, free: int = 100, *, worker: UUID | None = None, queue: str = "default"
) -> list[Claimed]:
    """Claim as *worker*, which must be announced, or as one that is announced for it."""
    worker = worker or await announce(store)
    await store.run(statements.declare(NAMES, Queue(queue), upsert=False))
    return await store.run(statements.claim(NAMES, worker, {queue: free}))


async def get(store: Store, *ids: UUID) -> list[QueuedJob]:
    """Return the jobs with these ids, in this order."""
    found = {job.id: job for job in await store.run(statements.jobs_by_id(NAMES, ids))}
    return [found[id_] for id_ in ids]


async def fetch(store: Store, text: str, **params: Any) -> Sequence[Sequence[Any]]:
    """Run SQL with our names in it."""
    async with store.pool.connection() as conn:
        cursor = await conn.execute(NAMES.render(text).encode(), params)
        return await cursor.fetchall() if cursor.description else ()


def ended(job: QueuedJob, outcome: Outcome = SUCCESS, state: State = State.SUCCEEDED) -> Settlement:
    return Settlement(job, outcome, Verdict(state))


def failure(message: str = "no", attempt: int = 1) -> Failure:
    return Failure(attempt=attempt, kind="error", type="ValueError", message=message)


async def announce(store: Store, lease: float = 60.0) -> UUID:
    """Begin a worker; a lease below zero has run out."""
    worker = new_id()
    await store.run(
        statements.announce(NAMES, worker, name="w", hostname="h", pid=1, tags=["*"], lease=lease)
    )
    return worker
