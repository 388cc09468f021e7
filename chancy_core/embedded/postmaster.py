"""What can be said of, and done to, a server by its data folder. Standard library only.

Process numbers are reused. A number out of a file is believed only if that
process is a PostgreSQL that works in this very folder; anybody else is
never signalled.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

LINUX = sys.platform == "linux"


def is_ours(pid: int, data: Path) -> bool:
    """Whether the process is alive and a PostgreSQL that works in `data`."""
    if not LINUX:
        ps = ["/bin/ps", "-o", "stat=,command=", "-p", str(pid)]
        said = subprocess.run(ps, capture_output=True, text=True, check=False).stdout.strip()
        return not said.startswith("Z") and "postgres" in said and str(data) in said
    proc = Path("/proc") / str(pid)
    try:
        # A zombie has a name, but no current folder.
        return (proc / "comm").read_text() == "postgres\n" and os.path.samestat(
            (proc / "cwd").stat(), data.stat()
        )
    except OSError:
        return False


def _lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def pid_of(data: Path) -> int | None:
    """The process number of the server that runs on `data`, if one does."""
    lines = _lines(data)
    if lines and lines[0].isdigit() and is_ours(int(lines[0]), data):
        return int(lines[0])
    return None


def is_ready(data: Path, pid: int) -> bool:
    """Whether the server `pid` accepts connections."""
    lines = _lines(data)
    return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"


def dsn(data: Path) -> str:
    """How to connect to the server that runs on `data`."""
    lines = _lines(data)
    return f"host={lines[4]} port={lines[3]} user=postgres dbname=postgres"


def orphans(data: Path) -> list[int]:
    """The processes of PostgreSQL that work in `data`."""
    if not LINUX:
        return []
    numbers = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in numbers if is_ours(pid, data)]


def clear(data: Path, patience: float = 3.0) -> None:
    """Remove what a dead server left: its backends, after `patience` seconds, and its lock.

    PostgreSQL itself refuses to start if the number in its lock file belongs
    to whomever by now. Without the file it still refuses while an old backend
    holds the shared memory, so nothing is risked.
    """
    deadline = time.monotonic() + patience
    while left := orphans(data):
        if time.monotonic() > deadline:
            for pid in left:
                send(pid, signal.SIGKILL)
        time.sleep(0.02)
    lines = _lines(data)
    if len(lines) > 4 and lines[4]:
        for name in (f".s.PGSQL.{lines[3]}", f".s.PGSQL.{lines[3]}.lock"):
            (Path(lines[4]) / name).unlink(missing_ok=True)
    (data / "postmaster.pid").unlink(missing_ok=True)


def stop(data: Path, how: signal.Signals = signal.SIGINT) -> None:
    """Stop the server that runs on `data`, more and more firmly; return when it is gone."""
    for sign, patience in ((how, 20.0), (signal.SIGQUIT, 8.0), (signal.SIGKILL, 8.0)):
        pid = pid_of(data)
        if pid is None:
            break
        send(pid, sign)
        deadline = time.monotonic() + patience
        while is_ours(pid, data) and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.005)
    clear(data)


def send(pid: int, sign: signal.Signals) -> None:
    """Signal a process that may be gone by now."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)
