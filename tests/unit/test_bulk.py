"""Bulk pushes, to a store that a test holds up."""

from collections.abc import Callable, Iterator
from contextvars import ContextVar

import anyio
import pytest

from chancy import Job, Reference
from chancy_core.bulk import Pushing
from chancy_core.identity import new_id

pytestmark = pytest.mark.anyio


class Stored:
    """Stores batches; *before* it has, it does what it is told."""

    def __init__(self, before: Callable[[], None] = lambda: None) -> None:
        self.batches: list[list[Job]] = []
        self.before = before
        self.go = anyio.Event()
        self.go.set()

    async def push(self, batch: list[Job]) -> list[Reference]:
        await self.go.wait()
        self.before()
        self.batches.append(batch)
        return [Reference(new_id()) for _ in batch]

    def pushing(self, jobs: Iterator[Job], size: int) -> Pushing:
        return Pushing(jobs, size, self.push)


def jobs(number: int, taken: list[int] | None = None) -> Iterator[Job]:
    for n in range(number):
        if taken is not None:
            taken.append(n)
        yield Job("acme.work", kwargs={"n": n})


async def test_all_are_pushed_once_in_batches_and_in_order():
    store = Stored()
    references = await store.pushing(jobs(2_501), 1_000)
    assert [len(batch) for batch in store.batches] == [1_000, 1_000, 501]
    assert [job.kwargs["n"] for batch in store.batches for job in batch] == list(range(2_501))
    assert len({reference.id for reference in references}) == 2_501


async def test_the_next_batch_is_taken_while_the_last_is_being_stored():
    store, taken = Stored(), list[int]()
    store.go = anyio.Event()
    pushing = store.pushing(jobs(25, taken), 10)

    async def push() -> None:
        await pushing

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(push)
        await anyio.wait_all_tasks_blocked()
        assert len(taken) == 20
        assert store.batches == []
        store.go.set()
    assert [len(batch) for batch in store.batches] == [10, 10, 5]


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt])
async def test_what_was_taken_before_an_error_of_the_iterable_is_stored(
    error: type[BaseException],
):
    def broken() -> Iterator[Job]:
        yield from jobs(15)
        raise error("the file is over")

    store = Stored()
    with pytest.raises(error, match="the file is over"):
        await store.pushing(broken(), 10)
    assert [len(batch) for batch in store.batches] == [10]


async def test_an_error_of_the_store_ends_it_as_it_is():
    def refuse() -> None:
        if store.batches:
            raise ConnectionError("gone")

    store = Stored(refuse)
    taken: list[int] = []
    with pytest.raises(ConnectionError, match="gone"):
        await store.pushing(jobs(100, taken), 10)
    assert [len(batch) for batch in store.batches] == [10]
    assert len(taken) <= 30


async def test_the_iterable_is_read_in_the_callers_own_context():
    seen: ContextVar[int] = ContextVar("seen")

    def read() -> Iterator[Job]:
        token = seen.set(1)
        yield from jobs(25)
        seen.reset(token)  # an error, in another context

    await Stored().pushing(read(), 10)
    assert seen.get(None) is None


async def test_iterated_over_nothing_is_taken_before_the_last_batch_was_handed_out():
    store, taken = Stored(), list[int]()
    async for _ in store.pushing(jobs(25, taken), 10):
        assert len(taken) == min(25, 10 * len(store.batches))
