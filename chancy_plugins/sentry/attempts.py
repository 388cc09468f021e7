"""Attempts as Sentry is told of them: a scope and a transaction each, and an event for failures."""

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from types import TracebackType
from uuid import UUID

from anyio.lowlevel import checkpoint

from chancy_core.host import WorkerHost
from chancy_core.job import QueuedJob, State
from chancy_core.outcome import COUNTED, Settlement
from chancy_core.perform import Raised
from chancy_plugins.sentry import tracing
from chancy_plugins.sentry.events import Ended, capture
from chancy_plugins.sentry.monitors import Monitors

#: How many attempts that went wrong are kept until it is known what becomes of their jobs.
_MOST = 1_000


class Attempts:
    """What is told of attempts, and what is kept of those whose end is not yet written."""

    def __init__(self, *, each: bool, send_arguments: bool, monitors: bool) -> None:
        self._each = each
        self._send_arguments = send_arguments
        self._monitors = Monitors() if monitors else None
        self._ended: OrderedDict[UUID | None, Ended] = OrderedDict()

    def context(self, job: QueuedJob, worker: WorkerHost) -> "_Attempt":
        """Return the context of an attempt."""
        return _Attempt(self, job, worker)

    async def begin(self, job: QueuedJob, worker: WorkerHost) -> None:
        """Say that an attempt begins."""
        if self._monitors is not None:
            await self._monitors.begin(job, worker.chancy)

    def end(self, job: QueuedJob, ended: Ended) -> None:
        """Keep what went wrong until it is known what becomes of the job."""
        self._ended[job.lease_id] = ended
        while len(self._ended) > _MOST:
            self._ended.popitem(last=False)

    async def settle(self, settled: Sequence[Settlement], worker: WorkerHost) -> None:
        """Make events of those failures that are to be known."""
        for one in settled:
            ended = self._ended.pop(one.job.lease_id, None)
            if self._monitors is not None:
                self._monitors.end(one)
            if self._is_told(one):
                capture(one, ended, worker.name, send_arguments=self._send_arguments)
                await checkpoint()  # to make one takes a while

    def _is_told(self, one: Settlement) -> bool:
        if one.outcome.failure is None:
            return False
        counted = one.outcome.kind in COUNTED
        return one.verdict.state is State.FAILED or (self._each and counted)


class _Attempt(AbstractAsyncContextManager[None]):
    """The time of one attempt."""

    __slots__ = ("_attempts", "_job", "_left", "_scope", "_transaction", "_worker")

    def __init__(self, attempts: Attempts, job: QueuedJob, worker: WorkerHost) -> None:
        self._attempts = attempts
        self._job = job
        self._worker = worker
        self._left = ExitStack()

    async def __aenter__(self) -> None:
        with ExitStack() as entering:
            self._scope = entering.enter_context(tracing.around(self._job))
            self._transaction = entering.enter_context(tracing.traced(self._job))
            await self._attempts.begin(self._job, self._worker)
            self._left = entering.pop_all()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        transaction = self._transaction
        try:
            if transaction is not None:
                transaction.set_status(_status(exc))
            if exc is not None:
                here = isinstance(exc, Exception) and not isinstance(exc, Raised)
                where = None if transaction is None else transaction.get_trace_context()
                self._attempts.end(self._job, Ended(exc if here else None, self._scope, where))
        finally:
            self._left.close()


def _status(exc: BaseException | None) -> str:
    if exc is None:
        return "ok"
    return "internal_error" if isinstance(exc, Exception) else "cancelled"
