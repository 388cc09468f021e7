"""Carries out what is asked of the store, one statement after another, wherever these are run."""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from chancy_core.hint import Hint
from chancy_core.statement import Statement

T = TypeVar("T")
#: Yields statements, whose answers are sent in, and hints; returns what was asked for.
Request = Generator[Statement[Any] | Hint, Any, T]


async def carry_out(
    request: Request[T],
    run: Callable[[Statement[Any]], Awaitable[Any]],
    hint: Callable[[Hint], object],
) -> T:
    """Carry out a request; an error of a statement is raised inside of it."""
    try:
        step = next(request)
        while True:
            if isinstance(step, Hint):
                hint(step)
                step = next(request)
                continue
            try:
                answer = await run(step)
            except Exception as exc:  # noqa: BLE001 - the request knows what it means, or lets it out
                step = request.throw(exc)
            else:
                step = request.send(answer)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]


def carry_out_sync(
    request: Request[T], run: Callable[[Statement[Any]], Any], hint: Callable[[Hint], None]
) -> T:
    """Carry out a request without an event loop: *run* answers at once."""

    async def answered(statement: Statement[Any]) -> Any:
        return run(statement)

    try:
        carry_out(request, answered, hint).send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise AssertionError("nothing here can wait")
