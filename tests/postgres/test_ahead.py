"""Claiming more jobs than there are slots: which are never claimed so."""

from uuid import UUID

from chancy import Job, Queue
from chancy_core.store import statements
from chancy_core.store.rows import Claimed
from chancy_core.store.store import Store
from tests.postgres.stores import NAMES, announce, fetch, opened, push


async def claimed(store: Store, worker: UUID, free: int, ahead: int) -> list[Claimed]:
    await store.run(statements.declare(NAMES, Queue("default"), upsert=False))
    wanted = statements.claim(NAMES, worker, {"default": free}, ahead={"default": ahead})
    return await store.run(wanted)


def numbers(claims: list[Claimed]) -> list[int]:
    return [each.job.kwargs["n"] for each in claims]


async def test_more_are_claimed_than_there_are_slots_in_order(dsn: str) -> None:
    async with opened(dsn) as store:
        await push(store, *(Job("f", kwargs={"n": n}) for n in range(9)))
        worker = await announce(store)
        assert numbers(await claimed(store, worker, 2, 3)) == [0, 1, 2, 3, 4]
        assert numbers(await claimed(store, worker, 0, 3)) == [5, 6, 7]
        assert numbers(await claimed(store, worker, 1, 0)) == [8]


async def test_what_may_begin_once_or_must_not_run_twice_is_claimed_for_a_slot_alone(
    dsn: str,
) -> None:
    alone = {2: {"at_most_once": True}, 4: {"exclusive": True}, 6: {"at_most_once": True}}
    async with opened(dsn) as store:
        await push(store, *(Job("f", kwargs={"n": n}, **alone.get(n, {})) for n in range(8)))
        worker = await announce(store)
        assert numbers(await claimed(store, worker, 3, 3)) == [0, 1, 2, 3, 5]
        assert numbers(await claimed(store, worker, 0, 2)) == []  # 4 and 6 come first
        assert numbers(await claimed(store, worker, 1, 2)) == [4, 7]
        assert numbers(await claimed(store, worker, 1, 0)) == [6]
        left = await fetch(store, "SELECT count(*) FROM {jobs} WHERE state = 'pending'")
    assert left == [(0,)]


async def test_a_suspect_takes_a_slot_and_is_never_claimed_ahead(dsn: str) -> None:
    async with opened(dsn) as store:
        first, *_ = await push(store, *(Job("f", kwargs={"n": n}) for n in range(5)))
        await push(store, Job("f", kwargs={"n": 5}, at_most_once=True))
        await fetch(store, "UPDATE {jobs} SET crashes = 1 WHERE id = %(id)s", id=first)
        worker = await announce(store)
        assert numbers(await claimed(store, worker, 0, 1)) == [1]
        assert numbers(await claimed(store, worker, 2, 3)) == [0, 2, 3, 4]
        assert numbers(await claimed(store, worker, 1, 0)) == [5]
