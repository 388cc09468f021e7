"""What the annotations of a function make of the plain values that it is given."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from attrs import frozen

from chancy_core.converter import complaint, converter
from chancy_core.errors import InvalidValue

#: What JSON has by itself.
PLAIN = (str, bool, int, float, type(None))


@frozen
class _Unreadable:
    """An annotation that cannot be evaluated where the function runs, and why."""

    why: str


@lru_cache(maxsize=4096)
def _hints(func: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations of *func*: `Any` for what plain JSON is already.

    Each is read alone, and what the function returns is not looked at, since a name that was
    imported for type checkers only must not spoil the others.
    """
    from typing import get_type_hints

    space = getattr(inspect.unwrap(func), "__globals__", {})
    hints: dict[str, Any] = {}
    for parameter in inspect.signature(func).parameters.values():
        # `**extra: UUID` holds for all names that no parameter has.
        name = "**" if parameter.kind is parameter.VAR_KEYWORD else parameter.name
        hints[name] = Any
        if parameter.annotation is parameter.empty:
            continue
        alone = SimpleNamespace(__annotations__={"it": parameter.annotation})
        try:
            hint = get_type_hints(alone, space, include_extras=True)["it"]
        except Exception as exc:  # noqa: BLE001 - whatever the text of an annotation evaluates to
            hint = _Unreadable(f"its annotation {parameter.annotation!r} means nothing here: {exc}")
        hints[name] = Any if hint in PLAIN else hint
    return hints if any(hint is not Any for hint in hints.values()) else {}


def structure(func: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Turn decoded *arguments* into what the annotations of *func* promise it.

    Raises `InvalidValue` when a value does not fit its annotation.
    """
    hints = _hints(func)
    if not hints:
        return dict(arguments)
    others = hints.get("**", Any)
    return {
        name: structured(f"argument {name}", value, hints.get(name, others))
        for name, value in arguments.items()
    }


def structured(what: str, value: Any, kind: Any) -> Any:
    """Make plain *value* an instance of *kind*: a class, or any annotation.

    Raises `InvalidValue` when it does not fit; *what* names it there.
    """
    if kind is Any:
        return value
    if isinstance(kind, _Unreadable):
        raise InvalidValue(f"{what}: {kind.why}")
    try:
        return converter().structure(value, kind)
    except Exception as exc:  # noqa: BLE001 - whatever a hook, or the class itself, raises
        from cattrs import transform_error

        problem = "; ".join(transform_error(exc, what, complaint))
    # Outside of the handler: the error is kept with its traceback, and its causes quote the value.
    raise InvalidValue(problem)
