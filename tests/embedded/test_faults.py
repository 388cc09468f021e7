"""Whatever is killed, the next one gets a server, and no stranger is harmed."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from chancy_core import embedded
from chancy_core.embedded import postmaster
from chancy_core.errors import EmbeddedError
from tests.embedded.processes import (
    Client,
    answers,
    eventually,
    is_alive,
    is_gone,
    kill,
    read,
    state,
    supervisor_of,
    wait_for_a_look,
    write,
)


@pytest.fixture(params=["elsewhere", "in our folder"])
def stranger(request: pytest.FixtureRequest, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with us, and must not be signalled.

    It belongs to the user who runs the server, or PostgreSQL would not mind it.
    """
    where = folder / "data" if request.param == "in our folder" else None
    owner = (folder / "data").stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "600"], cwd=where, user=owner) as process:
        yield process
        assert process.poll() is None
        process.kill()


def test_a_killed_server_comes_back(folder: Path) -> None:
    with embedded.join(folder, linger=0) as lease:
        write(lease.dsn)
        pid = state(folder)["pid"]
        kill(pid)
        eventually(lambda: state(folder)["pid"] != pid)
        eventually(lambda: answers(lease.dsn))
        assert read(lease.dsn) == 42


def test_who_joins_a_killed_server_gets_a_living_one(folder: Path) -> None:
    with embedded.join(folder, linger=0) as lease:
        write(lease.dsn)
        kill(state(folder)["pid"])
        with embedded.join(folder) as other:
            assert read(other.dsn) == 42


def test_a_killed_backend_does_not_end_the_server(folder: Path) -> None:
    with embedded.join(folder, linger=0) as lease:
        write(lease.dsn)
        pid = state(folder)["pid"]
        with psycopg.connect(lease.dsn) as conn:
            kill(conn.info.backend_pid)
        eventually(lambda: answers(lease.dsn))
        assert read(lease.dsn) == 42
        assert state(folder)["pid"] == pid


def test_a_server_that_keeps_dying_is_given_up(folder: Path) -> None:
    with embedded.join(folder, linger=0):
        supervisor = supervisor_of(folder)
        while is_alive(supervisor):
            pid = postmaster.pid_of(folder / "data")
            if pid and postmaster.is_ready(folder / "data", pid):
                kill(pid)
        assert "died more than" in (folder / "supervisor.log").read_text()
        with embedded.join(folder) as lease:
            assert answers(lease.dsn)


def test_a_killed_supervisor_is_replaced_and_its_server_adopted(folder: Path) -> None:
    with Client(folder=folder, linger=0, settings={"work_mem": "5MB"}) as old:
        dsn = old.joined()["dsn"]
        before = state(folder)
        kill(before["supervisor"])
        assert answers(dsn)
        assert embedded.status(folder).state == "orphaned"
        with embedded.join(folder, linger=0) as lease:
            after = state(folder)
            assert after["pid"] == before["pid"]
            assert after["supervisor"] != before["supervisor"]
            assert lease.settings == {"work_mem": "5MB"}
        # The old lease still counts: the supervisor has looked, and has not stopped.
        wait_for_a_look(folder)
        assert answers(dsn)
        old.leave()
        eventually(lambda: is_gone(folder))


def test_a_server_that_nobody_looks_after_can_be_stopped(folder: Path) -> None:
    with Client(folder=folder) as client:
        client.joined()
        kill(supervisor_of(folder))
        client.kill()
    assert embedded.status(folder).state == "orphaned"
    assert embedded.stop(folder)
    assert is_gone(folder)
    assert not embedded.stop(folder)


def test_all_killed_at_once(folder: Path) -> None:
    with Client(folder=folder) as client:
        write(client.joined()["dsn"])
        client.kill()
        supervisor = supervisor_of(folder)
        os.kill(supervisor, signal.SIGSTOP)
        for pid in postmaster.orphans(folder / "data"):
            os.kill(pid, signal.SIGKILL)
        kill(supervisor)
    with embedded.join(folder, linger=0) as lease:
        assert read(lease.dsn) == 42


def _made(folder: Path) -> bool:
    """Whether `initdb` is at work."""
    return any(folder.glob("data.new.*/global"))


def _initdb(folder: Path) -> list[int]:
    new = next(folder.glob("data.new.*"))
    processes = [path for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [int(path.name) for path in processes if str(new) in _command(path)]


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text(errors="replace")
    except OSError:
        return ""


def _supervisor_at_work(folder: Path) -> int:
    return int(next(folder.glob("data.new.*")).name.rpartition(".")[2])


def test_all_killed_while_the_cluster_is_made(fresh: Path) -> None:
    with Client(folder=fresh) as client:
        eventually(lambda: _made(fresh))
        supervisor = _supervisor_at_work(fresh)
        os.kill(supervisor, signal.SIGSTOP)
        for pid in _initdb(fresh):
            os.kill(pid, signal.SIGKILL)
        kill(supervisor)
        client.kill()
    with embedded.join(fresh, linger=0) as lease:
        assert answers(lease.dsn)
        assert not list(fresh.glob("data.new.*"))


def test_the_supervisor_killed_while_the_cluster_is_made(fresh: Path) -> None:
    with Client(folder=fresh) as client:
        eventually(lambda: _made(fresh))
        kill(_supervisor_at_work(fresh))
        _, errors = client.process.communicate(timeout=30)
        assert b"EmbeddedError" in errors
        assert b"was killed" in errors
    with embedded.join(fresh, linger=0) as lease:
        assert answers(lease.dsn)


def test_the_starter_killed_while_the_cluster_is_made(fresh: Path) -> None:
    with Client(folder=fresh, linger=0) as client:
        eventually(lambda: _made(fresh))
        client.kill()
    with embedded.join(fresh, linger=0) as lease:
        assert answers(lease.dsn)
        assert (fresh / "server.log").read_text().count("The files belonging to this") == 1
    eventually(lambda: is_gone(fresh))


def test_initdb_killed_is_reported(fresh: Path) -> None:
    with Client(folder=fresh) as client:
        eventually(lambda: _made(fresh))
        for pid in _initdb(fresh):
            os.kill(pid, signal.SIGKILL)
        _, errors = client.process.communicate(timeout=30)
        assert b"initdb failed" in errors
    with embedded.join(fresh, linger=0) as lease:
        assert answers(lease.dsn)


def _claim_to_be_the_server(folder: Path, pid: int) -> None:
    """What a crash of the whole machine leaves, when `pid` is another's by now."""
    data = folder / "data"
    lines = [str(pid), str(data), "1", "5432", str(folder / "run"), "", "1 1", "ready"]
    (data / "postmaster.pid").write_text("\n".join(lines) + "\n")
    owner = data.stat()
    os.chown(data / "postmaster.pid", owner.st_uid, owner.st_gid)
    stale = {"supervisor": pid, "pid": pid, "version": "1.0", "settings": {}, "dsn": "host=/no"}
    (folder / "state.json").write_text(json.dumps(stale))


def test_a_strangers_process_with_the_old_number_lives(
    folder: Path, stranger: subprocess.Popen[bytes]
) -> None:
    _claim_to_be_the_server(folder, stranger.pid)
    assert embedded.status(folder).state == "stopped"
    assert not embedded.stop(folder)
    with embedded.join(folder, linger=0) as lease:
        assert answers(lease.dsn)
        assert state(folder)["pid"] != stranger.pid
    assert embedded.stop(folder)


@pytest.mark.slow
def test_a_stuck_backend_of_a_killed_server_is_ended(folder: Path) -> None:
    with embedded.join(folder, linger=0) as lease:
        write(lease.dsn)
        with psycopg.connect(lease.dsn) as conn:
            stuck = conn.info.backend_pid
            os.kill(stuck, signal.SIGSTOP)
            kill(state(folder)["pid"])
            eventually(lambda: answers(lease.dsn))
            assert not is_alive(stuck)
        assert read(lease.dsn) == 42


def test_a_bad_setting_is_reported(folder: Path) -> None:
    with pytest.raises(EmbeddedError, match="no_such_setting"):
        embedded.join(folder, settings={"no_such_setting": "1"})
    assert is_gone(folder)
    with embedded.join(folder, linger=0) as lease:
        assert answers(lease.dsn)


def test_another_majors_data_is_refused(folder: Path) -> None:
    version = folder / "data" / "PG_VERSION"
    right = version.read_text()
    version.write_text("9\n")
    with pytest.raises(EmbeddedError, match="belongs to PostgreSQL 9"):
        embedded.join(folder)
    version.write_text(right)
    with embedded.join(folder, linger=0) as lease:
        assert answers(lease.dsn)


def test_a_folder_of_something_else_is_refused(fresh: Path) -> None:
    (fresh / "data").mkdir(parents=True)
    (fresh / "data" / "precious").touch()
    with pytest.raises(EmbeddedError, match="no PostgreSQL cluster"):
        embedded.join(fresh)
    assert (fresh / "data" / "precious").exists()


def test_a_folder_that_is_a_file_is_refused(fresh: Path) -> None:
    fresh.touch()
    with pytest.raises(EmbeddedError, match="cannot be had"):
        embedded.join(fresh)


def test_a_strangers_socket_folder_is_refused(folder: Path) -> None:
    long = folder.rename(folder.parent / ("x" * 100))
    with embedded.join(long, linger=0) as lease:
        sockets = Path(lease.dsn.split()[0].removeprefix("host="))
    assert embedded.stop(long)
    sockets.symlink_to(folder.parent)
    try:
        with pytest.raises(EmbeddedError, match="is in the way"):
            embedded.join(long)
    finally:
        sockets.unlink()
