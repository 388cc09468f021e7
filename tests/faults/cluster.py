"""A PostgreSQL of a scenario's own, which can be stopped, crashed, and replaced by its standby."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg

from chancy_core.embedded import folders, postmaster, programs
from chancy_core.embedded.temporary import roomy

#: As on a server that people trust: what was acknowledged is on the disk.
SETTINGS = {
    "max_connections": "1000",  # a client in a black hole never closes those that it had
    "wal_level": "replica",
    "max_wal_senders": "4",
    "hot_standby": "on",
    "dynamic_shared_memory_type": "mmap",
    "shared_buffers": "64MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


def free_port() -> int:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Cluster:
    """One server: *folder* holds its data, *port* is where it listens on 127.0.0.1."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.port = port or free_port()
        self.account = programs.account(self.data)
        found = programs.find()
        if self.account is not None:
            folders.make(folders.home())
            found = programs.within_reach(found, self.account, folders.home(), print)
        self.bindir = found.bindir
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def create(self) -> None:
        """Make the cluster. Whoever is on this machine may come in: it is for tests."""
        self._own(self.folder)
        done = self._launch(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-N",
            "-E",
            "UTF8",
            "--locale=C",
        )
        assert done.wait() == 0, self.log.read_text()
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write("host replication all 127.0.0.1/32 trust\n")

    def start(self, **settings: str) -> None:
        """Start the server; return when it takes connections."""
        known = SETTINGS | settings
        known |= {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
        }
        words = [word for name, value in known.items() for word in ("-c", f"{name}={value}")]
        postmaster.clear(self.data)
        self._process = self._launch("postgres", "-D", str(self.data), *words)
        deadline = time.monotonic() + 30
        while not postmaster.is_ready(self.data, self._process.pid):
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.01)

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` ends all sessions in order, `immediate` is a crash."""
        assert self._process is not None
        sign = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        with suppress(ProcessLookupError):
            self._process.send_signal(sign)
        self._process.wait(30)
        self._process = None

    def restart(self, mode: str = "fast", away: float = 0.0, **settings: str) -> None:
        """Stop it, be away for so many seconds, and start it."""
        self.stop(mode)
        time.sleep(away)
        self.start(**settings)

    @contextmanager
    def standby(self, folder: Path | None, **settings: str) -> Iterator["Cluster"]:
        """A copy of this server that follows it, and that it waits for at every commit."""
        with made(folder) as copy:
            with psycopg.connect(self.dsn, autocommit=True) as conn:
                conn.execute("SELECT pg_backup_start('standby', true)")
                ignored = shutil.ignore_patterns("postmaster.*", "pg_replslot", "*.pid")
                shutil.copytree(self.data, copy.data, ignore=ignored)
                (copy.data / "pg_replslot").mkdir()
                label, *_ = conn.execute("SELECT labelfile FROM pg_backup_stop()").fetchone() or (
                    "",
                )
            (copy.data / "backup_label").write_text(label)
            (copy.data / "standby.signal").touch()
            copy._own(copy.data)
            copy.start(primary_conninfo=f"{self.dsn} application_name=standby", **settings)
            with psycopg.connect(self.dsn, autocommit=True) as conn:
                conn.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
                conn.execute("SELECT pg_reload_conf()")
                while True:
                    rows = conn.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
                    if ("sync",) in rows:
                        break
                    time.sleep(0.02)
            yield copy

    def start_as_replica(self) -> None:
        """Start it, not to be written to any more."""
        (self.data / "standby.signal").touch()
        self._own(self.data)
        self.start()

    def promote(self) -> None:
        """Make a standby the primary; return when it takes writes."""
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            conn.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
            assert conn.execute("SELECT pg_promote(true, 30)").fetchone() == (True,)

    def close(self) -> None:
        if self._process is not None:
            self.stop("immediate")

    def _own(self, path: Path) -> None:
        """Give a tree to the user that runs the server."""
        path.mkdir(mode=0o700, exist_ok=True)
        if self.account is None:
            path.chmod(0o700)
            return
        for at in (path, *path.rglob("*")):
            os.chown(at, self.account.uid, self.account.gid, follow_symlinks=False)
        path.chmod(0o700)

    def _launch(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        environ = {k: v for k, v in os.environ.items() if not re.match("PG|LC_", k)}
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [str(self.bindir / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=environ | {"LC_ALL": "C", "TZ": "UTC"},
                user=self.account and self.account.uid,
                group=self.account and self.account.gid,
                extra_groups=[] if self.account else None,
            )


@contextmanager
def made(folder: Path | None = None) -> Iterator[Cluster]:
    """A cluster in a folder of its own, in memory if there is room; stopped at the end."""
    own = Path(tempfile.mkdtemp(prefix="chancy-faults-", dir=folder or roomy()))
    cluster = Cluster(own)
    cluster._own(own)
    own.chmod(0o755)  # the tests look into the log
    try:
        yield cluster
    finally:
        cluster.close()
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def running(**settings: str) -> Iterator[Cluster]:
    """A new cluster, and its server."""
    with made() as cluster:
        cluster.create()
        cluster.start(**settings)
        yield cluster
