"""`push_many` under way: awaited for all references, or iterated over, batch by batch."""

import warnings
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterable
from itertools import islice
from typing import Any, Self

from chancy_core import given
from chancy_core.job import Job, Reference


class Pushing:
    """Many jobs that are being pushed. Nothing is taken or sent before it is awaited or iterated.

        references = await chancy.push_many(jobs)                 # of all
        async for references in chancy.push_many(jobs): ...       # of each batch, once committed

    Each batch is a transaction of its own: after an error, those before it are stored.
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
        async for batch in self:
            references += batch
        return references

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
