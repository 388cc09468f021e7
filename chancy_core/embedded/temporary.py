"""A server for tests, of which nothing is to remain."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from chancy_core.embedded import locks, postmaster
from chancy_core.embedded.launch import Progress
from chancy_core.embedded.lease import Lease, claim

PREFIX = "chancy-throwaway-"
GIB = 2**30

# Quick, because nobody will miss the data.
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "checkpoint_timeout": "1d",
}


def throwaway(
    *,
    settings: Mapping[str, str] | None = None,
    parent: Path | None = None,
    progress: Progress | None = None,
) -> Lease:
    """Start a server of the caller's own, that forgets all when its lease is closed.

    It keeps nothing safe from a crash, and its folder is new, in `parent`: by
    default in memory, if there is room, else where temporary files are. If the
    caller dies, or is killed, the server goes too; if all is killed at once,
    the next call in the same `parent` removes the folder.

    Raises EmbeddedError, as `join` does.
    """
    parent = (parent or roomy()).absolute()
    sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    if os.geteuid() == 0:
        folder.chmod(0o755)  # another user runs the server; what is in it is private
    try:
        return claim(
            folder,
            SETTINGS | dict(settings or {}),
            linger=0.0,
            progress=progress or (lambda _message: None),
            throwaway=True,
        )
    except BaseException:
        if not locks.is_held(folder / "supervisor.lock"):
            shutil.rmtree(folder, ignore_errors=True)
        raise


def roomy() -> Path:
    """Memory if it has room for a cluster that writes much, else the temporary folder.

    Each new database writes some 7 MB, which many a disk cannot keep up with.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the folders in it have names of their own
    if memory.is_dir() and os.access(memory, os.W_OK):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if total >= 8 * GIB and shutil.disk_usage(memory).free >= 4 * GIB:
            return memory
    return Path(tempfile.gettempdir())


def sweep(parent: Path) -> None:
    """Remove the throw-away servers of this user in `parent` that nobody looks after."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            seen = folder.lstat()
            if seen.st_uid != os.geteuid():
                continue
            used = any(
                locks.is_held(path)
                for path in (
                    *folder.glob("leases/*"),
                    folder / "start.lock",
                    folder / "supervisor.lock",
                )
            )
        except OSError:
            continue  # gone
        # Without a lock it may be on its way to its first one.
        young = not (folder / "start.lock").exists() and time.time() - seen.st_mtime < 3600
        if not used and not young:
            if (folder / "data").exists():
                postmaster.stop(folder / "data", signal.SIGQUIT)
            shutil.rmtree(folder, ignore_errors=True)
