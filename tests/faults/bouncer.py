"""A PgBouncer of a test's own, which lends a server's session for one transaction at a time."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

#: Nothing is forgiven here that a PgBouncer would not forgive by default.
CONFIGURATION = """\
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 1000
"""


def program() -> str:
    """Where PgBouncer is; the test is skipped if it is nowhere."""
    found = shutil.which("pgbouncer", path=os.pathsep.join([os.environ["PATH"], "/usr/sbin"]))
    if found is None:
        pytest.skip("the program pgbouncer is missing")
    return found


@contextmanager
def bouncer(dsn: str, *, sessions: int = 3) -> Iterator[str]:
    """The DSN of the same database through a PgBouncer that keeps so many sessions to it.

    It leads to any other database of the server as well, always as the user of *dsn*.
    """
    to = conninfo_to_dict(dsn)
    folder = Path(tempfile.mkdtemp(prefix="chancy-bouncer-"))
    try:
        folder.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = {key: to[key] for key in ("host", "port", "user", "password") if key in to}
        told = CONFIGURATION.format(
            server=make_conninfo("", **server), port=port, sessions=sessions
        )
        (folder / "pgbouncer.ini").write_text(told)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [program(), "-q", str(folder / "pgbouncer.ini")],
                stderr=log,
                **_as_whom(str(to.get("host", ""))),
            )
        through = make_conninfo(dsn, host="127.0.0.1", port=port)
        try:
            _until_open(through, process, folder / "log")
            yield through
        finally:
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder)


def _as_whom(host: str) -> dict[str, int]:
    """An ordinary user, which PgBouncer insists on: the one to whom the server's socket belongs."""
    if os.geteuid() != 0:
        return {}
    owner = Path(host).stat() if host.startswith("/") else None
    if owner is None or owner.st_uid == 0:
        import pwd

        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid}
    return {"user": owner.st_uid, "group": owner.st_gid}


def _until_open(dsn: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    began = time.monotonic()
    while True:
        try:
            with closing(psycopg.connect(dsn)):
                return
        except psycopg.OperationalError:
            alive = process.poll() is None and time.monotonic() - began < 20
            assert alive, f"PgBouncer did not open: {log.read_text()}"
            time.sleep(0.02)
