"""Results of steps, as arguments of others: what stands in the place of a value not yet known."""

from collections.abc import Iterable, Mapping
from typing import Any

from chancy_plugins.workflow.errors import InvalidWorkflow


class Result:
    """The result of a step, wherever it stands as an argument: `step.result`.

    No attrs class, so that nothing takes it for a value that can be stored.
    """

    __slots__ = ("step",)

    def __init__(self, step: str) -> None:
        self.step = step

    def __repr__(self) -> str:
        return f"<the result of {self.step!r}>"


class Each(Result):
    """Each element of a step's result, one for each job of a map: `step.each`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<each of the results of {self.step!r}>"


def named(value: Any) -> tuple[str, ...] | None:
    """Return the steps whose results an argument is: one, or several in a list; None if none.

    Raises `InvalidWorkflow` where a result stands within a value.
    """
    if isinstance(value, Result):
        return (value.step,)
    if not _has(value):
        return None
    if isinstance(value, list | tuple) and all(type(one) is Result for one in value):
        return tuple(one.step for one in value)
    raise InvalidWorkflow(
        "the result of a step is an argument of its own, or one of a list of nothing but results"
    )


def _has(value: Any, depth: int = 0) -> bool:
    if isinstance(value, Result):
        return True
    if depth > 100 or isinstance(value, str | bytes):
        return False
    inner: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        inner = value
    return any(_has(one, depth + 1) for one in inner)
