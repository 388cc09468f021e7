"""How values, errors and stacks are told of: in few words, that can be stored, without secrets."""

import traceback
from collections.abc import Collection, Mapping
from types import CodeType, FrameType
from typing import Any

#: How many calls of a thread's stack are shown at most: the innermost.
DEEPEST = 40


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


def stack_of(coro: Any) -> str:
    """Return the stack of a coroutine that is suspended, from its outermost call inwards."""
    frames: list[tuple[FrameType, int]] = []
    while coro is not None:
        for kind, waits_for in (("cr", "await"), ("gi", "yieldfrom"), ("ag", "await")):
            frame = getattr(coro, f"{kind}_frame", None)
            if frame is not None:
                frames.append((frame, frame.f_lineno))
                coro = getattr(coro, f"{kind}_{waits_for}")
                break
        else:
            break
    return "".join(traceback.StackSummary.extract(iter(frames)).format())


def stack_within(frame: FrameType | None, within: Collection[CodeType]) -> str:
    """Return the stack of a thread that is at *frame*: what one of *within* has called, inwards.

    It is cut to its `DEEPEST` innermost calls.
    """
    frames: list[tuple[FrameType, int]] = []
    while frame is not None and frame.f_code not in within and len(frames) < DEEPEST:
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return "".join(traceback.StackSummary.extract(reversed(frames)).format())
