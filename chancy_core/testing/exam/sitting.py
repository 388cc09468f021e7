"""One part of the exam, on an event loop of its own, in a thread that can be left behind.

What an executor does wrong may block its loop, or wait for ever and not let itself be cancelled.
"""

import threading
from collections.abc import Awaitable, Callable

import anyio
from anyio import to_thread

from chancy_core.testing.exam.bench import Bench
from chancy_core.testing.exam.mistake import Mistake

#: How many times the bench's patience a part may take, and then to be cancelled.
_TIMES, _CANCELLED = 10.0, 3.0


class Sitting:
    """An executor sits one part; `wrong` is what came of it."""

    def __init__(self, part: Callable[[Bench], Awaitable[None]], bench: Bench) -> None:
        #: What the part raised, if anything.
        self.wrong: BaseException | None = None
        #: Whether its thread was left behind.
        self.hangs = False
        self._part = part
        self._bench = bench

    async def take(self) -> None:
        """Have it run to its end, or leave it when its time is over."""
        patience = self._bench.patience
        name = f"chancy-exam-{self._part.__name__}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()
        limit = (_TIMES + _CANCELLED) * patience
        await to_thread.run_sync(thread.join, limit, abandon_on_cancel=True)
        if thread.is_alive():
            self.hangs = True
            self.wrong = Mistake(f"it should end when it is cancelled; it hangs after {limit:g} s")

    def _run(self) -> None:
        try:
            anyio.run(self._within, backend=self._bench.backend)
        except BaseException as exc:  # noqa: BLE001 - it is told where the exam is held
            self.wrong = exc

    async def _within(self) -> None:
        limit = _TIMES * self._bench.patience
        with anyio.move_on_after(limit) as scope:
            await self._part(self._bench)
        if scope.cancelled_caught:
            raise Mistake(f"it should be over soon; it is not after {limit:g} s")
