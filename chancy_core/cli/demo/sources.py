"""What the demo reads: the source files of Python's standard library."""

import hashlib
import io
import sysconfig
import tokenize
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyio import from_thread

#: What was found in each file, by queue and path.
Found = dict[str, dict[str, Any]]


def source_files() -> list[str]:
    """Return the source files of the running Python's standard library."""
    root = Path(sysconfig.get_path("stdlib"))
    installed = {"site-packages", "dist-packages"}
    return sorted(str(p) for p in root.rglob("*.py") if not installed & set(p.parts))


def lines(content: bytes) -> int:
    """Return how many lines there are."""
    return content.count(b"\n")


def digest(content: bytes) -> str:
    """Return the SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def tokens(content: bytes) -> int:
    """Return how many tokens there are, 0 if it is no Python."""
    try:
        return sum(1 for _ in tokenize.tokenize(io.BytesIO(content).readline))
    except (SyntaxError, UnicodeDecodeError):
        return 0  # the standard library's tests have such files on purpose


def plain_loop(files: Sequence[str]) -> Found:
    """Find the same without a queue. For a thread: it ends when whoever waits is cancelled."""
    found: Found = {"lines": {}, "hashes": {}, "tokens": {}}
    for file in files:
        from_thread.check_cancelled()
        content = Path(file).read_bytes()
        found["lines"][file] = lines(content)
        found["hashes"][file] = digest(content)
        found["tokens"][file] = tokens(content)
    return found
