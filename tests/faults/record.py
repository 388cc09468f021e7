"""What the processes of a run do, in the order in which it happened.

All write to one file, opened to append: a line is written whole and at once, so its place in the
file is its place in time, whoever wrote it; and it is there whoever is killed or cut off next.
"""

import json
import os
import time
from pathlib import Path
from typing import Any


class Record:
    """The file, as one process writes to it."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def say(self, kind: str, **what: Any) -> None:
        """Write down that *kind* of thing, now. The clock is one that nobody can set."""
        what |= {"kind": kind, "pid": os.getpid(), "at": time.monotonic()}
        line = json.dumps(what, default=str).encode() + b"\n"
        assert os.write(self._fd, line) == len(line)

    def read(self) -> list[dict[str, Any]]:
        """All that has been written down so far, by whomever."""
        # What follows the last line's end is a line that is being written at this moment.
        whole, _, _ = self.path.read_bytes().rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines()]

    def close(self) -> None:
        os.close(self._fd)


_here: dict[str, Record] = {}


def say(path: str, kind: str, **what: Any) -> None:
    """Write to the record at *path*, which this process opens once."""
    if path not in _here:
        _here[path] = Record(path)
    _here[path].say(kind, **what)
