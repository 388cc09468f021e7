"""Make a cluster and start the server on it. Standard library only, for the supervisor."""

import contextlib
import ctypes
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chancy_core.embedded import postmaster
else:
    import postmaster

PATIENCE = 300.0  # seconds that a start may take; a recovery after a crash can be long
LOG = 10_000_000  # bytes of server.log that are kept at a start
ADDRESS = 103  # bytes that fit the address of a Unix socket on every system


class StartFailed(Exception):
    """The message is for the person who wanted a server."""


def _tail(path: Path, start: int, lines: int = 12) -> str:
    """The last lines of a log, from the byte `start` on."""
    with path.open("rb") as file:
        file.seek(start)
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def _die_with_parent(sign: int) -> Callable[[], None] | None:
    """For `preexec_fn`: the kernel sends `sign` to the child when its parent dies."""
    if not postmaster.LINUX:
        return None
    libc = ctypes.CDLL(None)

    def in_child() -> None:
        libc.prctl(1, sign, 0, 0, 0)  # PR_SET_PDEATHSIG

    return in_child


class Server:
    """The cluster in `folder`, and the process that serves it."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self.folder = Path(orders["folder"])
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.bindir = Path(orders["bindir"])
        self.version: str = orders["version"]
        self.settings: dict[str, str] = orders["settings"]
        self.throwaway: bool = orders["throwaway"]
        self.user: tuple[int, int] | None = orders["user"] and tuple(orders["user"])
        self.process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    def start(self, say: Callable[[str], None]) -> None:
        """Start the server, on a new cluster if there is none; return when it is ready."""
        self._prepare(say)
        say(f"starting PostgreSQL {self.version}")
        postmaster.clear(self.data)
        settings = {
            "listen_addresses": "",
            # /dev/shm is small in many containers; and a killed server leaves nothing there.
            "dynamic_shared_memory_type": "mmap",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.settings,
            "port": "5432",  # no more than a part of the socket's name
            "unix_socket_directories": str(self._sockets()),
            "unix_socket_permissions": "0700",
        }
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        if self._logged() > LOG:
            self.log.replace(self.log.with_suffix(".log.old"))
        logged = self._logged()
        sign = signal.SIGQUIT if self.throwaway else None
        self.process = self._launch("postgres", "-D", str(self.data), *arguments, sign=sign)
        self.pid = self.process.pid
        deadline = time.monotonic() + PATIENCE
        while not postmaster.is_ready(self.data, self.pid):
            if self.process.poll() is not None:
                raise self._failed("PostgreSQL did not start", logged)
            if time.monotonic() > deadline:
                raise self._failed(f"PostgreSQL was not ready within {PATIENCE:.0f} s", logged)
            time.sleep(0.005)

    def adopt(self, pid: int) -> bool:
        """Take on a server that runs already; False if it ends before it is ready."""
        self.process, self.pid = None, pid
        while not postmaster.is_ready(self.data, pid):
            time.sleep(0.005)
            if postmaster.pid_of(self.data) != pid:
                return False
        return True

    def is_alive(self) -> bool:
        """Whether the server's process lives, ready or not."""
        reaped = self.process is not None and self.process.poll() is not None
        return not reaped and postmaster.is_ours(self.pid, self.data)

    def stop(self) -> None:
        """Stop the server, if it runs, and remove what only a running one needs."""
        postmaster.stop(self.data, signal.SIGQUIT if self.throwaway else signal.SIGINT)
        self.sweep()
        if (short := self._short()).exists():
            shutil.rmtree(short, ignore_errors=True)

    def sweep(self) -> None:
        """Remove the remains of an `initdb` that was killed."""
        for left in self.folder.glob("data.new.*"):
            shutil.rmtree(left, ignore_errors=True)

    def _prepare(self, say: Callable[[str], None]) -> None:
        self.sweep()
        if not self.data.exists():
            say(f"making a cluster for PostgreSQL {self.version}")
            self._initialise()
        try:
            found = (self.data / "PG_VERSION").read_text().strip()
        except FileNotFoundError:
            raise StartFailed(f"{self.data} exists, but is no PostgreSQL cluster.") from None
        if self.version.split(".")[0] != found:
            raise StartFailed(
                f"{self.data} belongs to PostgreSQL {found}, but the programs in {self.bindir} "
                f"are {self.version}. Choose another folder, or programs of major {found} "
                f"by CHANCY_BINDIR."
            )

    def _initialise(self) -> None:
        """Make the cluster, under another name until it is whole."""
        major = int(self.version.split(".")[0])
        new = self.folder / f"data.new.{os.getpid()}"
        self._give(new)
        arguments = ["-D", str(new), "-U", "postgres", "-E", "UTF8", "--locale=C"]
        arguments += ["--auth-local=trust", "--auth-host=reject"]
        if major >= 16:
            arguments += ["-c", "dynamic_shared_memory_type=mmap"]
        if major >= 17:  # as stable as C, and lower() knows more than ASCII
            arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self.throwaway:
            arguments += ["--no-sync"]
        logged = self._logged()
        # initdb removes what it has made when it is asked to stop.
        if self._launch("initdb", *arguments, sign=signal.SIGTERM).wait() != 0:
            raise self._failed("initdb failed", logged)
        new.rename(self.data)

    def _launch(self, program: str, *arguments: str, sign: int | None) -> subprocess.Popen[bytes]:
        """Start a program as the right user, with its output in server.log."""
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("PG", "LC_"))}
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [str(self.bindir / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=environ | {"LC_ALL": "C", "TZ": "UTC"},
                user=self.user and self.user[0],
                group=self.user and self.user[1],
                extra_groups=[] if self.user else None,
                # It runs after the change of user, which would undo it; and we have one thread.
                preexec_fn=_die_with_parent(sign) if sign else None,  # noqa: PLW1509
            )

    def _logged(self) -> int:
        return self.log.stat().st_size if self.log.exists() else 0

    def _failed(self, what: str, logged: int) -> StartFailed:
        hint = "" if self.throwaway else f"\n(all of it: {self.log})"
        return StartFailed(f"{what}:\n{_tail(self.log, logged)}{hint}")

    def _give(self, path: Path) -> None:
        """Make `path` a private folder of the user that runs the server."""
        path.mkdir(mode=0o700, exist_ok=True)
        if self.user and path.lstat().st_uid != self.user[0]:
            os.chown(path, *self.user, follow_symlinks=False)

    def _short(self) -> Path:
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:12]
        uid = self.user[0] if self.user else os.geteuid()
        return Path(f"/tmp/chancy-{uid}-{digest}")  # noqa: S108 - its owner is checked

    def _sockets(self) -> Path:
        """The folder for the socket: ours, or one in /tmp if no address can name ours."""
        run = self.folder / "run"
        fits = len(os.fsencode(run / ".s.PGSQL.5432")) <= ADDRESS
        if fits and re.fullmatch(r"[\w/.+-]+", str(run), re.ASCII):
            self._give(run)
            return run
        run = self._short()
        with contextlib.suppress(FileExistsError):
            run.mkdir(mode=0o700)
            if self.user:
                os.chown(run, *self.user)
        seen = run.lstat()
        uid = self.user[0] if self.user else os.geteuid()
        if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != uid or seen.st_mode & 0o077:
            raise StartFailed(f"{run} is in the way: it is no private folder of user {uid}.")
        return run
