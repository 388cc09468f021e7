"""Real processes that use a server, and ways to wait for them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psycopg

from chancy_core.embedded import postmaster

ROOT = Path(__file__).parents[2]

# Joins, says so, and leaves when its standard input ends.
CLIENT = """
import json, sys
from pathlib import Path
from chancy_core import embedded
options = json.loads(sys.argv[1])
if "parent" in options:
    lease = embedded.throwaway(parent=Path(options["parent"]))
else:
    lease = embedded.join(Path(options.pop("folder")), **options)
with lease:
    print(json.dumps({"dsn": lease.dsn, "folder": str(lease.folder)}), flush=True)
    sys.stdin.read()
"""


class Client:
    """A process of its own that joins, and stays until `leave`, or until it is killed."""

    def __init__(self, script: str = CLIENT, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, json.dumps(options, default=str)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )

    def joined(self) -> dict[str, str]:
        """What it says when it has joined."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1].decode()
        said: dict[str, str] = json.loads(line)
        return said

    def leave(self) -> None:
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors.decode()

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> bytes:
        """Signal the whole process group, as the terminal and the kernel do; what it said."""
        os.killpg(self.process.pid, sign)
        return self.process.communicate(timeout=60)[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.kill()


def eventually(what: Callable[[], Any], within: float = 20.0) -> Any:
    """What `what` returns as soon as it is true; there is no event for a stranger's death."""
    deadline = time.monotonic() + within
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.01)
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "state.json").read_text())
    return found


def kill(pid: int) -> None:
    """Kill and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid))


def supervisor_of(folder: Path) -> int:
    pid: int = state(folder)["supervisor"]
    return pid


def wait_for_a_look(folder: Path) -> None:
    """Return when the supervisor has looked at the leases: it removes one that nobody holds."""
    dead = folder / "leases" / "1-1-1"
    dead.touch()
    eventually(lambda: not dead.exists())


def is_gone(folder: Path) -> bool:
    """Whether nothing that belongs to the server runs, or says that it does."""
    return not postmaster.orphans(folder / "data") and not (folder / "state.json").exists()


def answers(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn, connect_timeout=2) as conn:
            conn.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def write(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def read(dsn: str) -> int:
    with psycopg.connect(dsn) as conn:
        row = conn.execute("SELECT answer FROM kept").fetchone()
        assert row
        answer: int = row[0]
        return answer
