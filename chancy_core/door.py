"""How threads get to the database: what each process opens, and where blocking is refused."""

import functools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from anyio.lowlevel import current_token

from chancy_core.errors import ChancyError

if TYPE_CHECKING:
    from chancy_core.postgres.threaded import ThreadedPool

P = ParamSpec("P")
T = TypeVar("T")


def blocking(instead: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Refuse to be called where it would block an event loop, and name what to do *instead*."""

    def guard(method: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(method)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            if _in_event_loop():
                raise ChancyError(
                    f"{method.__name__} would block the event loop that runs on this thread: "
                    f"{instead}"
                )
            return method(*args, **kwargs)

        return guarded

    return guard


def twin(method: Callable[P, T]) -> Callable[P, T]:
    """Have the twin of a coroutine of `Chancy` refuse to be called where that can be awaited."""
    return blocking(f"await chancy.{method.__name__.removeprefix('sync_')}(...)")(method)


def _in_event_loop() -> bool:
    try:
        current_token()
    except RuntimeError:
        return False
    return True


class Door:
    """One process's way to the database: its pool, its address, its claim on a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._opened: tuple[ThreadedPool, str] | None = None

    def open(
        self, find: Callable[[ExitStack], str], most: int, prepared: bool | None
    ) -> "tuple[ThreadedPool, str]":
        """Return the pool and the address, both found when first asked for."""
        from chancy_core.postgres.threaded import ThreadedPool

        with self._lock:
            if self._opened is None:
                with ExitStack() as stack:
                    conninfo = find(stack)
                    pool = ThreadedPool(conninfo, most=most, prepared_statements=prepared)
                    stack.callback(pool.close)
                    self._stack = stack.pop_all()
                self._opened = pool, conninfo
            return self._opened

    def close(self) -> None:
        """Close what was opened; it opens anew when it is used again."""
        with self._lock:
            stack, self._stack, self._opened = self._stack, ExitStack(), None
        stack.close()
