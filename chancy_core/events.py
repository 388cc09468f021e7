"""What happens in a worker, for code that watches: `Event`, and the hub `Events`.

| event | subject | value |
| --- | --- | --- |
| `worker.started` `worker.stopping` `worker.stopped` | the worker's name | |
| `worker.grace_over` | the worker's name | how many jobs are cancelled |
| `worker.lease_lost` | the worker's name | |
| `worker.blocked` | the worker's name | seconds for which its event loop did not run |
| `worker.queue.started` `.changed` `.full` `.stopped` | the queue | its `Queue` |
| `worker.queue.skipped` | the queue | why it is not run here |
| `job.started` | the job's id | its `QueuedJob` |
| `job.progress` | the job's id | (`QueuedJob`, `Progress`), once it is written |
| `job.settled` | the job's id | (`QueuedJob`, `Outcome`, `Verdict`), once they are written |
| `job.rescued` | the job's id | the state it has now: its worker died |
| `job.stuck` | the job's id | its `QueuedJob`: it was told to end, and does not |
| `leadership.gained` `.lost` | the leadership | its `Term`: by the plugin `leadership` |
| `queue.*`, `job.cancelled`, and what `Chancy.notify` sends | as in `chancy_core.hint` | |

The last row came from elsewhere, by NOTIFY: such an event may be missing, and comes twice at times.
"""

import fnmatch
import inspect
import logging
import re
from collections import deque
from collections.abc import Callable
from typing import Any, Self

from attrs import frozen

from chancy_core.errors import InvalidValue

log = logging.getLogger("chancy.events")

#: How many events a subscription keeps that nobody has taken yet.
KEPT = 10_000


@frozen
class Event:
    """Something has happened: *name* says what, *subject* to whom, *value* with what."""

    name: str
    subject: str
    value: Any = None


class Events:
    """The hub of one worker: whoever asks for them is given its events, in their order.

        worker.events.on("job.settled", print)
        with worker.events.subscribe("job.*", "worker.stopped") as events:
            async for event in events: ...

    Patterns are those of file names: `*` stands for any text. Truth says whether anybody asks.
    It belongs to the event loop of its worker: no method may be called from another thread.
    """

    def __init__(self) -> None:
        self._takers: dict[object, tuple[re.Pattern[str], Callable[[Event], object]]] = {}

    def __bool__(self) -> bool:
        return bool(self._takers)

    def emit(self, name: str, subject: str, value: Any = None) -> None:
        """Tell those who ask for it. Never blocks and never fails: their errors are logged."""
        event = Event(name, subject, value)
        for pattern, take in list(self._takers.values()):
            if not pattern.match(name):
                continue
            try:
                take(event)
            except Exception:
                log.exception("%r, which was told of %s, failed", take, name)

    def on(self, pattern: str, handler: Callable[[Event], object]) -> Callable[[], None]:
        """Call *handler* with each event of that name; returns what ends that.

        It is called at once, in the worker's event loop, so it must not block; what has to wait
        subscribes. Raises `InvalidValue` for a coroutine function.
        """
        if inspect.iscoroutinefunction(handler):
            raise InvalidValue(
                f"{handler!r} is a coroutine function, which nobody would await here: take the "
                "events from `with worker.events.subscribe(...) as events`"
            )
        return self._add((pattern,), handler)

    def subscribe(self, *patterns: str) -> "Subscription":
        """Return the events of those names, from the beginning of its `with` on; all without."""
        return Subscription(self, patterns or ("*",))

    async def wait_for(self, *patterns: str, timeout: float | None = None) -> Event:
        """Return the next event of one of those names. Raises `TimeoutError`."""
        with self.subscribe(*patterns) as events:
            return await events.next(timeout)

    def _add(
        self, patterns: tuple[str, ...], take: Callable[[Event], object]
    ) -> Callable[[], None]:
        either = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))
        key = object()
        self._takers[key] = either, take

        def end() -> None:
            self._takers.pop(key, None)

        return end


class Subscription:
    """Iterates over events, without an end; those that came meanwhile wait for their turn.

    Of more than `KEPT` that wait the oldest are dropped, and counted in `missed`.
    """

    def __init__(self, hub: Events, patterns: tuple[str, ...]) -> None:
        import anyio  # not for child processes, which know of events by the hooks

        self.missed = 0
        self._hub = hub
        self._patterns = patterns
        self._waiting: deque[Event] = deque(maxlen=KEPT)
        self._more = anyio.Event()
        self._end: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        self._end = self._hub._add(self._patterns, self._take)  # noqa: SLF001 - the hub's own half
        return self

    def __exit__(self, *exc: object) -> None:
        if self._end is not None:
            self._end()

    def _take(self, event: Event) -> None:
        self.missed += len(self._waiting) == KEPT
        self._waiting.append(event)
        self._more.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await self.next()

    async def next(self, timeout: float | None = None) -> Event:
        """Return the next event. Raises `TimeoutError` after *timeout* seconds without one."""
        import anyio

        await anyio.lowlevel.checkpoint()
        with anyio.fail_after(timeout):
            while not self._waiting:
                self._more = anyio.Event()
                await self._more.wait()
        return self._waiting.popleft()
