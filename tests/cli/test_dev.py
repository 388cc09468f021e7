"""`chancy dev`: a server, a worker that follows the files, and nothing of either afterwards."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from attrs import evolve

from chancy import Chancy, Job, Queue, State
from chancy_core import embedded
from chancy_core.cli import watching
from chancy_core.embedded import postmaster
from chancy_core.embedded.temporary import roomy
from tests.embedded.processes import eventually, is_alive, is_gone
from tests.terminal import Shell, Typed

APP = """\
import time

import anyio

from chancy import Chancy, job

chancy = Chancy()


@job(queue="mail")
async def greet(name: str) -> str:
    return f"Hello, {name}"


@job(queue="held")
async def hold() -> None:
    await anyio.sleep_forever()


@job(queue="held")
async def block() -> None:
    time.sleep(600)


@job(queue="mail", max_attempts=2)
async def broken() -> None:
    raise ValueError("no luck")
"""
READY = "ready for jobs\n"


@pytest.fixture
def shell(shell: Shell) -> Shell:
    (shell.folder / "app.py").write_text(APP)
    return shell


@pytest.fixture
def alone(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A shell without a database, and a home for an embedded server that nobody else has."""
    home = Path(tempfile.mkdtemp(prefix="chancy-home-", dir=roomy()))
    home.chmod(0o755)
    monkeypatch.setenv("CHANCY_HOME", str(home))
    environ = {k: v for k, v in shell.environ.items() if k not in {"CHANCY_DSN", "CHANCY_APP"}}
    yield evolve(shell, environ=environ | {"CHANCY_HOME": str(home)})
    folder = embedded.default_folder()
    embedded.stop(folder)
    left = postmaster.orphans(folder / "data") if folder.exists() else []
    shutil.rmtree(home)
    assert not left


def pids(dsn: str) -> list[int]:
    """The processes of the workers that have a row."""
    with psycopg.connect(dsn) as conn:
        return [pid for (pid,) in conn.execute("SELECT pid FROM chancy_workers")]


def save(shell: Shell, text: str) -> None:
    (shell.folder / "app.py").write_text(text)


def again(typed: Typed, words: str, since: str) -> str:
    """Wait until *words* are shown once more than they were *since*; return what is shown."""
    while typed.text.count(words) <= since.count(words):
        assert typed._read(20), typed.text
    return typed.text


@pytest.mark.parametrize("loop", ["--no-trio", "--trio"])
def test_from_nothing_to_a_job_and_back_to_nothing(alone: Shell, loop: str):
    with alone.open("dev", "app.py", loop) as typed:
        shown = typed.expect(READY)
        assert "PostgreSQL" in shown
        assert "declared the queue mail" in shown
        answer = alone.programs("push", "app.greet", "name=Ada", "--queue=mail", "--wait")
        assert "Hello, Ada" in answer.out
        typed.expect("  app.greet\n")
        with embedded.join(start=False, linger=0) as lease:
            (pid,) = pids(lease.dsn)
        typed.type("\x03")
        assert typed.end() == 0
        assert not is_alive(pid)
        assert "Traceback" not in typed.text
    eventually(lambda: is_gone(embedded.default_folder()))


def test_killed_it_leaves_no_worker_and_no_server(alone: Shell):
    with alone.open("dev", "app.py") as typed:
        typed.expect(READY)
        with embedded.join(start=False, linger=0) as lease:
            (pid,) = pids(lease.dsn)
            typed.process.kill()
            typed.process.wait()
            eventually(lambda: not is_alive(pid))
            assert pids(lease.dsn) == []  # it has left in order
    eventually(lambda: is_gone(embedded.default_folder()))


def test_it_follows_the_file_also_through_what_is_no_python(shell: Shell, dsn: str):
    with shell.open("dev") as typed, Chancy(dsn) as chancy:
        shown = typed.expect(READY)
        (first,) = pids(dsn)
        save(shell, APP.replace("Hello", "Good morning"))
        shown = again(typed, READY, shown)
        assert "app.py has changed" in shown
        assert not is_alive(first)
        greeting = chancy.sync_push(Job("app.greet", kwargs={"name": "Ada"}, queue="mail"))
        done = chancy.sync_wait_for_job(greeting, timeout=20)
        assert done.result() == "Good morning, Ada"
        save(shell, APP + "\ndef broken(:\n")
        shown = typed.expect("begins anew when a file changes")
        assert "SyntaxError" in shown
        assert "app.py, line" in shown
        assert "Traceback" not in shown
        save(shell, APP)
        again(typed, READY, shown)
        typed.type("\x03")
        assert typed.end() == 0
    assert pids(dsn) == []


def test_ctrl_c_waits_for_jobs_and_ctrl_c_again_cancels_them(shell: Shell, dsn: str):
    with Chancy(dsn) as chancy, shell.open("dev", "--grace-period", "10m") as typed:
        chancy.sync_declare(Queue("held", executor="async"))
        held = chancy.sync_push(Job("app.hold", queue="held"))
        typed.expect(READY)
        chancy.sync_wait_for_job(held, states=[State.RUNNING], timeout=20)
        typed.type("\x03")
        typed.expect("waiting for 1 job (app.hold); Ctrl-C again cancels")
        typed.type("\x03")
        typed.expect("cancelling 1 job (app.hold)")
        assert typed.end() == 0
        assert "↻" in typed.text
        assert chancy.sync_get_job(held).state is State.PENDING
    assert pids(dsn) == []


def test_ctrl_c_a_third_time_ends_a_worker_that_does_not_listen(shell: Shell, dsn: str):
    with Chancy(dsn) as chancy, shell.open("dev") as typed:
        chancy.sync_declare(Queue("held", executor="async"))
        held = chancy.sync_push(Job("app.block", queue="held"))
        typed.expect(READY)
        chancy.sync_wait_for_job(held, states=[State.RUNNING], timeout=20)
        (pid,) = pids(dsn)
        while typed.process.poll() is None:  # signals that come at once are one
            typed.type("\x03")
            typed._read(0.1)
        assert not is_alive(pid)


def test_ctrl_c_while_it_waits_for_a_change(shell: Shell):
    save(shell, "import nothing_of_that_name\n")
    with shell.open("dev") as typed:
        typed.expect("begins anew when a file changes")
        typed.type("\x03")
        assert typed.end() == 0


def test_how_jobs_end_is_shown(shell: Shell, dsn: str):
    with Chancy(dsn) as chancy, shell.open("dev") as typed:
        typed.expect(READY)
        chancy.sync_push(Job("app.broken", queue="mail", max_attempts=2))
        shown = typed.expect("failed  ValueError: no luck")
        assert "app.broken  again  ValueError: no luck" in shown
        os.kill(typed.process.pid, signal.SIGTERM)
        assert typed.end() == 0
        assert "stopping" not in typed.text


def test_without_an_application_it_says_how_to_name_one(shell: Shell):
    assert "`chancy dev app.py`" in shell.people("dev", code=2, CHANCY_APP="")


def test_only_files_of_ones_own_are_looked_at(tmp_path: Path):
    for name in ("app.py", "a/b/jobs.py", "env/lib/x.py", ".hidden/y.py", "a/__pycache__/z.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere.py")
    found = {str(Path(path).relative_to(tmp_path)) for path in watching.look([tmp_path])}
    assert found == {"app.py", "a/b/jobs.py"}


@pytest.mark.anyio
async def test_a_file_that_comes_or_goes_is_a_change(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(watching, "PAUSE", 0.01)
    seen = watching.look([tmp_path])
    new = tmp_path / "new.py"
    new.touch()
    assert await watching.changed([tmp_path], seen) == str(new)
    seen = watching.look([tmp_path])
    new.unlink()
    assert await watching.changed([tmp_path], seen) == str(new)
