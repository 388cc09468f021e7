"""What the demo's jobs do with a source file: count it, hash it, tokenise it."""

import hashlib
import tokenize
from pathlib import Path

import anyio

from chancy_core.registry import job


@job(queue="count")
async def count(path: str) -> int:
    """Return how many lines the file has; a coroutine, on the worker's own event loop."""
    return (await anyio.Path(path).read_bytes()).count(b"\n")


@job(queue="hash")
def digest(path: str) -> str:
    """Return the file's SHA-256; a function that blocks, in a thread."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@job(queue="tokenise")
def tokens(path: str) -> int:
    """Return how many tokens the file has, 0 if it is no Python; computed in a process."""
    with Path(path).open("rb") as file:
        try:
            return sum(1 for _ in tokenize.tokenize(file.readline))
        except (SyntaxError, UnicodeDecodeError):
            return 0  # the standard library's tests have such files on purpose
