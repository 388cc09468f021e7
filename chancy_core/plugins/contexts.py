"""The contexts that plugins put around an attempt, in the worker."""

import math
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Self

import anyio

from chancy_core.errors import Unprepared
from chancy_core.hooks import FAULTS, Implementation, Plugin

HOOK = "chancy_job_context"
#: Seconds that one context may take to be entered, and to be left.
LIMIT = 5.0


def contexts_of(
    implementations: Iterable[Implementation], given: dict[str, Any]
) -> list[tuple[Plugin, Any]]:
    """Return the contexts of those plugins that have one here; of one that raises, what that is.

    Most have none for most jobs: then there is nothing to be entered.
    """
    found = []
    for one in implementations:
        try:
            context = one.call(given)
        except FAULTS as exc:
            context = exc
        if context is not None:
            found.append((one.plugin, context))
    return found


class AttemptContexts:
    """Contexts that are entered one after the other, and left in the opposite order.

    What goes wrong in one of them changes nothing for the attempt, unless it cannot be entered and
    its plugin is required: that raises `Unprepared`. Each stands in a cancel scope of its own,
    which holds it to its time.
    """

    def __init__(self, asked: Sequence[tuple[Plugin, Any]]) -> None:
        self._asked = asked
        self._entered: list[tuple[Plugin, Any, anyio.CancelScope]] = []

    async def __aenter__(self) -> Self:
        try:
            for plugin, context in self._asked:
                if isinstance(context, BaseException):
                    self._fail(plugin, context)
                else:
                    await self._enter(plugin, context)
        except BaseException as exc:
            await self.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    async def _enter(self, plugin: Plugin, context: Any) -> None:
        scope = anyio.CancelScope(deadline=anyio.current_time() + LIMIT)
        scope.__enter__()
        try:
            await context.__aenter__()
            self._entered.append((plugin, context, scope))
        except BaseException as exc:
            late = scope.__exit__(type(exc), exc, exc.__traceback__)
            if not late and not isinstance(exc, FAULTS):
                raise
            self._fail(plugin, f"it was not entered within {LIMIT} s" if late else exc)
        else:
            scope.deadline = math.inf

    def _fail(self, plugin: Plugin, problem: BaseException | str) -> None:
        plugin.blame(HOOK, problem)
        if plugin.required:
            raise Unprepared(f"{plugin}, which is required: {problem}") from None

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._entered:
            plugin, context, scope = self._entered.pop()
            scope.shield = True
            scope.deadline = anyio.current_time() + LIMIT
            try:
                await context.__aexit__(exc_type, exc, traceback)
            except BaseException as other:
                late = scope.__exit__(type(other), other, other.__traceback__)
                if late:
                    plugin.blame(HOOK, f"it was not left within {LIMIT} s")
                elif _is_all(other, exc):
                    pass  # it let through what came from within
                elif isinstance(other, FAULTS):
                    plugin.blame(HOOK, other)
                else:
                    raise
            else:
                scope.__exit__(exc_type, exc, traceback)


def _is_all(raised: BaseException, exc: BaseException | None) -> bool:
    """Whether nothing was raised but *exc*, or a task group's wrapping of it."""
    if isinstance(raised, BaseExceptionGroup):
        return all(_is_all(one, exc) for one in raised.exceptions)
    return raised is exc
