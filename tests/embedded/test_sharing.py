"""Processes that share a server, as long as one of them lives."""

import contextlib
import os
import signal
import stat
from pathlib import Path

import psycopg
import pytest

from chancy_core import embedded
from chancy_core.embedded import locks, postmaster, programs
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

NONE_RUNS = r"No server runs in /.*`chancy dev`.*CHANCY_DSN"
DEBIAN = Path("/usr/lib/postgresql/15/bin")


@pytest.mark.slow
def test_eight_first_starts_at_once_make_one_server(fresh: Path) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(folder=fresh, linger=0)) for _ in range(8)]
        assert len({client.joined()["dsn"] for client in clients}) == 1
        assert embedded.status(fresh).clients == 8
        assert (fresh / "server.log").read_text().count("The files belonging to this") == 1
        assert (fresh / "supervisor.log").read_text().count("started the server") == 1
        for client in clients:
            client.leave()
    eventually(lambda: is_gone(fresh))


def test_the_last_one_out_leaves_nothing(folder: Path) -> None:
    with embedded.join(folder, linger=0), embedded.join(folder, linger=0) as second:
        supervisor = supervisor_of(folder)
        dsn = second.dsn
    eventually(lambda: not is_alive(supervisor))
    assert is_gone(folder)
    assert not answers(dsn)
    assert not list((folder / "run").iterdir())
    assert not list((folder / "leases").iterdir())
    assert not (folder / "data" / "postmaster.pid").exists()
    assert embedded.status(folder) == embedded.Status(folder, "stopped")


def test_who_comes_while_it_lingers_finds_the_same_server(folder: Path) -> None:
    with embedded.join(folder):
        pid = state(folder)["pid"]
    with embedded.join(folder) as lease:
        assert state(folder)["pid"] == pid
        assert answers(lease.dsn)


def test_who_must_not_start_a_server_joins_one_that_runs(folder: Path) -> None:
    with embedded.join(folder, linger=0) as first:
        with embedded.join(folder, start=False) as second:
            assert second.dsn == first.dsn
            assert embedded.status(folder).clients == 2
        kill(supervisor_of(folder))
        with embedded.join(folder, start=False) as third:  # somebody looks after it again
            assert embedded.status(folder).state == "running"
            assert answers(third.dsn)


def test_who_must_not_start_a_server_leaves_no_trace_where_none_is(fresh: Path) -> None:
    with pytest.raises(EmbeddedError, match=NONE_RUNS):
        embedded.join(fresh, start=False)
    assert not fresh.exists()


def test_a_server_that_has_stopped_is_not_started_by_who_must_not(folder: Path) -> None:
    embedded.join(folder).close()
    embedded.stop(folder)
    with pytest.raises(EmbeddedError, match=NONE_RUNS):
        embedded.join(folder, start=False)
    assert not list((folder / "leases").iterdir())
    assert is_gone(folder)


def test_a_server_that_stops_at_the_last_moment_is_not_started_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded.join(folder).close()
    running = embedded.status(folder)
    embedded.stop(folder)
    monkeypatch.setattr("chancy_core.embedded.lease.status", lambda _folder: running)
    with pytest.raises(EmbeddedError, match=NONE_RUNS):
        embedded.join(folder, start=False)
    assert not list((folder / "leases").iterdir())
    assert is_gone(folder)


def test_the_longest_linger_of_those_who_hold_a_lease_counts(folder: Path) -> None:
    with embedded.join(folder, linger=0), Client(folder=folder, linger=600) as other:
        other.joined()
        wait_for_a_look(folder)
        other.kill()
    for _ in range(2):
        wait_for_a_look(folder)
    assert embedded.status(folder).state == "running"


def test_data_outlives_the_server(folder: Path) -> None:
    for step in (write, read):
        with embedded.join(folder, linger=0) as lease:
            step(lease.dsn)
        assert embedded.stop(folder)


def test_stop_stops_it_under_its_clients(folder: Path) -> None:
    with embedded.join(folder) as lease:
        assert embedded.stop(folder)
        assert is_gone(folder)
        assert not answers(lease.dsn)
        assert not embedded.stop(folder)
        with embedded.join(folder) as again:
            assert answers(again.dsn)


def test_status_says_who_runs(folder: Path) -> None:
    with embedded.join(folder) as lease:
        seen = embedded.status(folder)
        assert (seen.state, seen.dsn, seen.version) == ("running", lease.dsn, lease.version)
        assert seen.clients == 1
        assert seen.pid == state(folder)["pid"]


def test_a_closed_lease_stays_closed(folder: Path) -> None:
    first = embedded.join(folder)
    first.close()
    with embedded.join(folder, linger=0):
        first.close()
        assert embedded.status(folder).clients == 1


def test_settings_are_those_of_who_started_it(folder: Path) -> None:
    asked = {"max_connections": "17", "work_mem": "5MB"}
    with embedded.join(folder, settings=asked) as first, psycopg.connect(first.dsn) as conn:
        assert conn.execute("SHOW max_connections").fetchone() == ("17",)
        assert conn.execute("SHOW work_mem").fetchone() == ("5MB",)
        with embedded.join(folder, settings={"max_connections": "18"}) as second:
            assert second.settings == first.settings == asked


def test_the_cluster_is_the_same_everywhere(folder: Path) -> None:
    with embedded.join(folder) as lease, psycopg.connect(lease.dsn) as conn:
        shown = {
            name: conn.execute(f"SHOW {name}").fetchone()[0]
            for name in (
                "server_encoding",
                "timezone",
                "listen_addresses",
                "dynamic_shared_memory_type",
            )
        }
        assert shown == {
            "server_encoding": "UTF8",
            "timezone": "UTC",
            "listen_addresses": "",
            "dynamic_shared_memory_type": "mmap",
        }
        assert conn.execute("SELECT 'B' < 'a'").fetchone() == (True,)
        socket = postmaster.dsn(folder / "data").split()[0].removeprefix("host=")
        assert stat.S_IMODE(Path(socket).stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "name", ["a space and a 'quote'", 'two "quotes", a comma', "ü" * 20, "long" * 50]
)
def test_any_path_will_do(folder: Path, name: str) -> None:
    odd = folder.rename(folder.parent / name)
    try:
        with embedded.join(odd, linger=0) as lease:
            assert answers(lease.dsn)
            sockets = Path(lease.dsn.split()[0].removeprefix("host="))
        embedded.stop(odd)
        assert not sockets.exists()
    finally:
        embedded.stop(odd)


def test_two_majors_run_side_by_side(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not DEBIAN.exists() or programs.find().major == 15:
        pytest.skip("there is no second major here")
    with embedded.join(linger=0) as new:
        monkeypatch.setenv("CHANCY_BINDIR", str(DEBIAN))
        with embedded.join(linger=0) as old:
            assert old.version.startswith("15.")
            assert old.folder != new.folder
            assert old.folder.parent == new.folder.parent == fresh.parent
            assert answers(new.dsn)
            assert answers(old.dsn)
    for lease in (new, old):
        embedded.stop(lease.folder)


def test_a_fork_does_not_end_its_parents_lease(folder: Path) -> None:
    with embedded.join(folder, linger=0) as lease:
        child = os.fork()
        if child == 0:
            lease.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert embedded.status(folder).clients == 1
        assert answers(lease.dsn)


FORKING = """
import json, os, sys
from pathlib import Path
from chancy_core import embedded
lease = embedded.join(Path(json.loads(sys.argv[1])["folder"]), linger=0)
child = os.fork()
if child == 0:
    os.setsid()
    sys.stdin.read()
    os._exit(0)
print(json.dumps({"child": child}), flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_fork_does_not_keep_its_parents_lease(folder: Path) -> None:
    with Client(FORKING, folder=folder) as client:
        child = int(client.joined()["child"])
        eventually(lambda: is_gone(folder))
        assert is_alive(child)
        client.process.communicate()


def test_the_interrupt_key_ends_one_client_only(folder: Path) -> None:
    with Client(folder=folder, linger=0) as starter, Client(folder=folder, linger=0) as other:
        dsn = starter.joined()["dsn"]
        other.joined()
        assert b"KeyboardInterrupt" in starter.kill(signal.SIGINT)
        eventually(lambda: embedded.status(folder).clients == 1)
        assert answers(dsn)
        other.leave()
        eventually(lambda: is_gone(folder))


def test_the_last_of_three_killed_clients_ends_it(folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(folder=folder, linger=0)) for _ in range(3)]
        (dsn,) = {client.joined()["dsn"] for client in clients}
        for client in clients[:2]:
            client.kill()
        eventually(lambda: embedded.status(folder).clients == 1)
        assert answers(dsn)
        clients[2].kill()
        eventually(lambda: is_gone(folder))


STRESS = """
import json, sys
from pathlib import Path
import psycopg
from chancy_core import embedded
folder = Path(json.loads(sys.argv[1])["folder"])
for _ in range(12):
    with embedded.join(folder, linger=0) as lease:
        psycopg.connect(lease.dsn).close()
print("{}", flush=True)
"""


@pytest.mark.slow
def test_many_come_and_go(folder: Path) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(STRESS, folder=folder)) for _ in range(4)]
        for client in clients:
            client.joined()
            client.leave()
    eventually(lambda: is_gone(folder))


def test_progress_is_told(fresh: Path) -> None:
    told: list[str] = []
    with embedded.join(fresh, progress=told.append) as lease:
        assert told[-2:] == [  # before them, programs may be copied to where the user reaches them
            f"making a cluster for PostgreSQL {lease.version}",
            f"starting PostgreSQL {lease.version}",
        ]
        before = list(told)
        embedded.join(fresh, progress=told.append).close()
        assert told == before


def test_who_waits_for_another_is_told(fresh: Path) -> None:
    told: list[str] = []
    fresh.mkdir(mode=0o755)
    lock = locks.take(fresh / "start.lock")
    assert lock is not None

    def let_go(message: str) -> None:
        if not told:
            locks.free(lock)
        told.append(message)

    embedded.join(fresh, linger=0, progress=let_go).close()
    assert told[0] == "waiting for another process that starts or stops the server"
