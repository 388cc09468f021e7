"""The process that looks after one server; run as a script, never imported by the package.

`python -I -S supervisor.py` reads its orders as JSON from standard input, says
on standard output how the start goes (one JSON object a line, the last one
`ready` or `error`), and lives on in the background:

* it holds `supervisor.lock` for life, and `start.lock`, inherited from the
  process that started it, until the server is ready;
* it adopts a server that runs already, restarts one that died, and stops it
  when no lease has been held for `linger` seconds;
* whether to stop it decides under `start.lock`, and whoever joins takes a
  lease first and `start.lock` second, so nobody is handed a server that is
  about to stop.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from chancy_core.embedded import locks, postmaster
    from chancy_core.embedded.server import Server, StartFailed
else:
    # Behind the standard library, of which no sibling may take a name.
    sys.path.append(str(Path(__file__).parent))
    import locks
    import postmaster
    from server import Server, StartFailed

PULSE = 0.2  # seconds between two looks at the leases
RESTARTS = 5  # a minute


class Told(Exception):
    """A signal, or the file `stop`, told us to stop."""


def _on_signal(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Told


def say(**what: object) -> None:
    """Tell the process that waits for the server."""
    with contextlib.suppress(OSError):  # it was killed
        os.write(1, json.dumps(what).encode() + b"\n")


def log(message: str) -> None:
    """A line for supervisor.log."""
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")
    sys.stderr.flush()


class Supervisor:
    """One server, its folder, and who needs it."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.server = Server(orders)
        self.folder = self.server.folder
        self.linger: float = orders["linger"]
        self.restarts: list[float] = []

    def start_or_adopt(self) -> None:
        """Have a server, and let those who join know of it."""
        server = self.server
        found = postmaster.pid_of(server.data)
        if found and server.adopt(found):
            self._recall()
            log(f"adopted the server {found}")
        else:
            server.start(lambda message: say(say=message))
            log(f"started the server {server.pid}")
        state = {
            "supervisor": os.getpid(),
            "pid": server.pid,
            "version": server.version,
            "settings": server.settings,
            "dsn": postmaster.dsn(server.data),
        }
        new = self.folder / "state.new"
        new.write_text(json.dumps(state))
        new.replace(self.folder / "state.json")

    def _recall(self) -> None:
        """What the last supervisor knew of the server that we adopt."""
        with contextlib.suppress(OSError, ValueError):
            known = json.loads((self.folder / "state.json").read_text())
            if known["pid"] == self.server.pid:
                self.server.version = known["version"]
                self.server.settings = known["settings"]

    def watch(self) -> None:
        """Look after the server until nobody needs it."""
        needed = time.monotonic()
        while True:
            time.sleep(PULSE)
            if (self.folder / "stop").exists():
                raise Told
            if not self.server.is_alive():
                self._revive()
            lingers = [float(text or 0) for text in locks.living(self.folder / "leases")]
            if lingers:
                self.linger = max(lingers)
                needed = time.monotonic()
            elif time.monotonic() - needed >= self.linger and self._may_stop():
                return

    def _may_stop(self) -> bool:
        """Whether still nobody needs the server; if so, nobody can join it any more."""
        lock = locks.take(self.folder / "start.lock")
        if lock is None:
            return False
        if any(True for _ in locks.living(self.folder / "leases")):
            locks.free(lock)
            return False
        return True

    def _revive(self) -> None:
        """Start a server again that died, unless it keeps dying."""
        lock = locks.take(self.folder / "start.lock")
        if lock is None:
            return  # somebody joins or stops it; look again
        now = time.monotonic()
        self.restarts = [then for then in self.restarts if now - then < 60.0] + [now]
        if len(self.restarts) > RESTARTS:
            raise StartFailed(f"The server died more than {RESTARTS} times within a minute.")
        log(f"the server {self.server.pid} died")
        self.start_or_adopt()
        locks.free(lock)

    def stop(self) -> None:
        """Stop the server and leave nothing that says there is one."""
        for sign in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sign, signal.SIG_IGN)
        self.server.stop()
        for name in ("state.json", "stop"):
            (self.folder / name).unlink(missing_ok=True)
        log("stopped")
        if self.server.throwaway:
            shutil.rmtree(self.folder, ignore_errors=True)


def be_ready(start_lock: int) -> None:
    """Let go of the process that started us."""
    say(ready=True)
    # Said aloud, so that it is unlocked for that process too.
    fcntl.flock(start_lock, fcntl.LOCK_UN)
    os.close(start_lock)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)


def main() -> None:
    """Do as told by the orders on standard input, in the background."""
    orders = json.load(sys.stdin)
    if os.fork():
        os._exit(0)  # so that nobody has to reap us
    os.umask(0o077)
    own = locks.take(Path(orders["folder"]) / "supervisor.lock", wait=10.0)
    if own is None:
        say(error="Another process looks after this folder, and does not let go.")
        return
    (Path(orders["folder"]) / "stop").unlink(missing_ok=True)
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, _on_signal)
    supervisor = Supervisor(orders)
    error = "It was told to stop."
    try:
        supervisor.start_or_adopt()
        be_ready(orders["start_lock"])
        supervisor.watch()
    except Told:
        log("told to stop")
    except (StartFailed, OSError) as failure:
        error = str(failure)
        log(error)
    finally:
        supervisor.stop()
    say(error=error)  # unless it was ready, somebody waits for this


if __name__ == "__main__":
    main()
