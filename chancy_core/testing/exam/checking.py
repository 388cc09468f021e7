"""`check_executor`: the exam, part by part."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
from attrs import define, field

from chancy_core.errors import ExamFailed
from chancy_core.executor import Capability, Executor
from chancy_core.installed import backend_name
from chancy_core.testing.exam.answers import raises, refuses, returns
from chancy_core.testing.exam.bench import Bench
from chancy_core.testing.exam.commands import commands
from chancy_core.testing.exam.crowds import floods, resizes, stops
from chancy_core.testing.exam.declared import FUNCTIONS, declares
from chancy_core.testing.exam.endings import bounds_memory, cancels, crashes, frees, times_out
from chancy_core.testing.exam.leftovers import Inventory, left_beyond, warm_up
from chancy_core.testing.exam.mistake import Mistake, has_mistake, mistake_in
from chancy_core.testing.exam.sitting import Sitting

Part = Callable[[Bench], Awaitable[None]]

#: The parts in their order, each with what an executor must claim to be asked for it.
PARTS: Mapping[Part, Capability] = {
    returns: Capability(0),
    raises: Capability(0),
    refuses: Capability(0),
    cancels: Capability(0),
    frees: Capability(0),
    times_out: Capability(0),
    crashes: Capability.HARD_KILL,
    bounds_memory: Capability.MEMORY_LIMIT,
    floods: Capability(0),
    resizes: Capability(0),
    stops: Capability(0),
    commands: Capability.COMMAND,
}

#: The parts that are asked of an executor that runs no functions, too.
OF_ALL = frozenset({stops, commands})

#: The part that is no part of its own: what is left after each.
LEFTOVERS = "leaves nothing"
#: For how many seconds, in all, the exam waits for what takes a moment to go.
_SETTLING = 2.0


async def check_executor(
    executor: type[Executor], *, options: Mapping[str, Any] | None = None, patience: float = 10.0
) -> None:
    """Examine an executor: whether it keeps the contract of `chancy_core.executor`.

        @pytest.mark.anyio
        async def test_it_keeps_the_contract():
            await check_executor(MyExecutor)

    It is opened for each part with these *options* of a queue, on the kind of event loop that runs
    this, and runs functions of the exam's own; no database is needed. What it does not claim among
    its capabilities is not asked for. *patience* is for how many seconds it may keep the exam
    waiting for what should happen at once, such as the start of a call.

    An executor of command lines needs options that allow the command `commands.NAME`, which
    is `commands.LINE` and up to four arguments of a job's own.

    Raises `ExamFailed`, which names all parts that it has failed.
    """
    __tracebackhide__ = True
    try:
        made = declares(executor, {} if options is None else options)
    except Mistake as exc:
        raise ExamFailed(_name(executor), {"declares": str(exc)}) from exc
    bench = Bench(executor, made, backend_name(), patience)
    # What libraries open once and keep is no leak: it is there before anything is counted.
    await Sitting(_used, bench).take()
    exam = _Exam(bench, min(patience, _SETTLING))
    able = executor.capabilities
    for part, needed in PARTS.items():
        if needed in able and (able & FUNCTIONS or part in OF_ALL):
            await exam.sit(part)
    if exam.failures:
        raise ExamFailed(_name(executor), exam.failures) from exam.cause


@define
class _Exam:
    """What has come of the exam so far."""

    bench: Bench
    #: For how many seconds it may still wait, in all, for what takes a moment to go.
    settling: float
    failures: dict[str, str] = field(factory=dict)
    #: The first exception that is none of the exam's own.
    cause: BaseException | None = None

    async def sit(self, part: Part) -> None:
        """Have the executor sit one part, and count what it leaves."""
        name = part.__name__.replace("_", " ")
        await warm_up()
        before = Inventory.take()
        sitting = Sitting(part, self.bench)
        await sitting.take()
        if sitting.wrong is not None:
            self.failures[name] = mistake_in(sitting.wrong)
            if not has_mistake(sitting.wrong):
                self.cause = self.cause or sitting.wrong
        if sitting.hangs:
            return  # what it has is still in use
        began = anyio.current_time()
        left = await left_beyond(before, self.settling)
        self.settling = max(0.0, self.settling - (anyio.current_time() - began))
        if left:
            said = self.failures.get(LEFTOVERS, "all should be gone that was not there before")
            self.failures[LEFTOVERS] = f"{said}; after {name!r}, {left}"


async def _used(bench: Bench) -> None:
    async with bench.opened() as executor:
        await bench.still_works(executor, "nothing")


def _name(executor: object) -> str:
    module = getattr(executor, "__module__", "")
    return f"{module}.{getattr(executor, '__qualname__', executor)}"
