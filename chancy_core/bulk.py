"""`push_many` under way: awaited for all references, or iterated over, batch by batch."""

import warnings
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from itertools import islice
from typing import Any, Self

import anyio
from anyio.lowlevel import checkpoint

from chancy_core import given
from chancy_core.job import Job, Reference

#: How many jobs are taken before the batch that is being pushed has its turn again.
TURN = 500


class Pushing:
    """Many jobs that are being pushed. Nothing is taken or sent before it is awaited or iterated.

        references = await chancy.push_many(jobs)                 # of all
        async for references in chancy.push_many(jobs): ...       # of each batch, once committed

    Each batch is a transaction of its own: after an error, those before it are stored. Awaited, it
    takes the next batch while the server is busy with the last.
    """

    def __init__(
        self,
        jobs: Iterable[Any] | AsyncIterable[Any],
        batch_size: int,
        push: Callable[[list[Job]], Awaitable[list[Reference]]],
    ) -> None:
        self._begun = True  # what is refused here need not be awaited
        self._jobs = aiter(jobs) if isinstance(jobs, AsyncIterable) else given.iterator(jobs)
        self._size = given.size(batch_size)
        self._push = push
        self._ended = False
        self._begun = False

    def __await__(self) -> Generator[Any, Any, list[Reference]]:
        if self._begun:
            raise RuntimeError("this push_many was begun already: call push_many once more")
        self._begun = True
        return self._all().__await__()

    async def _all(self) -> list[Reference]:
        references: list[Reference] = []
        if isinstance(self._jobs, AsyncIterator):  # it may hold scopes open: nothing beside it
            async for pushed in self:
                references += pushed
            return references
        batch = await self._take()
        while batch:
            pushed, batch = await self._push_and_take(batch, self._jobs)
            references += pushed
        return references

    async def _push_and_take(
        self, batch: list[Job], jobs: Iterator[Any]
    ) -> tuple[list[Reference], list[Job]]:
        """Push a batch, and meanwhile take the next: here, where it would be taken otherwise."""
        pushed: list[Reference] = []
        taken: list[Job] = []
        errors: list[BaseException] = []

        async def push() -> None:
            try:
                pushed.extend(await self._push(batch))
            except Exception as exc:  # noqa: BLE001 - it is raised below, in no group
                errors.append(exc)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push)
            try:
                while len(taken) < self._size and not errors:
                    await checkpoint()
                    most = min(TURN, self._size - len(taken))
                    some = [given.job(value) for value in islice(jobs, most)]
                    if not some:
                        break
                    taken += some
            except (Exception, KeyboardInterrupt) as exc:  # noqa: BLE001 - the last batch is stored
                errors.append(exc)
        if errors:
            raise errors[0]
        return pushed, taken

    def __aiter__(self) -> Self:
        self._begun = True
        return self

    async def __anext__(self) -> list[Reference]:
        if self._ended:
            raise StopAsyncIteration
        self._ended = True  # unless all goes well
        batch = await self._take()
        if not batch:
            raise StopAsyncIteration
        references = await self._push(batch)
        self._ended = False
        return references

    async def _take(self) -> list[Job]:
        if not isinstance(self._jobs, AsyncIterator):
            return [given.job(value) for value in islice(self._jobs, self._size)]
        batch: list[Job] = []
        while len(batch) < self._size:
            try:
                value = await anext(self._jobs)
            except StopAsyncIteration:
                break
            batch.append(given.job(value))
        return batch

    def __del__(self) -> None:
        if not self._begun:
            warnings.warn(
                "push_many was called, but neither awaited nor iterated over: nothing was pushed",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )
