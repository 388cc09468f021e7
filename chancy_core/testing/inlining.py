"""`inline`: what is pushed runs where it is pushed, before the push returns."""

import contextvars
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from anyio import from_thread
from anyio.lowlevel import EventLoopToken, current_token

from chancy_core.door import blocking
from chancy_core.errors import ChancyError, KitError
from chancy_core.job import QueuedJob, Reference
from chancy_core.testing.runner import Runner
from chancy_core.testing.threads import LoopThread

if TYPE_CHECKING:
    from chancy_core.app import Chancy

#: How deep jobs may push jobs that push jobs.
DEPTH = 20

_depth: contextvars.ContextVar[int] = contextvars.ContextVar("_depth", default=0)


class Inline:
    """A block in which jobs run as they are pushed; made by `inline`."""

    def __init__(self, chancy: "Chancy", *, reraise: bool, backend: str) -> None:
        #: The jobs that have ended, in the order of their ends.
        self.jobs: list[QueuedJob] = []
        self._chancy = chancy
        self._reraise = reraise
        self._backend = backend
        self._token: EventLoopToken | None = None
        self._loop: LoopThread | None = None
        self._endless: KitError | None = None

    async def __aenter__(self) -> Self:
        self._begin()
        self._token = current_token()
        async with AsyncExitStack() as stack:
            self._runner = await stack.enter_async_context(Runner(self._chancy))
            self._block = stack.pop_all()
        self._chancy.follower = self
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._chancy.follower = self._token = None
        await self._block.aclose()

    @blocking("async with inline(chancy)")
    def __enter__(self) -> Self:
        self._begin()
        with ExitStack() as stack:
            self._loop = stack.enter_context(LoopThread(self._backend))
            stack.enter_context(self._loop.enter(self._chancy))
            self._runner = stack.enter_context(self._loop.enter(Runner(self._chancy)))
            self._sync_block = stack.pop_all()
        self._chancy.follower = self
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._chancy.follower = self._loop = None
        self._sync_block.close()

    def _begin(self) -> None:
        if self._chancy.follower is not None:
            raise ChancyError("the jobs of this Chancy run inline already; one block at a time")

    async def follow(self, references: Sequence[Reference]) -> None:
        """Run jobs that were pushed on this loop."""
        depth = _depth.get() + 1
        if depth > DEPTH:
            self._endless = KitError(
                f"jobs push jobs {DEPTH} deep, each inside of the one that pushed it: does one "
                "push itself without end? `drain` runs such jobs one after the other"
            )
            raise self._endless
        before = _depth.set(depth)
        try:
            for reference in references:
                if reference.new:
                    await self._run(reference)
        finally:
            _depth.reset(before)

    def follow_sync(self, references: Sequence[Reference]) -> None:
        """Run jobs that a thread has pushed, which waits for them."""
        if self._loop is not None:
            self._loop.run(self.follow, references)
        else:
            from_thread.run(self.follow, references, token=self._token)

    async def _run(self, reference: Reference) -> None:
        """Run a job, and again if it is to be tried again at once."""
        raised = None
        while (ran := await self._runner.attempt(ids=[reference.id])) is not None:
            settled, raised = ran
            if self._endless is not None and _depth.get() == 1:
                endless, self._endless = self._endless, None
                raise endless
            if settled.verdict.state.finished:
                self.jobs.append(await self._chancy.get_job(reference))
                if self._reraise and raised is not None:
                    raise raised


def inline(chancy: "Chancy", *, reraise: bool = False, backend: str = "asyncio") -> Inline:
    """Run jobs where they are pushed, before the push returns, for the time of a block.

        async with inline(chancy) as ran:       # `with inline(chancy)` in a test without a loop
            await sign_up("ada@example.org")
        assert ran.jobs[0].state is State.SUCCEEDED

    Each is stored, claimed, run and settled as a worker does it, in this process, so that its row
    and its outcome are real; it is tried again at once as often as its `max_attempts` say, and so
    is what it pushes itself. How it ends is seen in its row. With *reraise* the push raises what
    the job raised, once that has failed for good.

    What is pushed for later waits, and what `push_ex` has stored is not committed yet: for both
    there is `drain`. Functions run as `drain` runs them. In the form without a loop the `Chancy` is
    opened on one of the kind *backend*, for coroutine functions.

    A push raises `KitError` when jobs push jobs without end.
    """
    return Inline(chancy, reraise=reraise, backend=backend)
