"""What each part of the exam works with: the executor, opened anew, and calls for it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import anyio
from attrs import define, field, frozen

from chancy_core import codec
from chancy_core.executor import Call, Capability, Executor, ExecutorHost
from chancy_core.job import Limit, QueuedJob, State
from chancy_core.outcome import Kind, Outcome
from chancy_core.run import Attempt
from chancy_core.store.rows import Claimed
from chancy_core.testing.exam import jobs
from chancy_core.testing.exam.mistake import expect, said_of
from chancy_core.testing.exam.stage import Stage

#: How many calls the exam makes at once.
CONCURRENCY = 3


@define(eq=False)
class Beside:
    """A call that runs beside what the exam does meanwhile, and may be cancelled."""

    call: Call
    name: str
    scope: anyio.CancelScope = field(factory=anyio.CancelScope)
    ended: anyio.Event = field(factory=anyio.Event)
    #: How it ended, in words.
    how: str = "it has not ended"
    returned: Any = None

    async def run(self, executor: Executor) -> None:
        """Run the call, and keep how it ended."""
        try:
            with self.scope:
                result = await executor.run(self.call)
                self.returned = codec.decode(codec.salvage(result))
                self.how = f"it returned {codec.shown(self.returned)}"
            if self.scope.cancelled_caught:
                self.how = "it was cancelled"
        except Exception as exc:  # noqa: BLE001 - it is what the exam wants to know
            self.how = f"it raised {said_of(exc)}"
        self.ended.set()

    @property
    def was_cancelled(self) -> bool:
        """Whether it ended by being cancelled, and in no other way."""
        return self.ended.is_set() and self.scope.cancelled_caught


@frozen
class Bench:
    """An executor under examination, with the options and the event loop that it is to have."""

    made: type[Executor]
    options: Any
    backend: str
    #: Seconds that it may take for what it should do at once.
    patience: float

    @property
    def kinds(self) -> Iterator[str]:
        """What the names of the functions that it runs end with: plain ones, coroutines."""
        if Capability.SYNC in self.made.capabilities:
            yield ""
        if Capability.ASYNC in self.made.capabilities:
            yield "_async"

    def able(self, capability: Capability) -> bool:
        """Whether the executor says that it can do this."""
        return capability in self.made.capabilities

    def opened(self, concurrency: int = CONCURRENCY) -> Executor:
        """Make the executor, for one `async with`."""
        host = ExecutorHost([(jobs.__name__, None)], self.backend)
        return self.made(self.options, concurrency, host)

    def stage(self) -> Stage:
        """Make a stage for held functions."""
        return Stage(self.patience)

    async def outcome(
        self, executor: Executor, func: str, *limits: Limit, **kwargs: Any
    ) -> Outcome:
        """Have a function of `jobs` run as a worker does it, and return what came of it."""
        job, text = asked(f"{jobs.__name__}.{func}", kwargs, limits)
        return await Attempt(Claimed(job, text, 1)).run(executor)

    def held(self, stage: Stage, kind: str, name: str) -> Beside:
        """Make a call whose function reports to the stage."""
        job, text = asked(f"{jobs.__name__}.hold{kind}", stage.call(name))
        return Beside(Call(job, text), name)

    async def still_works(self, executor: Executor, after: str, slots: int = 1) -> None:
        """See that the executor is as usable as before, with so many calls at once."""
        for kind in self.kinds:
            async with anyio.create_task_group() as tasks:
                for _ in range(slots):
                    tasks.start_soon(self._works, executor, kind, after)

    async def _works(self, executor: Executor, kind: str, after: str) -> None:
        outcome = await self.outcome(executor, f"echo{kind}", value=after)
        expect(
            outcome == Outcome(Kind.SUCCESS, codec.as_text(after)),
            f"after {after} calls should run as before",
            told(outcome),
        )

    async def finished(self, beside: Beside, should: str) -> None:
        """See that a held call that was let go returns what is its own."""
        with anyio.move_on_after(self.patience):
            await beside.ended.wait()
        expect(beside.returned == beside.name, f"{should} and return {beside.name!r}", beside.how)

    async def freed(self, beside: Beside) -> None:
        """See that a call that was cancelled has ended by that."""
        with anyio.move_on_after(self.patience):
            await beside.ended.wait()
        should = "a cancelled call should end, and let the cancellation through"
        expect(beside.was_cancelled, should, beside.how)


def asked(
    func: str, kwargs: Mapping[str, Any], limits: tuple[Limit, ...] = ()
) -> tuple[QueuedJob, str]:
    """Return a job as it is while it runs, and its arguments as they are stored."""
    text = codec.encode(kwargs, f"arguments of {func}")
    job = QueuedJob(
        func,
        queue="exam",
        kwargs=codec.as_object(text),
        limits=limits,
        max_attempts=3,
        id=uuid4(),
        state=State.RUNNING,
        created_at=datetime.now(UTC),
    )
    return job, text


def told(outcome: Outcome) -> str:
    """Return what came of a call, in words."""
    if outcome.kind is Kind.SUCCESS:
        return f"it returned {codec.shown(codec.decode(outcome.result or 'null'))}"
    failure = outcome.failure
    return f"it ended as {outcome.kind}" + (
        f", {failure.type}: {failure.message}" if failure else ""
    )
