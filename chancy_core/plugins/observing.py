"""Plugins that look on: each is told at its own pace, and holds up neither jobs nor others."""

from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from attrs import frozen

from chancy_core.beside import Beside
from chancy_core.hooks import FAULTS, Implementation, Plugin
from chancy_core.host import WorkerHost

#: The hooks that only look on.
HOOKS = ("chancy_notified", "chancy_jobs_rescued", "chancy_jobs_settled")
#: How many calls wait for one plugin, before some are left out.
KEPT = 1_000
#: Seconds that one call may take.
LIMIT = 30.0


@frozen
class _Told:
    """A call that waits for its turn."""

    one: Implementation
    hook: str
    given: dict[str, Any]


class Observers:
    """The observing plugins of one worker, each with a queue and a task of its own."""

    def __init__(self, plugins: Beside, worker: WorkerHost) -> None:
        self._implementations = {hook: plugins.implemented(hook) for hook in HOOKS}
        self._worker = worker
        self._sinks: dict[Plugin, MemoryObjectSendStream[_Told]] = {}
        self._ended = anyio.Event()

    def tell(self, hook: str, **given: Any) -> None:
        """Tell of something. Never blocks; who cannot keep up is named, and misses it."""
        for one in self._implementations[hook]:
            sink = self._sinks.get(one.plugin)
            if sink is None:  # not begun, or over
                continue
            if hook == "chancy_jobs_settled" and not one.plugin.heeds(given["settled"]):
                continue
            try:
                sink.send_nowait(_Told(one, hook, {**given, "worker": self._worker}))
            except anyio.WouldBlock:
                one.plugin.blame(hook, f"{KEPT:,} calls wait for it: it is too slow")
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # the worker is about to end

    async def tell_now(self, hook: str, **given: Any) -> None:
        """Tell of something, and return once all have heard it."""
        for one in self._implementations[hook]:
            await _call(_Told(one, hook, {**given, "worker": self._worker}))

    def __bool__(self) -> bool:
        return any(self._implementations.values())

    async def run(self) -> None:
        """Tell, until `finish`."""
        plugins = {one.plugin for several in self._implementations.values() for one in several}
        try:
            async with anyio.create_task_group() as tasks:
                for plugin in plugins:
                    sink, source = anyio.create_memory_object_stream[_Told](KEPT)
                    self._sinks[plugin] = sink
                    tasks.start_soon(self._serve, source)
        finally:
            self._close()
            self._ended.set()

    async def _serve(self, source: Any) -> None:
        with source:
            async for told in source:
                await _call(told)

    async def finish(self) -> None:
        """Return when all has been told."""
        self._close()
        if self:
            await self._ended.wait()

    def _close(self) -> None:
        for sink in self._sinks.values():
            sink.close()


async def _call(told: _Told) -> None:
    plugin = told.one.plugin
    try:
        with anyio.move_on_after(LIMIT) as scope:
            await told.one.call(told.given)
    except FAULTS as exc:
        plugin.blame(told.hook, exc)
    except anyio.get_cancelled_exc_class() as exc:
        if anyio.current_effective_deadline() == float("-inf"):
            raise
        plugin.blame(told.hook, exc)  # it awaited something that had been cancelled
    if scope.cancelled_caught:
        plugin.blame(told.hook, f"it took longer than {LIMIT} s")
