"""Claims that go on at a place: what they give, what they hide, and what they lock."""

import pytest

from chancy import Job, Queue
from chancy_core.place import FRONT, Place
from chancy_core.postgres import Pool
from chancy_core.store import statements
from chancy_core.store.store import Store
from tests.postgres.stores import NAMES, announce, fetch, opened, push

pytestmark = pytest.mark.anyio

PRIORITIES = [0, 5, 0, -3, 5, 9, 0]


async def line(store: Store) -> dict[int, list[int]]:
    """Push some jobs; answers the places of each priority, in order."""
    await store.run(statements.declare(NAMES, Queue("default"), upsert=False))
    await push(store, *(Job("f", priority=priority) for priority in PRIORITIES))
    rows = await fetch(store, "SELECT priority, seq FROM {jobs} ORDER BY seq")
    return {one: [seq for priority, seq in rows if priority == one] for one in PRIORITIES}


async def claimed(store: Store, free: int, place: Place) -> list[tuple[int, int]]:
    worker = await announce(store)
    asked = statements.claim(NAMES, worker, {"default": free}, places={"default": place})
    return [(c.job.priority, c.seq) for c in await store.run(asked)]


async def test_a_claim_goes_on_at_a_place_and_in_order(dsn: str) -> None:
    async with opened(dsn) as store:
        at = await line(store)
        place = Place({5: at[5][0], 0: at[0][1]})
        assert await claimed(store, 2, place) == [(9, at[9][0]), (5, at[5][1])]
        assert await claimed(store, 9, place) == [(0, at[0][2]), (-3, at[-3][0])]


async def test_what_a_place_hides_comes_from_the_front(dsn: str) -> None:
    async with opened(dsn) as store:
        at = await line(store)
        place = Place({0: at[0][-1], 5: at[5][-1], 9: at[9][-1], -3: at[-3][-1]})
        assert await claimed(store, 9, place) == []
        assert len(await claimed(store, 9, FRONT)) == len(PRIORITIES)


async def test_each_queue_has_its_own_place(dsn: str) -> None:
    async with opened(dsn) as store:
        for queue in "abc":
            await store.run(statements.declare(NAMES, Queue(queue), upsert=False))
            await push(store, *(Job("f", queue=queue) for _ in range(3)))
        rows = await fetch(store, "SELECT queue, seq FROM {jobs} ORDER BY seq")
        at = {queue: [seq for of, seq in rows if of == queue] for queue in "abc"}
        places = {"a": Place({0: at["a"][0]}), "c": Place({0: at["c"][1]})}
        worker, free = await announce(store), dict.fromkeys("abc", 2)
        found = await store.run(statements.claim(NAMES, worker, free, places=places))
        given = {queue: [c.seq for c in found if c.job.queue == queue] for queue in "abc"}
        assert given == {"a": at["a"][1:], "b": at["b"][:2], "c": at["c"][2:]}


async def test_a_suspect_is_found_wherever_the_place_is(dsn: str) -> None:
    async with opened(dsn) as store:
        at = await line(store)
        await fetch(store, "UPDATE {jobs} SET crashes = 1 WHERE seq = %(seq)s", seq=at[0][0])
        place = Place({0: at[0][-1]})
        assert (0, at[0][0]) in await claimed(store, 3, place)


@pytest.mark.parametrize("mode", ["custom", "generic"])
@pytest.mark.parametrize("place", [{}, {9: 0, 5: 0, 0: 0}], ids=["front", "place"])
async def test_no_row_is_locked_that_is_not_claimed(
    dsn: str, mode: str, place: dict[int, int]
) -> None:
    async with opened(dsn) as store:
        await line(store)
        worker = await announce(store)
        asked = statements.claim(NAMES, worker, {"default": 3}, places={"default": Place(place)})
        async with Pool(dsn) as pool, pool.connection() as conn, conn.transaction():
            await conn.execute(f"SET LOCAL plan_cache_mode = force_{mode}_plan".encode())
            cursor = await conn.execute(asked.text, asked.params, binary=True, prepare=True)
            mine = {c.job.id for c in asked.read(await cursor.fetchall())}
            assert len(mine) == 3
            free = "SELECT id FROM {jobs} WHERE NOT id = ANY(%(mine)s) FOR UPDATE SKIP LOCKED"
            rest = await fetch(store, free, mine=list(mine))
        assert len(rest) == len(PRIORITIES) - 3
