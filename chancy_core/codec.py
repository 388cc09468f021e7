"""Values to JSON and back: the one encoder for arguments, meta, results and errors.

What a producer gives is checked where it was given (`encode`): whatever PostgreSQL's `jsonb`
would refuse or silently change is an `InvalidValue` that names the place inside the value. What
a job gives (its result, the text of its error) is never refused, since the attempt has happened:
`salvage` turns it into something that can be stored.
"""

import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from chancy_core.errors import InvalidValue

if TYPE_CHECKING:
    from cattrs import Converter

#: The most that one job's arguments, or its meta, may take as JSON, in bytes.
MAX_BYTES = 1_000_000
#: How deep lists and objects may be nested; Python's own encoder gives up near 1,000.
MAX_DEPTH = 100

_PLAIN = (str, bool, int, float, type(None))


@lru_cache(maxsize=1)
def converter() -> "Converter":
    """Return the converter for what is not plain JSON; cattrs is loaded when first needed."""
    from cattrs.preconf.json import make_converter

    return make_converter(forbid_extra_keys=True)


def encode(value: Any, what: str) -> str:
    """Write *value* as JSON that PostgreSQL will store and give back unchanged.

    Dataclasses, attrs classes, UUIDs, dates, decimals and enums become what cattrs makes of them,
    and come back through the annotations of the function that receives them. *what* names the
    value in errors, such as `arguments of acme.send`.

    Raises `InvalidValue` for keys that are no strings, NaN and infinity, NUL and lone surrogates,
    nesting beyond `MAX_DEPTH`, integers beyond 4,300 digits and more than `MAX_BYTES`.
    """
    text = json.dumps(_plain(value, what, 0), allow_nan=False, separators=(",", ":"))
    if len(text) > MAX_BYTES:
        raise InvalidValue(
            f"{what}: {len(text):,} bytes of JSON, where at most {MAX_BYTES:,} are stored; "
            "keep large data elsewhere and pass where it is"
        )
    return text


def _plain(value: Any, path: str, depth: int) -> Any:
    """Return *value* as plain JSON data, or raise for the first thing that cannot be."""
    if depth > MAX_DEPTH:
        raise InvalidValue(f"{path[:200]}: nested deeper than {MAX_DEPTH} levels")
    if type(value) in _PLAIN:
        return _scalar(value, path)
    if type(value) is dict or isinstance(value, Mapping):
        return {_key(k, path): _plain(v, f"{path}.{k}", depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{n}]", depth + 1) for n, item in enumerate(value)]
    try:
        simpler = converter().unstructure(value)
    except Exception as exc:
        raise InvalidValue(f"{path}: {type(value).__qualname__} cannot be stored: {exc}") from exc
    if type(simpler) is type(value):
        raise InvalidValue(
            f"{path}: {type(value).__qualname__} cannot be stored; give plain JSON values, "
            "dataclasses, attrs classes, UUIDs, dates, decimals or enums"
        )
    return _plain(simpler, path, depth + 1)


def _scalar(value: Any, path: str) -> Any:
    if type(value) is str:
        return _text(value, path)
    if type(value) is float and not math.isfinite(value):
        raise InvalidValue(f"{path}: {value} is no JSON number; use None or a string")
    if type(value) is int and value.bit_length() > 14_000:  # 4,300 digits: what int() reads back
        raise InvalidValue(f"{path}: an integer of more than 4,300 digits cannot be stored")
    return value


def _text(value: str, path: str) -> str:
    if "\0" in value:
        raise InvalidValue(f"{path}: PostgreSQL stores no NUL character")
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidValue(f"{path}: a lone surrogate is no text ({exc.reason})") from exc
    return value


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise InvalidValue(f"{path}: the key {key!r} is no string, and JSON has no other keys")
    return _text(key, path)


def clean(text: str, limit: int = 16_384) -> str:
    """Return *text* without what PostgreSQL refuses, cut in its middle to *limit* characters."""
    text = text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters cut]\n{text[-half:]}"


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
            return json.dumps({"repr": f"<{type(value).__name__} without a repr>"})


def decode(text: str | bytes) -> Any:
    """Read JSON that `encode` or `salvage` wrote."""
    return json.loads(text)


@lru_cache(maxsize=4096)
def _hints(func: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotations of *func* that say more than plain JSON does already."""
    from typing import get_type_hints

    hints = get_type_hints(func, include_extras=True)
    return {k: v for k, v in hints.items() if v not in _PLAIN and v is not Any and k != "return"}


def structure(func: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Turn decoded *arguments* into what the annotations of *func* promise it.

    Raises `InvalidValue` when a value does not fit its annotation.
    """
    hints = _hints(func)
    if not hints:
        return dict(arguments)
    return {
        name: structured(f"argument {name}", value, hints[name]) if name in hints else value
        for name, value in arguments.items()
    }


def structured(what: str, value: Any, kind: Any) -> Any:
    """Make plain *value* an instance of *kind*: a class, or any annotation.

    Raises `InvalidValue` when it does not fit; *what* names it there.
    """
    try:
        return converter().structure(value, kind)
    except Exception as exc:
        from cattrs import transform_error

        raise InvalidValue("; ".join(transform_error(exc, path=what))) from exc


def as_object(text: str | bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises `InvalidValue` when the text holds anything else.
    """
    value = decode(text)
    if not isinstance(value, dict):
        raise InvalidValue(f"expected a JSON object, not {type(value).__name__}")
    return cast("dict[str, Any]", value)
