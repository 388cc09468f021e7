"""A job's arguments and meta, from words such as `name=Ada` and `times:=3`."""

import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from chancy_core import codec
from chancy_core.cli.failing import Refused
from chancy_core.errors import InvalidValue

_WORD = re.compile(r"(?P<name>[^=:]+)(?P<sign>:?=)(?P<value>.*)", re.DOTALL)
#: What a text is never taken for, whatever it looks like, where it is annotated so.
_PLAIN = (int, float, bool, type(None))


def read(words: Iterable[str], func: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Return what the words mean: `name:=value` is JSON, `name=value` what *func* wants there.

    That is text for `str` and where nothing is said; else the text if it fits the annotation, or
    what the text is as JSON. Raises `Refused` for a word of another form.
    """
    hints = _hints(func)
    found: dict[str, Any] = {}
    for word in words:
        matched = _WORD.fullmatch(word)
        if matched is None:
            raise Refused(f"{word!r} is neither name=text nor name:=JSON, such as times:=3")
        name, sign, value = matched.groups()
        if name in found:
            raise Refused(f"{name!r} is given twice")
        found[name] = _json(name, value) if sign == ":=" else _fitting(name, value, hints)
    return found


def _hints(func: Callable[..., Any] | None) -> dict[str, Any]:
    if func is None:
        return {}
    try:
        return get_type_hints(func)
    except Exception:  # noqa: BLE001 - whatever the text of an annotation evaluates to
        return {}


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        raise Refused(f"{name}:={text} is no JSON ({exc}); text is given as {name}=...") from exc


def _fitting(name: str, text: str, hints: dict[str, Any]) -> Any:
    """Return the text, or what it is as JSON: whichever fits the annotation, the text if both."""
    hint = hints.get(name, str)
    candidates: list[Any] = [] if _has_plain(hint) else [text]
    with suppress(ValueError):
        candidates.append(json.loads(text))
    problems: list[str] = []
    for candidate in candidates:
        try:
            codec.structured(name, candidate, hint)
        except InvalidValue as exc:
            problems.append(str(exc))
        else:
            return candidate
    raise Refused(problems[-1] if problems else f"{name}: {text!r} is no {_shown(hint)}")


def _has_plain(hint: Any) -> bool:
    """Whether the annotation wants a number or a truth, and no text."""
    kinds = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    return all(kind in _PLAIN for kind in kinds)


def _shown(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)
