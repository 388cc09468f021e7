"""Runs coroutine functions on the worker's own event loop."""

from typing import Any

from chancy_core.executor import Call, Capability, Executor


class AsyncExecutor(Executor):
    """For work that waits: thousands at once, at the least cost of all executors.

    A job that blocks holds up every other job of the worker; blocking belongs on `thread`, and
    computing on `process`.
    """

    capabilities = Capability.ASYNC
    default_concurrency = 100

    async def run(self, call: Call) -> Any:
        """Await the function; it is ended by cancellation."""
        func, arguments = call.resolve(self.capabilities, here=True)
        try:
            return await func(**arguments)
        finally:
            call.hooks.clear()
