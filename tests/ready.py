"""A Python that has loaded others' libraries, and forks to become the command: that is quicker.

Nothing of ours is loaded before the fork, and the child ends as any Python does. Run as a program
it serves; it is asked for one command at a time, and ends with whoever asks.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

#: What takes the longest to load of what the command needs.
LIBRARIES = (
    "anyio._backends._asyncio",
    "anyio._backends._trio",
    "attrs",
    "cattrs",
    "cyclopts",
    "importlib.metadata",
    "pluggy",
    "psycopg",
    "re2",
    "rich.progress",
    "rich.table",
)
#: How the number of a process, and its exit code, are told.
NUMBER = struct.Struct("!i")


class Forked:
    """A command that was begun: like a `subprocess.Popen`, as far as that is needed."""

    def __init__(self, pid: int, answers: socket.socket) -> None:
        self.pid = pid
        self._answers = answers
        self._status: int | None = None

    def wait(self, seconds: float | None = None) -> int:
        """Return its exit code, once it has ended."""
        if self._status is None:
            self._answers.settimeout(seconds)
            (self._status,) = NUMBER.unpack(self._answers.recv(NUMBER.size))
        return self._status

    def kill(self) -> None:
        """End it, unless it has."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Ready:
    """The Python that is ready, for the time of a block."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._socket, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=dict(environ),
        )
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._process.wait()

    def begin(
        self, words: Sequence[str], folder: Path, environ: Mapping[str, str], ends: Sequence[int]
    ) -> Forked:
        """Begin a command with these three ends; a terminal becomes its own."""
        self._socket.settimeout(60)
        socket.send_fds(self._socket, [b"\n"], ends)
        asked = {"words": list(words), "folder": str(folder), "environ": dict(environ)}
        self._socket.sendall(json.dumps(asked).encode() + b"\n")
        (pid,) = NUMBER.unpack(self._socket.recv(NUMBER.size))
        return Forked(pid, self._socket)


def become(asked: dict[str, Any], ends: Sequence[int]) -> None:
    """Make this process, which was forked, the one that was asked for."""
    for end, standard in zip(ends, range(3), strict=True):
        os.dup2(end, standard)
        os.close(end)
    if os.isatty(0):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv[:] = asked["words"]
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    # As Python opens them, which looks whether they are terminals.
    said = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = said


def serve(asking: socket.socket) -> None:
    """Fork for each command that is asked for; returns in the forks alone."""
    for library in LIBRARIES:
        __import__(library)
    requests = asking.makefile("rb")
    while True:
        said, ends, _, _ = socket.recv_fds(asking, 1, 3)
        if not said:
            os._exit(0)
        asked = json.loads(requests.readline())
        pid = os.fork()
        if not pid:
            requests.close()
            asking.close()
            become(asked, ends)
            return
        for end in ends:
            os.close(end)
        asking.sendall(NUMBER.pack(pid))
        _, status = os.waitpid(pid, 0)
        asking.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    from chancy_core.cli import main

    main()
