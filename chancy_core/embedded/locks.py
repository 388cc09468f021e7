"""Locks that the kernel drops, however their holder ends. Standard library only.

A lock here is a file descriptor with an exclusive `flock`. A child made by
`fork` holds none of its parent's locks: its copies are closed at once, so that
a child which outlives its parent keeps nothing alive.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_held: set[int] = set()


def _drop_all() -> None:
    for fd in _held:
        with contextlib.suppress(OSError):
            os.close(fd)
    _held.clear()


os.register_at_fork(after_in_child=_drop_all)


def take(path: Path, wait: float = 0.0) -> int | None:
    """The lock on `path`, or None if another holds it for longer than `wait` seconds."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    _held.add(fd)
    deadline = time.monotonic() + wait
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return fd
            if time.monotonic() >= deadline:
                break
            time.sleep(0.01)
    except BaseException:
        free(fd)
        raise
    free(fd)
    return None


def free(fd: int) -> None:
    """Give a lock back, also for a process that shares it by inheritance."""
    with contextlib.suppress(OSError):
        # Said aloud, because a descriptor's copy elsewhere would keep the lock.
        fcntl.flock(fd, fcntl.LOCK_UN)
    _held.discard(fd)
    os.close(fd)


def is_held(path: Path) -> bool:
    """Whether anybody holds the exclusive lock on `path`."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask at once are not taken for a holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def take_new(folder: Path, text: str) -> tuple[Path, int]:
    """A lock of our own on a new file in `folder` that says `text`."""
    number = 0
    while True:
        path = folder / f"{os.getpid()}-{time.monotonic_ns()}-{number}"
        number += 1
        fd = take(path)
        if fd is None:
            continue
        os.write(fd, text.encode())
        # Between creation and lock the sweeper may have taken it for a dead one's.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(fd)):
                return path, fd
        free(fd)


def living(folder: Path) -> Iterator[str]:
    """What the files in `folder` say whose locks are held; the others are removed."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            fd = take(path)
            if fd is None:
                yield path.read_text()
                continue
            path.unlink(missing_ok=True)
            free(fd)
