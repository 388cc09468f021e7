"""What keeps the promises is no plugin: with nobody let in, and ours disabled, all of them hold."""

import pytest

from chancy import Chancy, Queue, State, Worker
from chancy_core import discovery, heartbeat
from tests.stage import connect, push

pytestmark = pytest.mark.anyio

ORPHANED = (
    "UPDATE chancy_jobs SET state = 'running', worker = gen_random_uuid(), claims = 1,"
    " lease_id = gen_random_uuid(), started_at = now()"
)


async def test_without_any_plugin_the_dead_lose_no_job(dsn, stage, monkeypatch):
    ours = [
        f"{group}:{name}" for group in ("chancy.plugins", "chancy.tags") for name in known(group)
    ]
    assert len(ours) >= 5
    monkeypatch.setenv("CHANCY_ALLOW", "")
    monkeypatch.setenv("CHANCY_DISABLED_PLUGINS", ",".join(ours))
    monkeypatch.setattr(heartbeat, "LEASE", 0.3)
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.05)
    assert known("chancy.plugins") == []
    stage.go.set()
    async with Chancy(dsn) as chancy:
        await chancy.declare(Queue("q", executor="async"))
        again, poison, once = [
            *await push(chancy, dsn, 2),
            *await push(chancy, dsn, 1, at_most_once=True),
        ]
        async with await connect(dsn) as conn:
            await conn.execute(ORPHANED)
            await conn.execute("UPDATE chancy_jobs SET crashes = 2 WHERE id = %s", [poison.id])
        async with Worker(chancy):
            jobs = await chancy.wait_for_jobs([again, poison, once], timeout=20)
    assert [one.state for one in jobs] == [State.SUCCEEDED, State.QUARANTINED, State.LOST]


def known(group: str) -> list[str]:
    return list(discovery.offers(group))
