"""How values and errors are told of: in few words, that can be stored, and without secrets."""

from collections.abc import Mapping
from typing import Any


def said(exc: BaseException) -> str:
    """Return the text of an exception, as it can be stored; never raises."""
    try:
        return clean(str(exc))
    except Exception:  # noqa: BLE001 - an exception whose __str__ raises is still an outcome
        return "<an exception without a readable text>"


def clean(text: str, limit: int = 16_384) -> str:
    """Return *text* without what PostgreSQL refuses, cut in its middle to *limit* characters."""
    text = text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half:,} characters cut]\n{text[len(text) - half :]}"


def shown(value: Any) -> str:
    """Return how *value* is named in an error, in 200 characters; never raises."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a number with more digits than Python writes, for one
        return f"<{clean(type(value).__qualname__, 100)} without a repr>"
    return text if len(text) <= 200 else f"{text[:140]}...{text[-50:]}"


def veiled(value: Any) -> str:
    """Return how a value is shown that may hold a secret: by the names in it, if it has any."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{shown(name)}: ...' for name in value)}}}"
    return "None" if value is None else "..."
