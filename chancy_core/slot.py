"""One slot of a lane: a task that runs jobs, one after another."""

from time import monotonic
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from chancy_core.outcome import Outcome
from chancy_core.run import Attempt

if TYPE_CHECKING:
    from chancy_core.lane import Lane

#: Seconds for which jobs that wait for nothing may keep the event loop to themselves.
BUSY = 0.005


class Slot:
    """A task that lives as long as its lane has a use for it.

    A new one for each job would cost three times as much. A new cancel scope for each costs what
    all the rest does, on trio: so one serves job after job, until it has ended one.
    """

    def __init__(self, lane: "Lane") -> None:
        self._lane = lane
        self._attempt: Attempt | None = None
        #: When that began, by the monotonic clock.
        self._began = 0.0

    async def run(self) -> None:
        """Run the jobs that the lane has for it, until it is one too many."""
        lane = self._lane
        lane.started()
        try:
            while await self._run_some():
                if self._attempt is not None:  # its end was what the scope was used for
                    self._over(self._attempt.cut(), monotonic())
        except anyio.get_cancelled_exc_class():
            if anyio.current_effective_deadline() == float("-inf"):
                raise  # it is we who have cancelled it
            # A job has cancelled the very task that ran it: the next job gets a fresh one.
            if self._attempt is not None:
                self._over(self._attempt.cut(), monotonic())
            lane.start()
        finally:
            if self._attempt is not None:
                lane.leave(self._attempt)

    async def _run_some(self) -> bool:
        """Run jobs in one scope, until that was cancelled; False says that the slot may go."""
        lane, task = self._lane, anyio.get_current_task()
        self._began = since = monotonic()
        with anyio.CancelScope() as scope:
            while not scope.cancel_called:
                claimed = lane.take()
                if claimed is None:
                    claimed = await lane.turn()
                    if claimed is None:
                        return False
                    self._began = since = monotonic()
                self._attempt = Attempt(claimed, task, scope)
                lane.begin(self._attempt)
                outcome = await self._attempt.within(lane.executor, lane.plugins)
                began, now = self._began, monotonic()
                self._over(outcome, now)
                lane.ahead.took(now - began)
                self._began = now
                if now - since > BUSY or task.has_pending_cancellation():
                    await checkpoint()
                    self._began = since = monotonic()
        return True

    def _over(self, outcome: Outcome, now: float) -> None:
        attempt, self._attempt = self._attempt, None
        assert attempt is not None
        self._lane.end(attempt, outcome, now - self._began)
