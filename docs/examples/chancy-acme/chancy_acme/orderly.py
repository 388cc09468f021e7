"""A few jobs of an account at a time: `Queue("sync", executor="orderly")`."""

from typing import Any, Self
from weakref import WeakValueDictionary

import anyio
from attrs import field, frozen
from attrs.validators import ge, min_len
from chancy_core.executor import Call, Capability, Executor


@frozen
class Options:
    """What a queue may say: `executor_options={"by": "customer", "each": 2}`."""

    #: The argument that says whose job it is.
    by: str = field(default="account", validator=min_len(1))
    #: How many jobs of one account each worker runs at a time.
    each: int = field(default=1, validator=ge(1))


class OrderlyExecutor(Executor):
    """Awaits functions: of those with an equal argument *by* only so many at a time."""

    Options = Options
    capabilities = Capability.ASYNC
    default_concurrency = 20

    async def __aenter__(self) -> Self:
        self._turns: WeakValueDictionary[str, anyio.Semaphore] = WeakValueDictionary()
        return self

    async def run(self, call: Call) -> Any:
        func, arguments = call.resolve(self.capabilities)
        whose = repr(call.job.kwargs.get(self.options.by, call.job.id))
        async with self._turns.setdefault(whose, anyio.Semaphore(self.options.each)):
            return await func(**arguments)
