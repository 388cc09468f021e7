"""Values to JSON and back: the one encoder for arguments, meta, results and errors.

What a producer gives is checked where it was given (`encode`): whatever PostgreSQL's `jsonb`
would refuse or silently change is an `InvalidValue` that names the place inside the value. What
a job gives (its result, the text of its error) is never refused, since the attempt has happened:
`salvage` turns it into something that can be stored.
"""

import enum
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from chancy_core.annotations import PLAIN, structure, structured
from chancy_core.converter import converter
from chancy_core.errors import InvalidValue
from chancy_core.showing import clean, said, shown, veiled

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "Encoded",
    "as_object",
    "as_text",
    "clean",
    "decode",
    "encode",
    "said",
    "salvage",
    "shown",
    "structure",
    "structured",
    "unstorable",
    "veiled",
]

#: The most that one job's arguments, or its meta, may take as JSON, in bytes.
MAX_BYTES = 1_000_000
#: How deep lists and objects may be nested; Python's own encoder gives up near 1,000.
MAX_DEPTH = 100

#: Reads what a text begins with, and says where that ends: in half of the time of `json.loads`.
_begin = json.JSONDecoder().raw_decode
#: Kinds of keys, and of values that are JSON whatever they are, but for what a string may hold.
_STRINGS = frozenset({str})
_SURE = frozenset({str, bool, type(None)})
#: Kinds of values that are JSON if its text is short.
_FLAT = _SURE | {int}
#: The digits of the largest integer that Python reads back from text, unless told otherwise.
_DIGITS = 4300
_MOST = 10**_DIGITS - 1

_WRITER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
#: Python's encoder in C, if it has one: made once here, where `_WRITER` makes one for each value.
_make = getattr(json.encoder, "c_make_encoder", None)
_write = _make and _make(
    None, _WRITER.default, json.encoder.encode_basestring, None, ":", ",", False, False, False
)

#: Where something is inside a value: what it is in, and its key or number there.
_Place = tuple["_Place | None", str | int]


def encode(value: Any, what: str) -> str:
    """Write *value* as JSON that PostgreSQL will store and give back unchanged.

    Dataclasses, attrs classes, pydantic models, UUIDs, dates, decimals, enums and the like become
    plain values, and come back through the annotations of the function that receives them.
    *what* names the value in errors, such as `arguments of acme.send`.

    Numbers come back equal: a float from 1e16 on as an integer, -0.0 as 0.0.

    Raises `InvalidValue` for keys that are no strings, NaN and infinity, NUL and lone surrogates,
    nesting beyond `MAX_DEPTH`, integers beyond 4,300 digits and more than `MAX_BYTES`.
    """
    if type(value) is dict and (flat := _flat(value)):
        return flat
    try:
        text = as_text(value) if _is_plain((value,), 0) else ""
        # What looks like a NUL may be a backslash before a "u0000": it is looked at closely.
        if not text or "\\u0000" in text or not (text.isascii() or _is_text(text)):
            text = as_text(_plain(value, (None, what), 0))
    except InvalidValue:
        raise
    except Exception as exc:  # the value's own code: of a mapping, of a key
        raise InvalidValue(f"{what}: reading it raised {type(exc).__name__}: {said(exc)}") from exc
    size = len(text) if text.isascii() else len(text.encode())
    if size > MAX_BYTES:
        raise InvalidValue(
            f"{what}: {size:,} bytes of JSON, where at most {MAX_BYTES:,} are stored; "
            "keep large data elsewhere and pass where it is"
        )
    return text


def as_text(plain: Any) -> str:
    """Write plain JSON data as `encode` does, unchecked."""
    return "".join(_write(plain, 0)) if _write else _WRITER.encode(plain)


def _flat(value: dict[Any, Any]) -> str | None:
    """Write what nearly all arguments are: a few names, of short strings and numbers."""
    if not value:
        return "{}"
    if not (_STRINGS.issuperset(map(type, value)) and _FLAT.issuperset(map(type, value.values()))):
        return None
    try:
        text = as_text(value)
    except ValueError:  # an integer beyond all bounds
        return None
    # What is long, or no ASCII, or may have a NUL, is looked at closely.
    return text if len(text) < _DIGITS and text.isascii() and "\\u0000" not in text else None


def _is_plain(values: Iterable[Any], depth: int) -> bool:
    """Whether these can be written as they are, but for what their strings may hold.

    So are nearly all arguments, and what is copied for them costs more than their JSON. What it
    says no to may be storable all the same, or has an error that `_plain` finds words for.
    """
    for value in values:
        kind = type(value)
        if kind in _SURE:
            continue
        if kind is int:
            fits = -_MOST <= value <= _MOST
        elif kind is float:
            fits = abs(value) < 1e16
        elif depth >= MAX_DEPTH:
            fits = False
        elif kind is dict:
            fits = _STRINGS.issuperset(map(type, value)) and _is_plain(value.values(), depth + 1)
        else:
            fits = (kind is list or kind is tuple) and _is_plain(value, depth + 1)
        if not fits:
            return False
    return True


def _plain(value: Any, place: _Place, depth: int) -> Any:
    """Return *value* as plain JSON data, or raise for the first thing that cannot be."""
    if depth > MAX_DEPTH:
        raise _refused(place, f"nested deeper than {MAX_DEPTH} levels")
    if type(value) in PLAIN:
        return _scalar(value, place)
    if type(value) is dict or isinstance(value, Mapping):
        return {_key(k, place): _plain(v, (place, k), depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (place, n), depth + 1) for n, item in enumerate(value)]
    if isinstance(value, enum.Enum):
        return _plain(value.value, place, depth + 1)
    if isinstance(value, str | int | float):  # of a class of its own: as the plain value it is
        return _scalar(_same(value), place)
    kind = type(value).__qualname__
    try:
        simpler = converter().unstructure(value)
    except Exception as exc:
        raise _refused(place, f"{kind} cannot be stored: {said(exc)}") from exc
    if type(simpler) is type(value):
        raise _refused(
            place,
            f"{kind} cannot be stored; give plain JSON values, "
            "dataclasses, attrs classes, pydantic models, UUIDs, dates, decimals or enums",
        )
    return _plain(simpler, place, depth + 1)


def _same(value: str | float) -> Any:
    """Return the plain value that one of a subclass is, whatever the subclass overrides."""
    if isinstance(value, str):
        return str.__str__(value)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def _refused(place: _Place | None, problem: str) -> InvalidValue:
    """Return the error for what is at *place*; a long way to it is cut in its middle."""
    parts: list[str] = []
    while place is not None:
        place, part = place
        parts.append(
            f"[{part}]" if isinstance(part, int) else part if place is None else f".{part}"
        )
    where = "".join(reversed(parts))
    return InvalidValue(
        f"{where if len(where) <= 200 else f'{where[:140]}...{where[-50:]}'}: {problem}"
    )


def _scalar(value: Any, place: _Place) -> Any:
    if type(value) is str:
        return _text(value, place)
    if type(value) is float:
        if not math.isfinite(value):
            raise _refused(place, f"{value} is no JSON number; use None or a string")
        # jsonb writes it out as an integer: of what it is, not of its shortest form (1e23).
        return value if abs(value) < 1e16 else int(value)
    if type(value) is int and not -_MOST <= value <= _MOST:
        raise _refused(place, "an integer of more than 4,300 digits cannot be stored")
    return value


def _text(value: str, place: _Place) -> str:
    problem = unstorable(value)
    if problem:
        raise _refused(place, problem)
    return value


def _key(key: Any, place: _Place) -> str:
    if not isinstance(key, str):
        raise _refused(place, f"a key is {type(key).__qualname__}, and JSON has strings only")
    return _text(str.__str__(key), place)


def unstorable(text: str) -> str | None:
    """Say why PostgreSQL would refuse *text*, or None if it would not."""
    if "\0" in text:
        return "PostgreSQL stores no NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            return f"a lone surrogate is no text ({exc.reason})"
    return None


def _is_text(text: str) -> bool:
    return unstorable(text) is None


class Encoded(str):
    """A result as JSON text: from an executor whose function ran, and was encoded, elsewhere."""

    __slots__ = ()


def salvage(value: Any) -> str:
    """Write a job's result as JSON, whatever it is: what has no JSON form as its `repr`."""
    if type(value) is Encoded:
        return value
    try:
        return encode(value, "result")
    except Exception:  # noqa: BLE001 - the attempt has happened: its result must not be its undoing
        try:
            return json.dumps({"repr": clean(repr(value))})
        except Exception:  # noqa: BLE001 - not even a repr
            return json.dumps({"repr": f"<{clean(type(value).__name__)} without a repr>"})


def decode(text: str | bytes) -> Any:
    """Read JSON that `encode` or `salvage` wrote.

    Raises `ValueError` for what Python cannot read, which others may have written.
    """
    try:
        if type(text) is str:  # as PostgreSQL writes it: with nothing around it
            value, end = _begin(text)
            if end == len(text):
                return value
        return json.loads(text)
    except RecursionError as exc:
        raise InvalidValue("nested deeper than Python can read") from exc


def as_object(text: str | bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises `InvalidValue` when the text holds anything else.
    """
    value = decode(text)
    if not isinstance(value, dict):
        raise InvalidValue(f"expected a JSON object, not {type(value).__name__}")
    return cast("dict[str, Any]", value)
