"""Runs functions in threads of the worker's process."""

import math
from functools import partial
from typing import Any, Self

from anyio import CapacityLimiter, to_thread

from chancy_core.executor import Call, Capability, Executor
from chancy_core.perform import call_here


class ThreadExecutor(Executor):
    """For functions that block without computing: files, drivers, requests.

    Coroutine functions get an event loop of their own in their thread. A thread cannot be ended
    from outside: at its deadline the attempt is closed, and what the thread returns later is
    thrown away. Context variables are carried into the thread.
    """

    capabilities = Capability.SYNC | Capability.ASYNC
    default_concurrency = 32

    async def __aenter__(self) -> Self:
        # The slots of the queue bound how many run; a thread left behind must not hold up others.
        self._limiter = CapacityLimiter(math.inf)
        return self

    async def run(self, call: Call) -> Any:
        """Call the function in a thread."""
        func, arguments = call.resolve(self.capabilities)
        work = partial(call_here, func, arguments, self.host.backend)
        return await to_thread.run_sync(work, limiter=self._limiter, abandon_on_cancel=True)
