"""One job of an account at a time: `Queue("sync", executor="orderly")`."""

from typing import Any, Self
from weakref import WeakValueDictionary

import anyio
from attrs import frozen

from chancy_core.executor import Call, Capability, Executor


@frozen
class Options:
    by: str = "account"  # a queue may say executor_options={"by": "customer"}


class OrderlyExecutor(Executor):
    """Awaits functions; those with an equal argument *by* one after the other on each worker."""

    Options = Options
    capabilities = Capability.ASYNC
    default_concurrency = 20

    async def __aenter__(self) -> Self:
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        return self

    async def run(self, call: Call) -> Any:
        func, arguments = call.resolve(self.capabilities)
        whose = repr(call.job.kwargs.get(self.options.by, call.job.id))
        async with self._locks.setdefault(whose, anyio.Lock()):
            return await func(**arguments)
