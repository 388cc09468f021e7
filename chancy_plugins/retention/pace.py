"""How fast a run goes: it rests for as long as it has worked, and looks at the time."""

import math
from collections.abc import Callable
from types import TracebackType

import anyio

#: Seconds for which it rests at least, and at most, after each statement.
REST = (0.001, 2.0)

Watcher = Callable[[str, int], object]


class Pace:
    """The pace of one run: `async with pace` around each statement that may take a while.

    *limit* is after how many seconds it begins no more; *watch* is told what is done, and of how
    many rows.
    """

    def __init__(self, limit: float = math.inf, watch: Watcher | None = None) -> None:
        self.began = anyio.current_time()
        self._limit = limit
        self._watch = watch
        self._since = 0.0

    @property
    def over(self) -> bool:
        """Whether its time is over."""
        return anyio.current_time() - self.began > self._limit

    @property
    def seconds(self) -> float:
        """For how long it has gone on."""
        return anyio.current_time() - self.began

    def tell(self, what: str, rows: int) -> None:
        """Say what was done."""
        if self._watch is not None:
            self._watch(what, rows)

    async def __aenter__(self) -> None:
        self._since = anyio.current_time()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            least, most = REST
            await anyio.sleep(min(most, max(least, anyio.current_time() - self._since)))
