"""Start or join the server of a folder, and leave it again."""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chancy_core.embedded import locks, postmaster
from chancy_core.embedded.folders import default_folder, make
from chancy_core.embedded.launch import Progress, launch
from chancy_core.errors import EmbeddedError

PATIENCE = 330.0  # seconds; a little more than the supervisor gives the server


class Lease:
    """A process's claim on a server: it runs at least until `close`, or the process's end.

    However the process ends, its lease ends with it. A process made by `fork`
    has no lease: closing its copy does nothing, and a child that outlives its
    parent has to `join` for itself.
    """

    dsn: str
    """How to connect, for libpq and psycopg."""
    folder: Path
    """Where the data and the logs (`server.log`, `supervisor.log`) are."""
    version: str
    """Like `18.6`."""
    settings: Mapping[str, str]
    """What the server was started with: not what was asked for, if it ran already."""

    def __init__(self, folder: Path, state: dict[str, Any], path: Path, lock: int) -> None:
        self.dsn = state["dsn"]
        self.folder = folder
        self.version = state["version"]
        self.settings = state["settings"]
        self._held: tuple[Path, int] | None = (path, lock)
        self._process = os.getpid()

    def close(self) -> None:
        """Give the server up; the second call does nothing."""
        held, self._held = self._held, None
        if held and self._process == os.getpid():
            _give_up(*held)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Status:
    """What is known of the server of a folder."""

    folder: Path
    state: str
    """`running`, `orphaned` (nobody looks after it until somebody joins) or `stopped`."""
    pid: int | None = None
    version: str | None = None
    dsn: str | None = None
    clients: int = 0
    """Leases that are held."""


def join(
    folder: Path | None = None,
    *,
    settings: Mapping[str, str] | None = None,
    linger: float = 10.0,
    start: bool = True,
    progress: Progress | None = None,
) -> Lease:
    """Start the user's server, or join it if it runs, and keep it running until `close`.

    All processes that name the same folder share one server; `linger` seconds
    after the last of them has closed its lease, or died, it stops by itself.
    `settings` are PostgreSQL's (`{"max_connections": "200"}`) and count only
    for the one who starts it. `progress` is told what is done if it takes more
    than a moment. Blocks: 0.1 s for a start, a second or so for the first. With
    `start=False` a server that runs is joined, and none is ever started.

    Raises EmbeddedError, with the end of the server's log if it did not start, or if none runs.

        with embedded.join() as lease: ...
    """
    folder = (folder or default_folder()).absolute()
    if not start and status(folder).state == "stopped":  # and not even a folder is made
        raise _none_runs(folder)
    asked = dict(settings or {})
    return claim(folder, asked, linger, progress or _silent, throwaway=False, start=start)


def claim(
    folder: Path,
    settings: dict[str, str],
    linger: float,
    progress: Progress,
    *,
    throwaway: bool,
    start: bool = True,
) -> Lease:
    """Do what `join` and `throwaway` promise."""
    with _explained(folder):
        make(folder)
        (folder / "leases").mkdir(mode=0o700, exist_ok=True)
        path, lock = locks.take_new(folder / "leases", str(linger))
        try:
            state = _join(folder, settings, linger, progress, throwaway=throwaway, start=start)
        except BaseException:
            _give_up(path, lock)
            raise
    return Lease(folder, state, path, lock)


def stop(folder: Path | None = None) -> bool:
    """Stop the server of a folder, whoever uses it; False if none ran."""
    folder = (folder or default_folder()).absolute()
    if not (folder / "start.lock").exists():
        return False
    with _explained(folder), _start_lock(folder, _silent):
        if locks.is_held(folder / "supervisor.lock"):
            deadline = time.monotonic() + PATIENCE
            while locks.is_held(folder / "supervisor.lock"):
                # A request by file: a signal might hit whoever has the number by now.
                with suppress(FileNotFoundError):
                    (folder / "stop").touch()
                if time.monotonic() > deadline:
                    raise EmbeddedError(f"The server in {folder} does not stop.")
                time.sleep(0.02)
            (folder / "stop").unlink(missing_ok=True)
            return True
        orphaned = postmaster.pid_of(folder / "data") is not None
        if orphaned:
            postmaster.stop(folder / "data")
            (folder / "state.json").unlink(missing_ok=True)
        return orphaned


def status(folder: Path | None = None) -> Status:
    """What is known of the server of a folder; changes nothing."""
    folder = (folder or default_folder()).absolute()
    with _explained(folder):
        pid = postmaster.pid_of(folder / "data")
        if pid is None:
            return Status(folder, "stopped")
        name = "running" if locks.is_held(folder / "supervisor.lock") else "orphaned"
        clients = sum(map(locks.is_held, (folder / "leases").glob("*")))
        version = (_state(folder) or {}).get("version")
        return Status(folder, name, pid, version, postmaster.dsn(folder / "data"), clients)


def _join(
    folder: Path,
    settings: dict[str, str],
    linger: float,
    progress: Progress,
    *,
    throwaway: bool,
    start: bool,
) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with _start_lock(folder, progress) as lock:
            if not locks.is_held(folder / "supervisor.lock"):
                if not start and postmaster.pid_of(folder / "data") is None:
                    raise _none_runs(folder)
                launch(folder, settings, linger, progress, throwaway=throwaway, start_lock=lock)
            state = _state(folder)
            if state and postmaster.is_ours(state["pid"], folder / "data"):
                return state
        time.sleep(0.05)  # it died, and the supervisor is about to notice
    raise EmbeddedError(f"The server in {folder} did not come back within {PATIENCE:.0f} s.")


def _none_runs(folder: Path) -> EmbeddedError:
    return EmbeddedError(
        f"No server runs in {folder}. Start one with `chancy dev`, or name another by CHANCY_DSN."
    )


def _state(folder: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError):
        return None
    return state


def _give_up(path: Path, lock: int) -> None:
    path.unlink(missing_ok=True)
    locks.free(lock)


@contextmanager
def _start_lock(folder: Path, progress: Progress) -> Iterator[int]:
    """Hold the lock under which it is decided whether there is a server."""
    path = folder / "start.lock"
    lock = locks.take(path, wait=1.0)
    if lock is None:
        progress("waiting for another process that starts or stops the server")
        lock = locks.take(path, wait=PATIENCE)
    if lock is None:
        raise EmbeddedError(f"{path} is held by another process for {PATIENCE:.0f} s.")
    try:
        yield lock
    finally:
        locks.free(lock)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn what the operating system says into our own error."""
    try:
        yield
    except OSError as error:
        raise EmbeddedError(f"The server in {folder} cannot be had: {error}") from error


def _silent(_message: str) -> None:
    pass
