"""How values that are not plain JSON become so, and come back; cattrs is loaded when needed."""

import json
import threading
from collections import abc, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

from chancy_core.errors import InvalidValue

if TYPE_CHECKING:
    from cattrs import Converter

_PLAIN: tuple[type, ...] = (bool, int, float, str)
#: What is written as a list.
_LISTS = frozenset(
    {list, tuple, set, frozenset, deque, abc.Sequence, abc.MutableSequence, abc.Set, abc.MutableSet}
)


@lru_cache(maxsize=1)
def converter() -> "Converter":
    """Return the converter for what is not plain JSON."""
    from datetime import time, timedelta
    from decimal import Decimal
    from pathlib import Path
    from uuid import UUID

    from cattrs.preconf.json import make_converter

    made = make_converter(forbid_extra_keys=True)
    for plain in _PLAIN:
        made.register_structure_hook(plain, _as_it_is)
    for text in (UUID, Decimal, Path):
        made.register_unstructure_hook_func(partial(_is, text), str)
        made.register_structure_hook(text, lambda value, to: to(value))
    made.register_unstructure_hook(time, time.isoformat)
    made.register_structure_hook(time, lambda value, _: time.fromisoformat(value))
    made.register_unstructure_hook(timedelta, timedelta.total_seconds)
    made.register_structure_hook(timedelta, lambda value, _: timedelta(seconds=value))
    made.register_unstructure_hook_func(_is_model, _dump)
    made.register_structure_hook_func(_is_model, _validate)
    made.register_structure_hook_func(lambda kind: kind is object, lambda value, _: value)
    made.register_structure_hook_func(
        lambda kind: cast("Any", get_origin(kind)) in (Iterable, Collection),
        lambda value, kind: made.structure(value, cast("Any", list)[get_args(kind)[0]]),
    )
    made.register_structure_hook_factory(_is_list, partial(_from_lists, made))
    return made


class _Making(threading.local):
    """The kinds of lists whose hooks are being made in this thread."""

    def __init__(self) -> None:
        self.kinds = set[Any]()


_making = _Making()


def _is_list(kind: Any) -> bool:
    return (get_origin(kind) or kind) in _LISTS and kind not in _making.kinds


def _from_lists(made: "Converter", kind: Any) -> Callable[[Any, Any], Any]:
    """Make the hook for a kind of list: the usual one takes a text for a list of letters."""
    _making.kinds.add(kind)  # so that it is the usual one which is found
    try:
        usual = made.get_structure_hook(kind, cache_result=False)
    finally:
        _making.kinds.discard(kind)

    def structure(value: Any, kind: Any) -> Any:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise InvalidValue(f"it must be a list, not {type(value).__name__}")
        return usual(value, kind)

    return structure


def _as_it_is(value: Any, kind: type) -> Any:
    """Take a value that is of its kind already: 1.5 is no int, and neither are "1" and True.

    Also for classes that stand on a plain one, such as an `IntEnum`, which say the rest themselves.
    """
    plain = next(plain for plain in _PLAIN if issubclass(kind, plain))
    wanted = (int, float) if plain is float else plain
    if not isinstance(value, wanted) or (isinstance(value, bool) and plain is not bool):
        raise InvalidValue(f"it must be of type {plain.__name__}, not {type(value).__name__}")
    return kind(value)


def _is(parent: type, kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, parent)


def _is_model(kind: Any) -> bool:
    """Whether this is a class of pydantic models; pydantic itself is never imported here."""
    return isinstance(kind, type) and all(
        hasattr(kind, name)
        for name in ("__pydantic_validator__", "model_dump", "model_validate_json")
    )


def _dump(model: Any) -> Any:
    # By the names of its fields: an alias may be another one for reading than for writing.
    return model.model_dump(mode="json", by_alias=False, round_trip=True)


def _validate(value: Any, kind: Any) -> Any:
    # As JSON, so that also a strict model takes a UUID or a date from a string.
    return kind.model_validate_json(json.dumps(value), by_alias=True, by_name=True)


def complaint(exc: BaseException, kind: type | None) -> str:
    """Say what is wrong with a value that did not fit."""
    if type(exc).__name__ == "ValidationError" and type(exc).__module__.startswith("pydantic"):
        return "; ".join(
            f"{'.'.join(map(str, error['loc'])) or 'it'}: {error['msg']}"
            for error in cast("Any", exc).errors()
        )
    if isinstance(exc, InvalidValue) or (kind is None and type(exc) is ValueError):
        return str(exc)  # what the class itself said, in its `__init__`
    from cattrs.v import format_exception

    return format_exception(exc, kind)
