"""Python files that change: found by looking, which works on every disk and in every container."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
from anyio import to_thread

#: Seconds between two looks.
PAUSE = 0.3
#: How many times longer to rest than a look takes: where there are many files, more.
REST = 10

#: For each file, when it was written, and how long it is.
Seen = Mapping[str, tuple[int, int]]


def look(folders: Sequence[Path]) -> Seen:
    """Return the Python files below *folders*: not those that are hidden, or installed."""
    seen: dict[str, tuple[int, int]] = {}
    for top in folders:
        for folder, below, files in os.walk(top):
            if "pyvenv.cfg" in files:
                below.clear()
                continue
            below[:] = [name for name in below if not name.startswith((".", "__pycache__"))]
            for name in files:
                if name.endswith(".py"):
                    _note(Path(folder, name), seen)
    return seen


def _note(path: Path, seen: dict[str, tuple[int, int]]) -> None:
    try:
        found = path.stat()
    except OSError:
        return  # it has just gone
    seen[str(path)] = (found.st_mtime_ns, found.st_size)


async def changed(folders: Sequence[Path], seen: Seen) -> str:
    """Return the path of a file that is not as it was *seen*, once there is one."""
    while True:
        began = time.monotonic()
        now = await to_thread.run_sync(look, folders, abandon_on_cancel=True)
        took = time.monotonic() - began
        for path in sorted(now.keys() | seen.keys()):
            if now.get(path) != seen.get(path):
                return path
        await anyio.sleep(max(PAUSE, REST * took))
