"""What is told between processes, as a test hears it; and a worker that a test plays."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import anyio

from chancy import Chancy, QueuedJob, Worker
from chancy_core.postgres import Connection
from chancy_core.store import statements
from tests.pooled import past


@asynccontextmanager
async def listening(dsn: str) -> AsyncIterator[Callable[[], Awaitable[list[tuple[str, str]]]]]:
    names = Chancy(dsn).names
    async with await Connection.connect(past(dsn), autocommit=True) as conn:
        for channel in (names.channel, names.answers):
            await conn.execute(f'LISTEN "{channel}"')

        async def told() -> list[tuple[str, str]]:
            """All that was sent before now."""
            await conn.execute("SELECT pg_notify(%s, 'now')", [names.channel])
            heard: list[tuple[str, str]] = []
            with anyio.fail_after(10):
                while (names.channel, "now") not in heard:
                    heard += [(n.channel, n.payload) for n in await conn.notified()]
            heard.remove((names.channel, "now"))
            return [(channel[len(names.channel) :], payload) for channel, payload in heard]

        yield told


@asynccontextmanager
async def hearing(worker: Worker) -> AsyncIterator[Worker]:
    """Have the worker at work, from when it hears what is told: it works before it listens."""
    with worker.events.subscribe("worker.listening") as seen:
        async with worker:
            await seen.next(20)
            yield worker


async def claimed(chancy: Chancy) -> QueuedJob:
    """Claim the only job, as a worker that somebody plays."""
    worker = uuid4()
    announced = {"name": "w", "hostname": "h", "pid": 1, "tags": ["*"], "lease": 60.0}
    await chancy.store.run(statements.announce(chancy.names, worker, **announced))
    (claim,) = await chancy.store.run(statements.claim(chancy.names, worker, {"q": 1}))
    return claim.job
